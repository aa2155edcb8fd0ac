//! [`page`]: migrations and their backfills in a browser, and as JSON.

pub(crate) mod access;
#[cfg(test)]
mod api;
mod chart;
mod commands;
mod confirm;
mod dropping;
mod drops;
mod exact;
mod fields;
mod forms;
mod html;
mod links;
mod list;
mod live;
mod one;
mod origin;
mod queries;
mod routes;
mod served;
mod tabs;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{DefaultBodyLimit, OriginalUri, Path, Query, Request, State};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName,
    HeaderValue, REFERER, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
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
pub use served::PAGE_LIVE_MAX;
use served::Served;

/// The most bytes of a form that [`page`] reads; a longer one is answered with 413.
pub const PAGE_FORM_BYTES_MAX: usize = 16 * 1024;

/// Within so much the page answers, whatever the database does.
const ANSWER_WITHIN: Duration = Duration::from_millis(1_800);
/// What may be dropped is read in the catalogue, which takes MariaDB seconds where it has many databases.
const CATALOGUE_WITHIN: Duration = Duration::from_secs(20);
/// A command may wait for writes in flight, and for instances.
const COMMAND_WITHIN: Duration = Duration::from_secs(20);
/// The most bytes of an error that becomes a page.
const ERROR_BYTES_MAX: usize = 64 * 1024;
const ICON: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="M2 3h5v10H2z" fill="#566172"/><path d="M9 3h5v10H9z" fill="#0a58ca"/></svg>"##;
const SCRIPT: &str = include_str!("page/live.js");
const LATE: &str = "the database did not answer in time; try again, and if that does not help, see whether it can be \
                    reached, and who holds a lock on the control tables";

const NOWHERE: &str = "there is no such page; the first page has links to all there are";

const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; form-action 'self'; \
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
/// | GET `/`, `/?search=…&stage=…&needs=1&page=…` | all migrations, 50 a page, those first that need somebody |
/// | GET `/view/{name}` | one migration: stages, what stands against the next move, both sides in the last hour, backfill, verification, rollout, instances, and forms for the commands |
/// | GET `/view/{name}/keys`, `…/history`, `…/catalogue`, `…/contract` | its dead letters and mismatches; who did what and why; what the preflight found; whether the old side may be dropped |
/// | GET `/view-removals`, `/view-removals/{name}` | tables and columns that are dropped in phases |
/// | GET `/view/{name}/confirm/{command}` | what a command would do, with a button that does it |
/// | GET `/live`, `/view/{name}/live` | server-sent events by which a script renews the first two while they are seen; at most [`PAGE_LIVE_MAX`] at a time |
/// | GET `/migrations`, `/migrations/{name}` | the same as JSON, as [`MigrationOverview`] is serialized |
/// | GET `/migrations/{name}/{query}` | JSON of `readiness`, `preflight`, `hazards`, `events`, `audit`, `instances`, `dead-letters`, `mismatches`, `jobs`, `traffic` or `rollout` |
/// | GET `/contracts`, `/contracts/{name}` | JSON of the names, and whether the old side may be dropped: a [`ContractOverview`](crate::operator::ContractOverview), whose `may_drop` a pipeline asks |
/// | POST `/contracts/{name}/approve`, `/contracts/{name}/backup` | gives the approval, or confirms a backup, with `because` and the `output` of the backup's command |
/// | GET `/removals`, `/removals/{name}`; POST `/removals/{name}/backup` | the same of removals: a [`RemovalOverview`](crate::operator::RemovalOverview) |
/// | GET `/openapi.json` | the document of all JSON that is answered here, in OpenAPI |
/// | GET `/commands` | the list of commands, [`COMMANDS`](crate::operator::COMMANDS) |
/// | POST `/migrations/{name}/commands/{command}` | carries one of them out, with its fields and `because`, `expect-epoch` and `dry-run`; with a JSON body or `Accept: application/json` it answers with the [`CommandOutcome`](crate::operator::CommandOutcome), or `application/problem+json` |
///
/// The fields of a command come as a form (`application/x-www-form-urlencoded`, or `multipart/form-data` where a file is
/// sent, as the plan of `rollout-start`) or as one JSON object, of at most [`PAGE_FORM_BYTES_MAX`] bytes.
/// Without a JSON body or `Accept: application/json` a command that is done leads back (303) to `/view/{name}`.
///
/// What a page shows is read once a second for all who look, in at most twelve statements, and read anew after each
/// command. Everything can be read, and a rollback made, without JavaScript.
///
/// Errors are `application/problem+json` where JSON was asked for, a page with a way back for a browser, and else plain
/// text; they say what to do next: 400 for a bad field, by its name; 404 for a migration or a
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
/// use dualwrite::operator::{Access, Caller, Operator};
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
///     let page = dualwrite::operator::page(Operator::new(pool), Access::from_layer());
///     Router::new().nest_service("/admin/dualwrite", page.layer(middleware::from_fn(login)))
/// }
/// # }
/// ```
///
/// **Requests of other sites are refused** (403), for the browser of somebody who is logged in would send them with
/// the login: a POST whose `Sec-Fetch-Site` is neither `same-origin` nor `none`, and, of a browser that sends none, one
/// whose `Origin` is not its `Host` or [the host that the page was told](Access::public_host). What is no browser sends
/// neither header and is let in. More than [`PAGE_WRITES_PER_MINUTE`](crate::defaults::PAGE_WRITES_PER_MINUTE) changes a minute
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
        .with_state(Served::new(operator))
}

/// Refuses what another site sends, and says how the answer may be used.
async fn guarded(
    State(gatekeeper): State<Arc<Gatekeeper>>,
    mut request: Request,
    next: Next,
) -> Response {
    let reader = Reader::of(&request);
    let mut response = match gatekeeper.admit(&mut request) {
        Ok(()) => {
            match clock::limit(limit_of(request.uri().path()), next.run(request)).await {
                Ok(response) => response,
                // What was asked of the database is given up, and cancelled there.
                Err(()) => (StatusCode::SERVICE_UNAVAILABLE, LATE).into_response(),
            }
        }
        Err(response) => *response,
    };
    if let Some(reader) = reader {
        response = reader.read(response).await;
    }
    response.headers_mut().extend(HEADERS);
    response
}

/// How long an answer may take.
fn limit_of(path: &str) -> Duration {
    let reads_catalogue = ["/contracts/", "/removals/", "/view-removals/"];
    if path.contains("/commands/") {
        return COMMAND_WITHIN;
    }
    match path.ends_with("/contract") || reads_catalogue.iter().any(|begin| path.starts_with(begin))
    {
        true => CATALOGUE_WITHIN,
        false => ANSWER_WITHIN,
    }
}

/// A browser with a window: errors are pages for it, with a way back.
struct Reader {
    links: Links,
    came_from: Option<String>,
}

impl Reader {
    fn of(request: &Request) -> Option<Self> {
        let text = |name: HeaderName| Some(request.headers().get(name)?.to_str().ok()?.to_owned());
        text(ACCEPT)?.contains("text/html").then_some(())?;
        let inner = request.uri().path();
        let original = request.extensions().get::<OriginalUri>();
        let original = original.map_or(inner, |original| original.0.path());
        // From another site nothing is linked to: browsers send these pages the address of their own alone.
        let own = format!("://{}/", text(HOST).unwrap_or_default());
        let came_from = text(REFERER).filter(|from| from.contains(&own));
        let came_from = came_from.map(|from| links::back_to(&from));
        Some(Self { links: Links::new(original, inner), came_from })
    }

    async fn read(self, response: Response) -> Response {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let status = response.status();
        let is_text = kind.is_some_and(|kind| kind.starts_with("text/plain"));
        if !is_text || !(status.is_client_error() || status.is_server_error()) {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        let Ok(text) = to_bytes(body, ERROR_BYTES_MAX).await else { return status.into_response() };
        let text = String::from_utf8_lossy(&text);
        let page = confirm::error(status, &text, &self.links, self.came_from.as_deref());
        parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        parts.headers.remove(CONTENT_LENGTH);
        Response::from_parts(parts, page.into_string().into())
    }
}

async fn all(
    State(served): State<Served>,
    Query(asked): Query<HashMap<String, String>>,
    OriginalUri(original): OriginalUri,
    inner: Uri,
) -> Result<Html<String>, Failed> {
    let links = Links::new(original.path(), inner.path());
    let migrations = served.all().await?;
    Ok(Html(html::all(&migrations, &Asked::of(&asked), &links).into_string()))
}

async fn script() -> Response {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT).into_response()
}

async fn icon() -> Response {
    ([(CONTENT_TYPE, "image/svg+xml")], ICON).into_response()
}

async fn nowhere() -> Response {
    (StatusCode::NOT_FOUND, NOWHERE).into_response()
}

async fn one(
    State(served): State<Served>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    OriginalUri(original): OriginalUri,
    inner: Uri,
) -> Result<Html<String>, Failed> {
    check_name(&name)?;
    let links = Links::new(original.path(), inner.path());
    Ok(Html(one::one(&*served.details(&name).await?, &links, &caller).into_string()))
}

/// A page of a migration beside the first.
async fn tab(
    State(operator): State<Operator>,
    Extension(caller): Extension<Caller>,
    Path((name, tab)): Path<(String, String)>,
    OriginalUri(original): OriginalUri,
    inner: Uri,
) -> Result<Html<String>, Failed> {
    check_name(&name)?;
    let links = Links::new(original.path(), inner.path());
    let page = match &*tab {
        "keys" => {
            let (letters, found) =
                (operator.dead_letters(&name).await?, operator.mismatches(&name));
            tabs::keys(&name, &letters, &found.await?, &links)
        }
        "history" => {
            let (events, orders) = (operator.events(&name).await?, operator.audit(&name).await?);
            tabs::history(&name, &events, &orders, &links)
        }
        "catalogue" => {
            let report = operator.preflight(&name).await?;
            tabs::read(&name, report.as_ref(), &links)
        }
        "contract" => {
            let overview = operator.contract_overview(&name).await?;
            dropping::contract(&overview, &links, caller.may_operate())
        }
        _ => return Err(Failed(StatusCode::NOT_FOUND, NOWHERE.to_owned())),
    };
    Ok(Html(page.into_string()))
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

impl From<Arc<Error>> for Failed {
    fn from(error: Arc<Error>) -> Self {
        Self::of(&error)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::of(&error)
    }
}

impl Failed {
    fn of(error: &Error) -> Self {
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
