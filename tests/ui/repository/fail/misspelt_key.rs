#[dualwrite::repository(krate = dualwrite)]
trait Customers {
    #[read(kye = id)]
    async fn find(&self, id: i64) -> Result<i64, sqlx::Error>;
    #[read(key = id, lasy, shadow = none)]
    async fn get(&self, id: i64) -> Result<Option<i64>, sqlx::Error>;
    #[read(key = id, key = id)]
    async fn twice(&self, id: i64) -> Result<i64, sqlx::Error>;
    #[write(key = id, lazy)]
    async fn save(&self, tx: &mut dualwrite::Tx<'_, sqlx::Sqlite>, id: i64) -> Result<(), sqlx::Error>;
}

fn main() {}
