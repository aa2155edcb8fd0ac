#[dualwrite::repository]
trait Customers {
    #[read(key = id)]
    async fn find(&self, _: i64, #[cfg(all())] id: i64) -> Result<i64, sqlx::Error>;
    #[read(key = id)]
    async fn pair(&self, (id, _): (i64, i64)) -> Result<i64, sqlx::Error> {
        Ok(id)
    }
}

fn main() {}
