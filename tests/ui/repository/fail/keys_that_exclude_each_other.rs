#[dualwrite::repository]
trait Customers {
    #[read(scan, key = id)]
    async fn find(&self, id: i64) -> Result<i64, sqlx::Error>;
    #[read(scan, lazy)]
    async fn all(&self) -> Result<Vec<i64>, sqlx::Error>;
    #[read(key = id, shadow = never, sample = 5)]
    async fn get(&self, id: i64) -> Result<Option<i64>, sqlx::Error>;
    #[read(key = id, lazy = true)]
    async fn flag(&self, id: i64) -> Result<Option<i64>, sqlx::Error>;
    #[read(key)]
    async fn bare(&self, id: i64) -> Result<Option<i64>, sqlx::Error>;
}

fn main() {}
