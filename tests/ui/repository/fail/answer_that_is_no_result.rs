#[dualwrite::repository]
trait Customers {
    #[read(key = id)]
    async fn find(&self, id: i64) -> Option<i64>;
    #[read(key = id)]
    async fn touch(&self, id: i64);
    #[read(scan)]
    async fn all(&self) -> Result<impl Iterator<Item = i64>, sqlx::Error>;
}

fn main() {}
