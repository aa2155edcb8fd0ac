//! [`page`]: migrations and their backfills in a browser, and as JSON.

pub(crate) mod access;
#[cfg(test)]
mod api;
mod commands;
mod fields;
mod forms;
mod html;
mod links;
mod list;
mod origin;
mod queries;
mod routes;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, OriginalUri, Path, Query, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::{Extension, Router};

use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::operator::{MigrationOverview, Operator};
use access::{Access, Caller, Gatekeeper};
use links::Links;
use list::Asked;

/// The most bytes of a form that [`page`] reads; a longer one is answered with 413.
pub const PAGE_FORM_BYTES_MAX: usize = 16 * 1024;

/// Within so much the page answers, whatever the database does.
const ANSWER_WITHIN: Duration = Duration::from_millis(1_800);
/// A command may wait for writes in flight, and for instances.
const COMMAND_WITHIN: Duration = Duration::from_secs(20);
const SCRIPT: &str = include_str!("page/live.js");
const LATE: &str = "the database did not answer in time; try again, and if that does not help, see whether it can be \
                    reached, and who holds a lock on the control tables";

const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; form-action 'self'; \
             frame-ancestors 'none'; base-uri 'none'",
        ),
    ),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    // Without a referrer a browser would send its forms with `Origin: null`.
    (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
];

/// A page that shows all migrations and gives them commands, to be mounted in the service's own
/// router or in one of its own. It needs no instance: see [`Operator`].
///
/// | request | answer |
/// |---|---|
/// | GET `/`, `/?search=…&page=…` | all migrations, 50 a page, those first that need somebody; a script renews the lines every five seconds |
/// | GET `/view/{name}` | one migration, with forms for the commands |
/// | GET `/migrations`, `/migrations/{name}` | the same as JSON, as [`MigrationOverview`] is serialized |
/// | GET `/migrations/{name}/{query}` | JSON of `readiness`, `preflight`, `hazards`, `events`, `audit`, `instances`, `dead-letters`, `mismatches`, `jobs` or `rollout` |
/// | GET `/openapi.json` | the document of all JSON that is answered here, in OpenAPI |
/// | GET `/commands` | the list of commands, [`COMMANDS`](crate::COMMANDS) |
/// | POST `/migrations/{name}/commands/{command}` | carries one of them out, with its fields and `because`, `expect-epoch` and `dry-run`; with a JSON body or `Accept: application/json` it answers with the [`CommandOutcome`](crate::CommandOutcome), or `application/problem+json` |
///
/// The fields of a command come as a form (`application/x-www-form-urlencoded`, or `multipart/form-data` where a file is
/// sent, as the plan of `rollout-start`) or as one JSON object, of at most [`PAGE_FORM_BYTES_MAX`] bytes.
/// Without a JSON body or `Accept: application/json` a command that is done leads back (303) to `/view/{name}`.
///
/// Errors are `application/problem+json` where JSON was asked for, and else plain text; they say what to do next: 400 for a bad field, by its name; 404 for a migration or a
/// command that there is not; 409 where a gate is closed or nothing was there to take the command; 503 where the database failed, without
/// its words.
///
/// **Who asks is for [`Access`] to say**: by a layer of your own that knows your login, or by tokens. The actor of a
/// command is who is logged in. A reader sees the names of instances and the keys that ranges end with; an operator
/// moves migrations and stops backfills. With a layer:
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use axum::Router;
/// use axum::extract::Request;
/// use axum::middleware::{self, Next};
/// use axum::response::Response;
/// use dualwrite::{Access, Caller, Operator};
///
/// async fn login(mut request: Request, next: Next) -> Response {
///     # fn session(_: &axum::http::HeaderMap) -> Option<(String, bool)> { None }
///     if let Some((user, is_on_call)) = session(request.headers()) {
///         let caller = if is_on_call { Caller::operator(user) } else { Caller::reader(user) };
///         request.extensions_mut().insert(caller);
///     }
///     next.run(request).await // without a caller, the page refuses
/// }
///
/// fn routes(pool: sqlx::SqlitePool) -> Router {
///     let page = dualwrite::page(Operator::new(pool), Access::from_layer());
///     Router::new().nest_service("/admin/dualwrite", page.layer(middleware::from_fn(login)))
/// }
/// # }
/// ```
///
/// **Requests of other sites are refused** (403), for the browser of somebody who is logged in would send them with
/// the login: a POST whose `Sec-Fetch-Site` is neither `same-origin` nor `none`, and, of a browser that sends none, one
/// whose `Origin` is not its `Host` or [the host that the page was told](Access::public_host). What is no browser sends
/// neither header and is let in. More than [`PAGE_WRITES_PER_MINUTE`](crate::PAGE_WRITES_PER_MINUTE) changes a minute
/// are refused (429), but for a rollback and the kill switch.
///
/// `nest_service` answers at `/admin/dualwrite/` too, where `nest` knows `/admin/dualwrite` alone.
///
/// Links are relative, so the page may be nested anywhere, and a proxy may cut a prefix off.
pub fn page(operator: Operator, access: Access) -> Router {
    routes::router()
        .fallback(nowhere)
        .layer(DefaultBodyLimit::max(PAGE_FORM_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::new(Gatekeeper::new(access)), guarded))
        .with_state(operator)
}

/// Refuses what another site sends, and says how the answer may be used.
async fn guarded(
    State(gatekeeper): State<Arc<Gatekeeper>>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut response = match gatekeeper.admit(&mut request) {
        Ok(()) => {
            let limit = match request.uri().path().contains("/commands/") {
                true => COMMAND_WITHIN,
                false => ANSWER_WITHIN,
            };
            match clock::limit(limit, next.run(request)).await {
                Ok(response) => response,
                // What was asked of the database is given up, and cancelled there.
                Err(()) => (StatusCode::SERVICE_UNAVAILABLE, LATE).into_response(),
            }
        }
        Err(response) => *response,
    };
    response.headers_mut().extend(HEADERS);
    response
}

async fn all(
    State(operator): State<Operator>,
    Query(asked): Query<HashMap<String, String>>,
    OriginalUri(original): OriginalUri,
    inner: Uri,
) -> Result<Html<String>, Failed> {
    let links = Links::new(original.path(), inner.path());
    let migrations = operator.migrations().await?;
    Ok(Html(html::all(&migrations, &Asked::of(&asked), &links).into_string()))
}

async fn script() -> Response {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT).into_response()
}

async fn nowhere() -> Response {
    (StatusCode::NOT_FOUND, "there is no such page; the first page has links to all there are")
        .into_response()
}

async fn one(
    State(operator): State<Operator>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    OriginalUri(original): OriginalUri,
    inner: Uri,
) -> Result<Html<String>, Failed> {
    let links = Links::new(original.path(), inner.path());
    Ok(Html(html::one(&migration(&operator, &name).await?, &links, &caller).into_string()))
}

async fn all_json(State(operator): State<Operator>) -> Response {
    let found = operator.migrations().await.map(Json).map_err(Failed::from);
    found.map_or_else(|failed| commands::problem(&failed), IntoResponse::into_response)
}

async fn one_json(State(operator): State<Operator>, Path(name): Path<String>) -> Response {
    let found = migration(&operator, &name).await.map(Json);
    found.map_or_else(|failed| commands::problem(&failed), IntoResponse::into_response)
}

async fn migration(operator: &Operator, name: &str) -> Result<MigrationOverview, Failed> {
    check_name(name)?;
    Ok(operator.migration(name).await?)
}

/// Not every database takes every character as text.
fn check_name(name: &str) -> Result<(), Failed> {
    if name.chars().any(char::is_control) {
        let message = "there is no migration of that name: it has control characters";
        return Err(Failed(StatusCode::NOT_FOUND, message.to_owned()));
    }
    Ok(())
}

/// What went wrong, and what to do next.
#[derive(Debug)]
struct Failed(StatusCode, String);

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        if error.is_undefined_table() {
            let message = "this database has no control tables; let the page use the pool of the service's database, and \
                           start the service, which makes them";
            return Self(StatusCode::SERVICE_UNAVAILABLE, message.to_owned());
        }
        let (status, next) = match error.kind() {
            ErrorKind::InvalidInput => (StatusCode::BAD_REQUEST, ""),
            ErrorKind::UnknownMigration => {
                (StatusCode::NOT_FOUND, "; the first page has the names that there are")
            }
            ErrorKind::NewerControlTables => (StatusCode::SERVICE_UNAVAILABLE, ""),
            ErrorKind::Blocked
            | ErrorKind::Conflict
            | ErrorKind::IllegalMove
            | ErrorKind::Unsupported => (StatusCode::CONFLICT, ""),
            ErrorKind::Database if error.is_denied() => (
                StatusCode::SERVICE_UNAVAILABLE,
                "; grant the role of the page's connection the rights on the tables whose names begin with `dualwrite`",
            ),
            ErrorKind::Database if error.is_read_only() => (
                StatusCode::SERVICE_UNAVAILABLE,
                "; that server takes no writes: let the page connect to the primary",
            ),
            ErrorKind::Database => (
                StatusCode::SERVICE_UNAVAILABLE,
                "; try again, and if that does not help, see whether the database can be reached and has \
                 the control tables, which the service makes when it starts",
            ),
            ErrorKind::CommitUnknown => (StatusCode::SERVICE_UNAVAILABLE, "; see the page first"),
            _ if error.is_retryable() => (StatusCode::SERVICE_UNAVAILABLE, "; try again"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, ""),
        };
        if status.is_server_error() {
            // Not with its sources, which may quote values.
            tracing::warn!(%error, "the page got no answer");
        }
        Self(status, format!("{error}{next}"))
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}
