//! A trait need not promise for every `T` what only its wrapper needs.

use dualwrite::Tx;
use sqlx::Sqlite;

#[dualwrite::repository]
trait Rows<T: Send + Sync + PartialEq> {
    #[read(key = id)]
    async fn find(&self, id: i64, filter: T) -> Result<Option<T>, sqlx::Error>;
    #[read(key = id, lazy)]
    async fn by(&self, id: i64, filter: &T) -> Result<Option<i64>, sqlx::Error>;
    #[write(key = id)]
    async fn save(&self, tx: &mut Tx<'_, Sqlite>, id: i64, row: T) -> Result<(), sqlx::Error>;
}

struct Sql;

impl Rows<String> for Sql {
    async fn find(&self, _: i64, filter: String) -> Result<Option<String>, sqlx::Error> {
        Ok(Some(filter))
    }
    async fn by(&self, id: i64, _: &String) -> Result<Option<i64>, sqlx::Error> {
        Ok(Some(id))
    }
    async fn save(&self, _: &mut Tx<'_, Sqlite>, _: i64, _: String) -> Result<(), sqlx::Error> {
        Ok(())
    }
}

fn wrapped(migration: &dualwrite::Migration) -> impl Rows<String> {
    DualRows::new(migration, Sql, Sql)
}

fn main() {
    let _ = wrapped;
}
