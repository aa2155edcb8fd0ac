//! What the probes of a service ask: whether this process should be restarted, and whether it should get traffic.

use std::sync::{Arc, Weak};

use serde::Serialize;

use super::{Inner, Runtime};
use crate::copier::joined::Joined;
use crate::database::Backend;

/// The answer to a probe.
///
/// With the feature `page` it is an answer of axum too: 200 or 503, with the reasons as JSON.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// fn ready(runtime: &dualwrite::Runtime<sqlx::Sqlite>) -> u16 {
///     let probe = runtime.probes().readiness();
///     for reason in &probe.reasons {
///         eprintln!("not ready: {reason}");
///     }
///     probe.http_status()
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Probe {
    /// Whether all is well.
    pub ok: bool,
    /// What is not.
    pub reasons: Vec<String>,
    /// Migrations whose calls are closed for maintenance, by whom, why, and until when. That alone makes no probe fail:
    /// taken out of traffic, the service could not tell its callers why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub maintenance: Vec<String>,
}

impl Probe {
    fn new(reasons: Vec<String>) -> Self {
        Self { ok: reasons.is_empty(), reasons, maintenance: Vec::new() }
    }

    /// 200, or 503 where something is not well.
    #[must_use]
    pub fn http_status(&self) -> u16 {
        if self.ok { 200 } else { 503 }
    }
}

#[cfg(feature = "page")]
impl axum::response::IntoResponse for Probe {
    fn into_response(self) -> axum::response::Response {
        let status = axum::http::StatusCode::from_u16(self.http_status());
        (status.unwrap_or(axum::http::StatusCode::SERVICE_UNAVAILABLE), axum::Json(self))
            .into_response()
    }
}

/// Answers the probes of a service for one runtime; it outlives the runtime, and does not keep it.
///
/// ```
/// # #[cfg(all(feature = "sqlite", feature = "page"))] mod example {
/// use axum::Router;
/// use axum::routing::get;
///
/// fn routes(runtime: &dualwrite::Runtime<sqlx::Sqlite>) -> Router {
///     let (live, ready) = (runtime.probes(), runtime.probes());
///     Router::new()
///         .route("/livez", get(async move || live.liveness()))
///         .route("/readyz", get(async move || ready.readiness()))
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Probes {
    inner: Weak<Inner>,
}

impl<DB: Backend> Runtime<DB> {
    /// What answers the probes of the service that this runtime is part of.
    #[must_use]
    pub fn probes(&self) -> Probes {
        Probes { inner: Arc::downgrade(&self.inner) }
    }
}

impl Probes {
    /// For a liveness probe: not well only where a new process would be better, since the background task of this one
    /// has ended without a shutdown. A database that does not answer is no such reason. Asks no database.
    #[must_use]
    pub fn liveness(&self) -> Probe {
        Probe::new(self.inner.upgrade().and_then(|inner| inner.dead()).into_iter().collect())
    }

    /// For a readiness probe: not well while calls through this instance would be refused, because the positions of its
    /// migrations are not known (the control tables have not been reached for the length of the lease), or because the
    /// runtime shuts down or is gone. Asks no database.
    #[must_use]
    pub fn readiness(&self) -> Probe {
        match self.inner.upgrade() {
            Some(inner) => Probe { maintenance: inner.closed(), ..Probe::new(inner.unready()) },
            None => Probe::new(vec!["this runtime was shut down or dropped".to_owned()]),
        }
    }
}

impl Inner {
    fn is_shutting_down(&self) -> bool {
        self.operations.is_closed()
    }

    fn dead(&self) -> Option<String> {
        let ended = self.lease.is_closed() && !self.is_shutting_down();
        ended.then(|| {
            "the background task of this runtime has ended: restart the process".to_owned()
        })
    }

    fn closed(&self) -> Vec<String> {
        let closed = |shared: &Arc<Joined>| {
            shared.maintenance().map(|maintenance| format!("{}: {maintenance}", shared.name))
        };
        self.migrations().iter().filter_map(closed).collect()
    }

    fn unready(&self) -> Vec<String> {
        if self.is_shutting_down() {
            return vec!["this runtime is shutting down".to_owned()];
        }
        if let Some(dead) = self.dead() {
            return vec![dead];
        }
        let now = self.clock.ticks();
        if self.lease.was_held(now, now) {
            return Vec::new();
        }
        let names: Vec<_> =
            self.migrations().iter().map(|shared| shared.name.to_string()).collect();
        vec![format!(
            "the control tables have not been reached for {:?}, so the positions of {} are not known: look at the \
             database and at the warnings of this process",
            self.lease_length(),
            if names.is_empty() { "its migrations".to_owned() } else { names.join(", ") }
        )]
    }
}
