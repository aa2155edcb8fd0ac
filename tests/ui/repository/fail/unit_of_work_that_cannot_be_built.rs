use dualwrite::{Migration, Tx};
use sqlx::{Sqlite, SqliteConnection};

#[dualwrite::repository(unit_of_work)]
trait Customers {
    #[write(key = id)]
    async fn save(&mut self, id: i64) -> Result<(), sqlx::Error>;
}

struct Side<'t>(&'t mut SqliteConnection);

impl Customers for Side<'_> {
    async fn save(&mut self, id: i64) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO customer (id) VALUES (?)").bind(id).execute(&mut *self.0).await?;
        Ok(())
    }
}

fn side(connection: &mut SqliteConnection) -> Side<'_> {
    Side(connection)
}

fn within(migration: &Migration, tx: &mut Tx<'_, Sqlite>) {
    let _ = DualCustomers::new(migration, |connection| Side(connection), side).within(tx);
}

fn main() {}
