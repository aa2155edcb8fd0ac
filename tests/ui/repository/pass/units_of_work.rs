//! Shapes of repositories that borrow a connection.
#![deny(warnings)]
#![allow(dead_code)]

use std::fmt::Debug;

use dualwrite::{BuildSide, Columns, Migration, Tx};
use sqlx::{Sqlite, SqliteConnection};

#[derive(Clone, Debug, PartialEq)]
pub struct Customer {
    id: i64,
}

/// Boxed futures, and arguments of every kind.
#[dualwrite::repository(unit_of_work)]
#[async_trait::async_trait]
pub trait Customers<T: Clone + Send + Sync + 'static>: Send {
    #[read(key = id, lazy)]
    async fn find(&mut self, id: i64) -> Result<Option<Customer>, sqlx::Error>;
    #[read(key = (tenant, tx))]
    async fn of_tenant(&mut self, tenant: &str, tx: i64) -> Result<Vec<Customer>, sqlx::Error>;
    #[read(scan, shadow = never)]
    async fn each(&mut self, dual: &mut Vec<i64>) -> Result<(), sqlx::Error>;
    #[write(key = customer.id)]
    async fn save(&mut self, customer: Customer, what: T) -> Result<(), sqlx::Error>;
    #[write(key_from = |made: &i64| *made, into = id)]
    async fn insert(&mut self, id: Option<i64>, name: &str) -> Result<i64, sqlx::Error>;
    #[primary]
    fn name(&mut self) -> String;
    async fn twice(&mut self, customer: Customer, what: T) -> Result<(), sqlx::Error> {
        self.save(customer.clone(), what.clone()).await?;
        self.save(customer, what).await
    }
}

struct Side<'t> {
    connection: &'t mut SqliteConnection,
    columns: Columns,
}

#[async_trait::async_trait]
impl Customers<u8> for Side<'_> {
    async fn find(&mut self, id: i64) -> Result<Option<Customer>, sqlx::Error> {
        let found = sqlx::query_scalar("SELECT id FROM customer WHERE id = ?").bind(id);
        let found = found.fetch_optional(&mut *self.connection).await?;
        Ok(found.map(|id| Customer { id }))
    }
    async fn of_tenant(&mut self, _: &str, _: i64) -> Result<Vec<Customer>, sqlx::Error> {
        Ok(vec![])
    }
    async fn each(&mut self, ids: &mut Vec<i64>) -> Result<(), sqlx::Error> {
        ids.push(i64::from(self.columns.write(dualwrite::Side::Old)));
        Ok(())
    }
    async fn save(&mut self, _: Customer, _: u8) -> Result<(), sqlx::Error> {
        Ok(())
    }
    async fn insert(&mut self, _: Option<i64>, _: &str) -> Result<i64, sqlx::Error> {
        Ok(1)
    }
    fn name(&mut self) -> String {
        "side".to_owned()
    }
}

fn side(connection: &mut SqliteConnection) -> Side<'_> {
    Side { connection, columns: Columns::Old }
}

fn of_columns(connection: &mut SqliteConnection, columns: Columns) -> Side<'_> {
    Side { connection, columns }
}

struct Of {
    columns: Columns,
}

impl<'t> BuildSide<'t, SqliteConnection> for Of {
    type Side = Side<'t>;

    fn build(&self, connection: &'t mut SqliteConnection) -> Side<'t> {
        Side { connection, columns: self.columns }
    }
}

fn spawned(migration: Migration, mut tx: Tx<'static, Sqlite>) {
    tokio::spawn(async move {
        let of = |columns| Of { columns };
        let mirrored = DualCustomers::new(&migration, side, of(Columns::New)).with_both(of_columns_both);
        mirrored.within(&mut tx).twice(Customer { id: 1 }, 1).await?;
        let one_row = DualCustomers::one_row(&migration, of_columns);
        let mut unit = one_row.within(&mut tx);
        shown(&unit);
        boxed(&mut unit).find(1).await?;
        tx.commit().await.map_err(sqlx::Error::from)
    });
}

fn of_columns_both(connection: &mut SqliteConnection) -> Side<'_> {
    Side { connection, columns: Columns::Both(dualwrite::Side::Old) }
}

fn shown(unit: &impl Debug) -> String {
    format!("{unit:?}")
}

fn boxed<'u>(unit: &'u mut dyn Customers<u8>) -> &'u mut dyn Customers<u8> {
    unit
}

/// A trait of a crate that knows neither sqlx nor the library.
mod domain {
    #[derive(Debug)]
    pub struct Missing;

    pub trait Orders {
        fn place(&mut self, id: i64) -> impl Future<Output = Result<(), Missing>> + Send;
    }
}

fn missing(_: dualwrite::Error) -> domain::Missing {
    domain::Missing
}

#[dualwrite::repository(unit_of_work, remote = domain::Orders, error = missing)]
trait Orders {
    #[write(key = id)]
    async fn place(&mut self, id: i64) -> Result<(), domain::Missing>;
}

struct Book<'t>(&'t mut SqliteConnection);

impl domain::Orders for Book<'_> {
    async fn place(&mut self, id: i64) -> Result<(), domain::Missing> {
        let placed = sqlx::query("INSERT INTO orders (id) VALUES (?)").bind(id);
        placed.execute(&mut *self.0).await.map(drop).map_err(|_| domain::Missing)
    }
}

fn book(connection: &mut SqliteConnection) -> Book<'_> {
    Book(connection)
}

async fn place(migration: &Migration, tx: &mut Tx<'_, Sqlite>) -> Result<(), domain::Missing> {
    use domain::Orders as _;
    DualOrders::new(migration, book, book).within(tx).place(1).await
}

fn main() {}
