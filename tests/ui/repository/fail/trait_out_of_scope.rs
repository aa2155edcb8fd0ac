#[dualwrite::repository]
unsafe trait Customers {
    const LIMIT: usize;
    type Row<'r>;
    #[read(key = id)]
    async unsafe fn new(&self, id: i64) -> Result<i64, sqlx::Error>;
}

fn main() {}
