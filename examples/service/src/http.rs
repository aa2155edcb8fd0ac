//! What callers of the shop see. One file for both releases: nothing in it knows of the migration.

use std::sync::{Arc, OnceLock};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::json;

use super::orders::{NewOrder, Order, OrderError, Orders};

type Shared = State<Arc<dyn Orders>>;

/// The most orders that one call ships.
const SHIPPED_MAX: usize = 100;

pub(super) fn routes(orders: Arc<dyn Orders>) -> Router {
    let metrics = metrics();
    Router::new()
        .route("/orders", post(place))
        .route("/orders/ship", post(ship))
        .route("/orders/{id}", get(find).delete(cancel))
        .route("/orders/{id}/pay", post(pay))
        .route("/customers/{customer}/orders", get(of_customer))
        .with_state(orders)
        .route("/metrics", get(async || metrics.render()))
}

/// The metrics of this process, in the form that Prometheus reads.
fn metrics() -> &'static PrometheusHandle {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    METRICS.get_or_init(|| {
        PrometheusBuilder::new().install_recorder().expect("no other recorder is installed")
    })
}

/// Comes when the process is asked to end, by SIGTERM or Ctrl-C.
pub(super) async fn is_over() {
    let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    let mut terminate = terminate.expect("a handler of signals");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

async fn find(State(orders): Shared, Path(id): Path<i64>) -> Result<Response, OrderError> {
    Ok(match orders.find(id).await? {
        Some(order) => Json(order).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    })
}

async fn of_customer(
    State(orders): Shared,
    Path(customer): Path<String>,
) -> Result<Json<Vec<Order>>, OrderError> {
    orders.of_customer(&customer).await.map(Json)
}

async fn place(State(orders): Shared, Json(order): Json<NewOrder>) -> Result<Response, OrderError> {
    if order.amount_cents < 0 {
        return Ok((StatusCode::BAD_REQUEST, "`amount_cents` must not be negative").into_response());
    }
    let id = orders.place(&order).await?;
    Ok((StatusCode::CREATED, Json(json!({ "id": id }))).into_response())
}

async fn pay(State(orders): Shared, Path(id): Path<i64>) -> Result<StatusCode, OrderError> {
    let paid = orders.pay(id).await?;
    Ok(if paid { StatusCode::NO_CONTENT } else { StatusCode::CONFLICT })
}

async fn ship(State(orders): Shared, Json(ids): Json<Vec<i64>>) -> Result<Response, OrderError> {
    if ids.is_empty() || ids.len() > SHIPPED_MAX {
        let text = format!("give 1 to {SHIPPED_MAX} ids");
        return Ok((StatusCode::BAD_REQUEST, text).into_response());
    }
    let shipped = orders.ship(&ids).await?;
    Ok(Json(json!({ "shipped": shipped })).into_response())
}

async fn cancel(State(orders): Shared, Path(id): Path<i64>) -> Result<StatusCode, OrderError> {
    let cancelled = orders.cancel(id).await?;
    Ok(if cancelled { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND })
}

impl IntoResponse for OrderError {
    fn into_response(self) -> Response {
        if lost_a_deadlock(&self) {
            return (StatusCode::SERVICE_UNAVAILABLE, TRY_AGAIN).into_response();
        }
        let cause = std::error::Error::source(&self).map(ToString::to_string);
        tracing::error!(cause, "{self}");
        (StatusCode::SERVICE_UNAVAILABLE, self.to_string()).into_response()
    }
}

/// Nothing of the call was done, and it may be made again.
const TRY_AGAIN: &str = "try again: the database has chosen this call to lose a deadlock";

fn lost_a_deadlock(error: &OrderError) -> bool {
    let OrderError::Database(sqlx::Error::Database(cause)) = error else { return false };
    matches!(cause.code().as_deref(), Some("40001" | "40P01"))
}
