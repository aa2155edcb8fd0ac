#[dualwrite::repository]
trait Customers {
    async fn find(&self, id: i64) -> Result<i64, sqlx::Error>;
    #[read]
    async fn by_name(&self, name: &str) -> Result<i64, sqlx::Error>;
    #[write()]
    async fn save(&self, tx: &mut dualwrite::Tx<'_, sqlx::Sqlite>) -> Result<(), sqlx::Error>;
    #[read(key = id)]
    #[write(key = id)]
    async fn both(&self, id: i64) -> Result<i64, sqlx::Error>;
}

fn main() {}
