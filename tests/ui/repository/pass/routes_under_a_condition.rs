//! Routing attributes inside of `cfg_attr`: the compiler answers the conditions, one after the other.

use dualwrite::{Runtime, Tx};
use sqlx::{Sqlite, SqlitePool};

#[dualwrite::repository]
pub trait Customers {
    #[cfg_attr(not(feature = "no such feature"), read(key = id, lazy))]
    #[cfg_attr(feature = "no such feature", read(scan), deprecated)]
    async fn find(&self, id: i64) -> Result<Option<String>, sqlx::Error>;
    #[cfg_attr(all(), doc = "All of them.", read(scan))]
    async fn all(&self) -> Result<Vec<String>, sqlx::Error>;
    #[write(key = id)]
    async fn save(&self, tx: &mut Tx<'_, Sqlite>, id: i64) -> Result<(), sqlx::Error>;
}

#[derive(Clone)]
struct Sql;

impl Customers for Sql {
    async fn find(&self, _id: i64) -> Result<Option<String>, sqlx::Error> {
        Ok(None)
    }
    async fn all(&self) -> Result<Vec<String>, sqlx::Error> {
        Ok(Vec::new())
    }
    async fn save(&self, _tx: &mut Tx<'_, Sqlite>, _id: i64) -> Result<(), sqlx::Error> {
        Ok(())
    }
}

async fn routed(pool: SqlitePool) -> Result<Option<String>, Box<dyn std::error::Error>> {
    let runtime = Runtime::builder(pool.clone()).start().await?;
    let migration = runtime.migration("customers").register().await?;
    Ok(DualCustomers::new(&migration, Sql, Sql).find(1).await?)
}

fn main() {
    let _ = routed;
}
