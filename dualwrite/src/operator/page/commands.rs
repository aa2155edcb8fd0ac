//! Commands and queries of one migration, by HTTP: the same list that the command-line tool has.

use std::collections::HashMap;

use axum::extract::{FromRef as _, OriginalUri, Path, Query, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, LOCATION};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;

use crate::error::Error;
use crate::operator::Operator;
use crate::operator::command::Command;
use crate::operator::execution::{CommandOptions, CommandOutcome};
use crate::operator::page::access::Caller;
use crate::operator::page::fields::Fields;
use crate::operator::page::links::Links;
use crate::operator::page::queries::QUERIES;
use crate::operator::page::served::Served;
use crate::operator::page::{Failed, check_name, confirm};
use crate::operator::specs::COMMANDS;
use crate::stages::position::Epoch;

/// The list.
pub(super) async fn list() -> Response {
    Json(COMMANDS.as_slice()).into_response()
}

/// Carries one out.
pub(super) async fn execute(
    State(served): State<Served>,
    Extension(caller): Extension<Caller>,
    Path((name, command)): Path<(String, String)>,
    OriginalUri(original): OriginalUri,
    inner: Uri,
    headers: HeaderMap,
    fields: Result<Fields, Failed>,
) -> Response {
    let as_json = wants_json(&headers);
    let done = match fields {
        Ok(fields) => {
            let operator = Operator::from_ref(&served);
            let done = run(&operator, caller.actor(), &name, &command, &fields).await;
            served.forget(); // also where it failed halfway
            done.map(|outcome| (outcome, fields))
        }
        Err(failed) => Err(failed),
    };
    let links = Links::new(original.path(), inner.path());
    match done {
        Ok((outcome, _)) if as_json => Json(outcome).into_response(),
        Ok((outcome, fields)) if outcome.dry_run => shown(&command, &outcome, &fields, &links),
        Ok(_) => (StatusCode::SEE_OTHER, [(LOCATION, links.view(&name))]).into_response(),
        Err(failed) if as_json => problem(&failed),
        Err(failed) => failed.into_response(),
    }
}

async fn run(
    operator: &Operator,
    actor: &str,
    name: &str,
    command: &str,
    fields: &Fields,
) -> Result<CommandOutcome, Failed> {
    check_name(name)?;
    if !COMMANDS.iter().any(|spec| spec.name == command) {
        let message = "there is no such command; `commands` lists those there are";
        return Err(Failed(StatusCode::NOT_FOUND, message.to_owned()));
    }
    let command = Command::parse(command, |field| fields.get(field).cloned())?;
    let because = said_by(fields, actor)?;
    let text = |field: &str| text(fields, field);
    let mut options = CommandOptions::new(actor, because);
    options = match &*text("dry-run") {
        "" | "false" => options,
        "true" | "on" => options.dry_run(true),
        _ => return Err(bad("dry-run", "must be `true` or `false`")),
    };
    if !text("expect-epoch").is_empty() {
        let epoch = text("expect-epoch").parse();
        let epoch = epoch.map_err(|_| bad("expect-epoch", "must be the number of an epoch"))?;
        options = options.expecting(Epoch(epoch));
    }
    Ok(operator.command(name, &command, &options).await?)
}

fn text(fields: &Fields, field: &str) -> String {
    fields.get(field).map_or("", |text| text.trim()).to_owned()
}

fn bad(field: &str, what: &str) -> Failed {
    Failed(StatusCode::BAD_REQUEST, format!("the field `{field}` {what}"))
}

/// The reason, which whoever is logged in gives, and nobody else.
pub(super) fn said_by(fields: &Fields, actor: &str) -> Result<String, Failed> {
    let because = text(fields, "because");
    if because.is_empty() {
        return Err(bad("because", "is missing; the audit needs it"));
    }
    if !["", actor].contains(&&*text(fields, "by")) {
        return Err(bad("by", "names somebody else than is logged in; leave it out"));
    }
    Ok(because)
}

pub(super) fn wants_json(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let sent = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // Who sends JSON is no browser, and is not led to a page.
    let asks = accepted.contains("json") || sent.starts_with("application/json");
    asks && !accepted.contains("text/html")
}

/// What a command would do, before it is given.
pub(super) async fn confirm(
    State(operator): State<Operator>,
    Extension(caller): Extension<Caller>,
    Path((name, command)): Path<(String, String)>,
    Query(fields): Query<HashMap<String, String>>,
    OriginalUri(original): OriginalUri,
    inner: Uri,
) -> Result<Response, Failed> {
    if !caller.may_operate() {
        let message = "you may look, and not change anything; ask somebody who operates migrations";
        return Err(Failed(StatusCode::FORBIDDEN, message.to_owned()));
    }
    let fields = Fields::of(fields);
    let asked = fields.with("dry-run", "true").or("because", "asked on the page");
    let outcome = run(&operator, caller.actor(), &name, &command, &asked).await?;
    Ok(shown(&command, &outcome, &fields, &Links::new(original.path(), inner.path())))
}

fn shown(command: &str, outcome: &CommandOutcome, fields: &Fields, links: &Links) -> Response {
    let Some(spec) = COMMANDS.iter().find(|spec| spec.name == command) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    Html(confirm::confirm(spec, outcome, fields, links).into_string()).into_response()
}

/// What went wrong, as RFC 9457 has it.
#[derive(Serialize)]
struct Problem<'p> {
    status: u16,
    title: &'p str,
    detail: &'p str,
}

pub(super) fn problem(failed: &Failed) -> Response {
    let Failed(status, detail) = failed;
    let title = status.canonical_reason().unwrap_or("it failed");
    let body = Json(Problem { status: status.as_u16(), title, detail });
    let mut response = (*status, body).into_response();
    let kind = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// Answers a query of one migration.
pub(super) async fn query(
    State(operator): State<Operator>,
    Path((name, query)): Path<(String, String)>,
) -> Response {
    let answered = match check_name(&name) {
        Ok(()) => ask(&operator, &name, &query).await,
        Err(failed) => Err(failed),
    };
    answered.unwrap_or_else(|failed| problem(&failed))
}

async fn ask(operator: &Operator, name: &str, query: &str) -> Result<Response, Failed> {
    Ok(match query {
        "readiness" => json(operator.readiness(name, None).await)?,
        "events" => json(operator.events(name).await)?,
        "audit" => json(operator.audit(name).await)?,
        "instances" => json(operator.instances(name).await)?,
        "dead-letters" => json(operator.dead_letters(name).await)?,
        "mismatches" => json(operator.mismatches(name).await)?,
        "preflight" => json(operator.preflight(name).await)?,
        "hazards" => json(operator.hazards(name).await)?,
        "jobs" => json(operator.jobs(name).await)?,
        "traffic" => json(operator.traffic(name).await)?,
        "rollout" => json(operator.rollout(name).await)?,
        _ => {
            let names: Vec<&str> = QUERIES.iter().map(|query| query.name).collect();
            let message = format!("there is no such query; give one of {}", names.join(", "));
            return Err(Failed(StatusCode::NOT_FOUND, message));
        }
    })
}

fn json<T: Serialize>(answer: Result<T, Error>) -> Result<Response, Failed> {
    Ok(Json(answer?).into_response())
}
