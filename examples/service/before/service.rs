//! The service as it is built from its parts.

#[path = "../src/http.rs"]
mod http;
mod orders;

use std::error::Error;
use std::sync::Arc;

use axum::routing::get;
use sqlx::Pool;
use tokio::net::TcpListener;

use super::{Db, sql};
use orders::{PURCHASE, SqlOrders};

type Failure = Box<dyn Error + Send + Sync>;

pub(crate) async fn serve(pool: Pool<Db>, listener: TcpListener) -> Result<(), Failure> {
    let orders = SqlOrders { pool, table: PURCHASE };
    let routes = http::routes(Arc::new(orders)).route("/readyz", get("ready"));
    axum::serve(listener, routes).with_graceful_shutdown(http::is_over()).await?;
    Ok(())
}
