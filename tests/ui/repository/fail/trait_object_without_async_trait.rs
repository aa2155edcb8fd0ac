#[dualwrite::repository]
trait Customers: Send + Sync {
    #[read(key = id)]
    async fn find(&self, id: i64) -> Result<i64, sqlx::Error>;
}

fn used(_: &dyn Customers) {}

fn main() {}
