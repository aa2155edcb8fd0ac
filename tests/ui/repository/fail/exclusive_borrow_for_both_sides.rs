#[dualwrite::repository]
trait Customers {
    #[read(key = id)]
    async fn find(&self, id: i64, found: &mut Vec<i64>) -> Result<i64, sqlx::Error>;
    #[write(key = id)]
    async fn save(
        &self,
        tx: &mut dualwrite::Tx<'_, sqlx::Sqlite>,
        id: i64,
        version: &mut i64,
    ) -> Result<(), sqlx::Error>;
}

fn main() {}
