//! What may be dropped, by HTTP: contracts and removals. Approvals and backups are recorded here; the statements that drop
//! are run by the command, for they may wait for locks longer than a request lasts.

use std::convert::Infallible;

use axum::Extension;
use axum::extract::{FromRequestParts, OriginalUri, Path, State};
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::response::{Html, IntoResponse, Json, Response};
use serde::Serialize;

use crate::error::Error;
use crate::operator::Operator;
use crate::operator::page::access::Caller;
use crate::operator::page::commands::{problem, said_by, wants_json};
use crate::operator::page::fields::Fields;
use crate::operator::page::links::Links;
use crate::operator::page::{Failed, NOWHERE, check_name, dropping};

/// The names of all contracts.
pub(super) async fn contracts(State(operator): State<Operator>) -> Response {
    answered(operator.contracts().await)
}

/// May old be dropped?
pub(super) async fn contract(
    State(operator): State<Operator>,
    Path(name): Path<String>,
) -> Response {
    match check_name(&name) {
        Ok(()) => answered(operator.contract_overview(&name).await),
        Err(failed) => problem(&failed),
    }
}

/// The names of all removals.
pub(super) async fn removals(State(operator): State<Operator>) -> Response {
    answered(operator.removals().await)
}

/// May the removal go on?
pub(super) async fn removal(
    State(operator): State<Operator>,
    Path(name): Path<String>,
) -> Response {
    match check_name(&name) {
        Ok(()) => answered(operator.removal_overview(&name).await),
        Err(failed) => problem(&failed),
    }
}

fn answered<T: Serialize>(answer: Result<T, Error>) -> Response {
    match answer {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => problem(&Failed::of(&error)),
    }
}

/// What is recorded for a contract or a removal.
#[derive(Clone, Copy)]
enum Record {
    Approval,
    Backup,
    RemovalBackup,
}

/// Gives the approval of a contract.
pub(super) async fn approve(
    State(operator): State<Operator>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    asked: Asked,
    fields: Result<Fields, Failed>,
) -> Response {
    let done = record(&operator, &caller, &name, Record::Approval, fields).await;
    asked.answer(done, &operator, &name, Record::Approval).await
}

/// Confirms a backup for a contract.
pub(super) async fn backup(
    State(operator): State<Operator>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    asked: Asked,
    fields: Result<Fields, Failed>,
) -> Response {
    let done = record(&operator, &caller, &name, Record::Backup, fields).await;
    asked.answer(done, &operator, &name, Record::Backup).await
}

/// Confirms a backup for a removal.
pub(super) async fn removal_backup(
    State(operator): State<Operator>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    asked: Asked,
    fields: Result<Fields, Failed>,
) -> Response {
    let done = record(&operator, &caller, &name, Record::RemovalBackup, fields).await;
    asked.answer(done, &operator, &name, Record::RemovalBackup).await
}

async fn record(
    operator: &Operator,
    caller: &Caller,
    name: &str,
    what: Record,
    fields: Result<Fields, Failed>,
) -> Result<(), Failed> {
    check_name(name)?;
    let fields = fields?;
    let by = caller.actor();
    let because = said_by(&fields, by)?;
    let output = fields.get("output").map_or("", |text| text.as_str());
    let done = match what {
        Record::Approval => operator.contract(name).approve(by, &because).await,
        Record::Backup => operator.contract(name).confirm_backup(by, &because, output).await,
        Record::RemovalBackup => operator.removal(name).confirm_backup(by, &because, output).await,
    };
    Ok(done?)
}

/// How the answer is wanted, and where the browser is led.
pub(super) struct Asked {
    as_json: bool,
    links: Links,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let OriginalUri(original) = OriginalUri::from_request_parts(parts, state).await?;
        let links = Links::new(original.path(), parts.uri.path());
        Ok(Self { as_json: wants_json(&parts.headers), links })
    }
}

impl Asked {
    async fn answer(
        self,
        done: Result<(), Failed>,
        operator: &Operator,
        name: &str,
        what: Record,
    ) -> Response {
        let Self { as_json, links } = self;
        match (done, what) {
            (Err(failed), _) if as_json => problem(&failed),
            (Err(failed), _) => failed.into_response(),
            (Ok(()), Record::RemovalBackup) if as_json => {
                answered(operator.removal_overview(name).await)
            }
            (Ok(()), _) if as_json => answered(operator.contract_overview(name).await),
            (Ok(()), Record::RemovalBackup) => led_to(links.removal(name)),
            (Ok(()), _) => led_to(links.tab(name, "contract")),
        }
    }
}

fn led_to(link: String) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, link)]).into_response()
}

/// The page of all removals.
pub(super) async fn removals_page(
    State(operator): State<Operator>,
    OriginalUri(original): OriginalUri,
    inner: Uri,
) -> Result<Html<String>, Failed> {
    let links = Links::new(original.path(), inner.path());
    Ok(Html(dropping::removals(&operator.removals().await?, &links).into_string()))
}

/// The page of one removal.
pub(super) async fn removal_page(
    State(operator): State<Operator>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    OriginalUri(original): OriginalUri,
    inner: Uri,
) -> Result<Html<String>, Failed> {
    check_name(&name)?;
    let overview = match operator.removal_overview(&name).await {
        Err(error) if error.kind() == crate::error::ErrorKind::UnknownMigration => {
            return Err(Failed(StatusCode::NOT_FOUND, NOWHERE.to_owned()));
        }
        found => found?,
    };
    let links = Links::new(original.path(), inner.path());
    Ok(Html(dropping::removal(&overview, &links, caller.may_operate()).into_string()))
}
