//! Shapes of traits whose writes take no transaction.
#![deny(warnings)]
#![allow(dead_code)]

use std::fmt::Debug;
use std::sync::Arc;

use dualwrite::{Migration, Tx};
use sqlx::{Sqlite, SqlitePool};

#[derive(Clone, Debug, PartialEq)]
pub struct Customer {
    id: i64,
}

/// A trait of a crate that knows neither sqlx nor the library.
mod domain {
    #[derive(Debug)]
    pub struct Missing;

    pub trait Orders<T> {
        fn find(&self, id: i64) -> impl Future<Output = Result<i64, Missing>> + Send;
        fn place(&self, id: i64, what: T) -> impl Future<Output = Result<(), Missing>> + Send;
    }
}

fn missing(_: dualwrite::Error) -> domain::Missing {
    domain::Missing
}

#[dualwrite::repository(transaction = sqlx::Sqlite, remote = domain::Orders, error = missing)]
trait Orders<T: Clone + Send + Sync + 'static> {
    #[read(key = id)]
    async fn find(&self, id: i64) -> Result<i64, domain::Missing>;
    #[write(key = id)]
    async fn place(&self, id: i64, what: T) -> Result<(), domain::Missing>;
}

struct Book;

impl OrdersIn<String> for Book {
    async fn find(&self, id: i64) -> Result<i64, domain::Missing> {
        Ok(id)
    }
    async fn place(&self, _: &mut Tx<'_, Sqlite>, _: i64, _: String) -> Result<(), domain::Missing> {
        Ok(())
    }
}

fn orders(migration: &Migration, pool: SqlitePool) -> impl domain::Orders<String> + Debug {
    DualOrders::new(migration, Book, Book).fenced(pool)
}

/// Boxed futures, sides and callers by `dyn`.
#[dualwrite::repository(transaction = Sqlite)]
#[async_trait::async_trait]
pub trait Customers: Send + Sync {
    #[read(key = id, lazy)]
    async fn find(&self, id: i64) -> Result<Option<Customer>, sqlx::Error>;
    #[write(key = customer.id)]
    async fn save(&self, customer: &Customer, note: Option<&str>) -> Result<(), sqlx::Error>;
    #[write(key = customer.id)]
    async fn place(&self, customer: Customer) -> Result<u64, sqlx::Error>;
    #[cfg(unix)]
    #[primary]
    fn name(&self) -> String;
    async fn save_twice(&self, customer: &Customer) -> Result<(), sqlx::Error> {
        self.save(customer, None).await?;
        self.save(customer, Some("again")).await
    }
}

fn customers(
    migration: &Migration,
    old: Arc<dyn CustomersIn>,
    new: Arc<dyn CustomersIn>,
    pool: SqlitePool,
) -> Arc<dyn Customers> {
    Arc::new(DualCustomers::from_arcs(migration, old, new).fenced(pool))
}

/// Errors of the sides' own, constants, argument names that collide.
#[dualwrite::repository(transaction = Sqlite, name = RoutedNotes)]
trait Notes: Debug {
    type Error: Debug + Send + 'static;
    const TABLE: &'static str;
    #[write(key = tx, on_mirror_error = abort, timeout = "500ms")]
    async fn save<V: AsRef<str> + Clone + Send + Sync>(&self, tx: i64, turn: V) -> Result<(), Self::Error>;
    #[write(filter)]
    #[deprecated = "use another"]
    async fn clear(&self) -> Result<(), Self::Error>;
}

/// Columns of one row.
#[dualwrite::repository(transaction = Sqlite)]
trait Visits {
    #[write(once)]
    async fn visit(&self, id: i64) -> Result<(), sqlx::Error>;
    #[write(key_from = |id: &i64| *id, into = id)]
    async fn add(&self, id: Option<i64>, word: String) -> Result<i64, sqlx::Error>;
}

fn is_send<T: Send>(_: T) {}

fn spawned<V: Visits + Sync>(visits: &V) {
    is_send(visits.visit(1));
    is_send(visits.add(None, String::new()));
}

fn main() {}
