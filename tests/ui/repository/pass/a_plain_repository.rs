//! The shape that the documentation shows, used from a spawned task.

use dualwrite::{Migration, Tx};
use sqlx::{Sqlite, SqlitePool};

#[derive(Clone, Debug, PartialEq)]
struct Customer {
    id: i64,
}

#[dualwrite::repository]
trait Customers {
    #[read(key = id, lazy)]
    async fn find(&self, id: i64) -> Result<Option<Customer>, sqlx::Error>;
    #[read(scan)]
    async fn by_country(&self, country: &str) -> Result<Vec<Customer>, sqlx::Error>;
    #[read(key = id, shadow = never)]
    fn version(&self, id: i64) -> impl Future<Output = sqlx::Result<i64>> + Send;
    #[write(key = customer.id)]
    async fn save(&self, tx: &mut Tx<'_, Sqlite>, customer: &Customer) -> Result<(), sqlx::Error>;
}

#[derive(Clone)]
struct Store(SqlitePool);

impl Customers for Store {
    async fn find(&self, _: i64) -> Result<Option<Customer>, sqlx::Error> {
        Ok(None)
    }
    async fn by_country(&self, _: &str) -> Result<Vec<Customer>, sqlx::Error> {
        Ok(Vec::new())
    }
    async fn version(&self, _: i64) -> sqlx::Result<i64> {
        Ok(1)
    }
    async fn save(&self, _: &mut Tx<'_, Sqlite>, _: &Customer) -> Result<(), sqlx::Error> {
        Ok(())
    }
}

async fn serve<C: Customers>(customers: &C, tx: &mut Tx<'_, Sqlite>) -> Result<(), sqlx::Error> {
    let found = customers.find(1).await?;
    let all = customers.by_country("FR").await?;
    for customer in all.iter().chain(&found) {
        customers.save(tx, customer).await?;
    }
    customers.version(1).await.map(drop)
}

fn spawn(migration: &Migration, pool: &SqlitePool, mut tx: Tx<'static, Sqlite>) {
    let customers = DualCustomers::new(migration, Store(pool.clone()), Store(pool.clone()));
    let (_, _): (&Store, &Store) = (customers.old_side(), customers.new_side());
    let customers = customers.clone();
    tokio::spawn(async move { serve(&customers, &mut tx).await });
}

fn main() {
    let _ = spawn;
}
