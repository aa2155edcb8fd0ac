#[dualwrite::repository]
trait Customers {
    #[read(key = id)]
    async fn exclusive(&mut self, id: i64) -> Result<i64, sqlx::Error>;
    #[read(key = id)]
    async fn owned(self, id: i64) -> Result<i64, sqlx::Error>;
    #[read(key = id)]
    async fn none(id: i64) -> Result<i64, sqlx::Error>;
}

fn main() {}
