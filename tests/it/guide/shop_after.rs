use std::path::Path;
use std::str::FromStr;

use axum::Router;
use axum::extract::{Path as Id, State};
use axum::http::StatusCode;
use axum::routing::get;
use dualwrite::{Columns, Dual, DualTable as _, Migration, Runtime, Tx};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, Sqlite, SqlitePool};

#[derive(Clone, Debug, PartialEq, sqlx::FromRow, Dual)]
#[dual(table = "customer", key = "id")]
struct Customer {
    id: i64,
    #[dual(new_column = "email_address")]
    email: Option<String>,
}

#[dualwrite::repository(transaction = Sqlite)]
trait Customers {
    #[read(key = id)]
    async fn find(&self, id: i64) -> Result<Option<Customer>, sqlx::Error>;
    #[write(key = customer.id)]
    async fn save(&self, customer: &Customer) -> Result<(), sqlx::Error>;
}

#[derive(Clone)]
struct SqlCustomers(SqlitePool, Columns);

impl CustomersIn for SqlCustomers {
    async fn find(&self, id: i64) -> Result<Option<Customer>, sqlx::Error> {
        let columns = self.1.select::<Customer, Sqlite>();
        let sql = AssertSqlSafe(format!("SELECT {columns} FROM customer WHERE id = ?"));
        sqlx::query_as(sql).bind(id).fetch_optional(&self.0).await
    }
    async fn save(&self, tx: &mut Tx<'_, Sqlite>, customer: &Customer) -> Result<(), sqlx::Error> {
        self.1.save(customer, tx).await
    }
}

fn app<C: Customers + Clone + Send + Sync + 'static>(customers: C) -> Router {
    Router::new().route("/customers/{id}", get(show::<C>).put(save::<C>)).with_state(customers)
}

async fn show<C: Customers>(State(customers): State<C>, Id(id): Id<i64>) -> Result<String, StatusCode> {
    let found = customers.find(id).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    found.and_then(|customer| customer.email).ok_or(StatusCode::NOT_FOUND)
}

async fn save<C: Customers>(State(customers): State<C>, Id(id): Id<i64>, email: String) -> StatusCode {
    match customers.save(&Customer { id, email: Some(email) }).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

async fn connect(url: &str, migrations: &Path) -> Result<SqlitePool, Box<dyn std::error::Error>> {
    let options = SqliteConnectOptions::from_str(url)?.create_if_missing(true);
    let pool = SqlitePool::connect_with(options.journal_mode(SqliteJournalMode::Wal)).await?;
    Migrator::new(migrations).await?.run(&pool).await?;
    Ok(pool)
}

async fn start(pool: &SqlitePool) -> Result<(Runtime<Sqlite>, Migration), dualwrite::Error> {
    let runtime = Runtime::builder(pool.clone()).release("2").start().await?;
    let copy = Customer::copy_columns();
    let migration = runtime.migration("customer-email").backfill(copy).register().await?;
    Ok((runtime, migration))
}

fn wrap(migration: &Migration, pool: &SqlitePool) -> impl Customers + Clone + use<> {
    let (side, pool) = (pool.clone(), pool.clone());
    DualCustomers::one_row(migration, |columns| SqlCustomers(side.clone(), columns)).fenced(pool)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = connect("sqlite://shop.db", Path::new("migrations")).await?;
    let (runtime, migration) = start(&pool).await?;
    let app = app(wrap(&migration, &pool));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    let stop = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;
    runtime.shutdown().await?;
    Ok(())
}
