use std::path::Path;
use std::str::FromStr;

use axum::Router;
use axum::extract::{Path as Id, State};
use axum::http::StatusCode;
use axum::routing::get;
use sqlx::SqlitePool;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};

#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
struct Customer {
    id: i64,
    email: Option<String>,
}

trait Customers {
    fn find(&self, id: i64) -> impl Future<Output = Result<Option<Customer>, sqlx::Error>> + Send;
    fn save(&self, customer: &Customer) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

#[derive(Clone)]
struct SqlCustomers(SqlitePool);

impl Customers for SqlCustomers {
    async fn find(&self, id: i64) -> Result<Option<Customer>, sqlx::Error> {
        let sql = "SELECT id, email FROM customer WHERE id = ?";
        sqlx::query_as(sql).bind(id).fetch_optional(&self.0).await
    }
    async fn save(&self, customer: &Customer) -> Result<(), sqlx::Error> {
        let sql = "INSERT INTO customer (id, email) VALUES (?, ?)
                   ON CONFLICT (id) DO UPDATE SET email = excluded.email";
        sqlx::query(sql).bind(customer.id).bind(&customer.email).execute(&self.0).await?;
        Ok(())
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

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = connect("sqlite://shop.db", Path::new("migrations")).await?;
    let app = app(SqlCustomers(pool.clone()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    let stop = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;
    Ok(())
}
