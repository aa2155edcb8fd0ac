//! The service as it is built from its parts.

mod copy;
#[path = "../src/http.rs"]
mod http;
mod orders;

use std::error::Error;
use std::sync::Arc;

use axum::Extension;
use axum::routing::get;
use dualwrite::Runtime;
use dualwrite::operator::{Access, Caller, Operator, page};
use sqlx::Pool;
use tokio::net::TcpListener;

use super::{Db, sql};
use orders::{DualOrders, ORDERS, PURCHASE, SqlOrders};

type Failure = Box<dyn Error + Send + Sync>;

pub(crate) async fn serve(pool: Pool<Db>, listener: TcpListener) -> Result<(), Failure> {
    let runtime = Runtime::builder(pool.clone()).release("1.1").start().await?;
    let migration = runtime.migration("orders").backfill(copy::copy()).register().await?;
    let side = |table| SqlOrders { pool: pool.clone(), table };
    let orders = DualOrders::new(&migration, side(PURCHASE), side(ORDERS)).fenced(pool.clone());
    let (live, ready) = (runtime.probes(), runtime.probes());
    // The login of a service stands here: it says who asks.
    let page = page(Operator::new(pool), Access::from_layer());
    let routes = http::routes(Arc::new(orders))
        .route("/livez", get(async move || live.liveness()))
        .route("/readyz", get(async move || ready.readiness()))
        .nest_service("/admin/dualwrite", page.layer(Extension(Caller::operator("on-call"))));
    axum::serve(listener, routes).with_graceful_shutdown(http::is_over()).await?;
    runtime.shutdown().await?;
    Ok(())
}
