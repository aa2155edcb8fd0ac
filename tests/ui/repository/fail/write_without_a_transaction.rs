#[dualwrite::repository]
trait Customers {
    #[write(key = id)]
    async fn rename(&self, id: i64) -> Result<(), sqlx::Error>;
    #[write(key = id)]
    async fn save(&self, tx: &mut sqlx::Transaction<'_, sqlx::Sqlite>, id: i64) -> Result<(), sqlx::Error>;
    #[write(key = id)]
    async fn delete(&self, tx: &dualwrite::Tx<'_, sqlx::Sqlite>, id: i64) -> Result<(), sqlx::Error>;
    #[write(key = id)]
    async fn swap(
        &self,
        tx: &mut dualwrite::Tx<'_, sqlx::Sqlite>,
        other: &mut dualwrite::Tx<'_, sqlx::Sqlite>,
        id: i64,
    ) -> Result<(), sqlx::Error>;
}

fn main() {}
