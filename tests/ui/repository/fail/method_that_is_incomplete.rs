#[dualwrite::repository]
trait Customers {
    #[read(key = id)]
    async fn find(&self, id: i64) -> Result<i64, sqlx::Error>
    #[read(key = id)]
    async fn name(&self, id: i64) -> Result<String, sqlx::Error>;
}

fn main() {}
