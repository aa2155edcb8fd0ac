use dualwrite::Tx;
use sqlx::Sqlite;

#[dualwrite::repository(unit_of_work)]
trait Customers {
    type Error;
    #[read(key = id)]
    async fn shared(&self, id: i64) -> Result<i64, sqlx::Error>;
    #[read(key = id)]
    async fn none(id: i64) -> Result<i64, sqlx::Error>;
    #[write(key = id)]
    async fn save(&mut self, tx: &mut Tx<'_, Sqlite>, id: i64) -> Result<(), sqlx::Error>;
    #[write(filter)]
    async fn commit(self) -> Result<(), sqlx::Error>;
}

#[dualwrite::repository(unit_of_work, transaction = Sqlite)]
trait Orders {
    #[write(key = id)]
    async fn save(&mut self, id: i64) -> Result<(), sqlx::Error>;
}

fn main() {}
