#[dualwrite::repository]
trait Customers {
    #[read(key = self.tenant)]
    async fn tenant(&self) -> Result<i64, sqlx::Error>;
    #[read(key = id.parse::<i64>()?)]
    async fn find(&self, id: &str) -> Result<i64, sqlx::Error>;
}

fn main() {}
