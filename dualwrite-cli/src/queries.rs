//! Queries of one migration, and waiting for it.

use std::fmt::Write as _;
use std::io::Write;
use std::time::{Duration, Instant};

use dualwrite::{
    Move,
    operator::{
        AuditEvent, InstanceReport, Job, JobKind, MigrationOverview, Operator, TrafficReport,
        TrafficSide,
    },
    preflight::{Hazard, PreflightReport},
};
use serde::Serialize;

use crate::arguments::{Output, Query, Until};
use crate::failure::Exit;
use crate::show::moment;
use crate::terminal::{self, Bar};

/// How often is looked while one waits.
const POLL: Duration = Duration::from_secs(1);

/// Answers a query.
pub(crate) async fn answer(
    operator: &Operator,
    query: Query,
    output: Output,
) -> Result<String, Exit> {
    match query {
        Query::List => {
            let found = operator.migrations().await?;
            shown(output, &found, |one| {
                let needs = one.attention().map_or(String::new(), |why| format!(", needs: {why}"));
                format!("{}  {}{needs}", one.name, one.position)
            })
        }
        Query::Readiness { name, to } => {
            let found = operator.readiness(&name, to.map(Move::Advance)).await?;
            if found.is_empty() && output == Output::Text {
                return Ok("nothing stands against it\n".to_owned());
            }
            shown(output, &found, ToString::to_string)
        }
        Query::Events { name } => shown(output, &operator.events(&name).await?, event),
        Query::Audit { name } => shown(output, &operator.audit(&name).await?, |order| {
            let (at, actor, reason) = (moment(order.at), &order.actor, &order.reason);
            let about = order.approval.as_ref().or(order.detail.as_ref());
            let about = about.map_or(String::new(), |about| format!(" {about}"));
            format!("{at}  epoch {}  {}{about}  by {actor}: {reason}", order.epoch, order.kind)
        }),
        Query::Instances { name } => shown(output, &operator.instances(&name).await?, instance),
        Query::DeadLetters { name } => {
            shown(output, &operator.dead_letters(&name).await?, |letter| {
                let waived = if letter.waiver.is_some() { ", waived" } else { "" };
                let (key, side, tries) = (&letter.key, letter.side, letter.attempts);
                format!("{key}  to {side}, {tries} attempts{waived}: {}", letter.error)
            })
        }
        Query::Mismatches { name } => shown(output, &operator.mismatches(&name).await?, |one| {
            let key = one.key.as_deref().unwrap_or("no key");
            format!("{}  {}  {key}", one.method, one.field)
        }),
        Query::Preflight { name } => preflight(output, &operator.preflight(&name).await?),
        Query::Hazards { name } => shown(output, &operator.hazards(&name).await?, hazard),
        Query::Jobs { name } => shown(output, &operator.jobs(&name).await?, job),
        Query::Traffic { name } => traffic(output, &operator.traffic(&name).await?),
        // It has a bar, and is answered where there is a terminal.
        Query::Wait { .. } => Ok(String::new()),
    }
}

fn event(event: &AuditEvent) -> String {
    let from = format!("{} {}", event.from_stage, event.from_ramp);
    let to = format!("{} {}", event.to_stage, event.to_ramp);
    let (at, actor, reason) = (moment(event.at), &event.actor, &event.reason);
    format!("{at}  epoch {}  {from} -> {to}  by {actor}: {reason}", event.epoch)
}

fn instance(one: &InstanceReport) -> String {
    let killed = one.killed_by.as_ref().map_or(String::new(), |by| format!(", killed {by}"));
    let mirror = one.mirror.as_ref().map_or(String::new(), |note| format!("; {note}"));
    let (id, release) = (&one.id, &one.release);
    format!("{id}  release {release}, seen {}, drained {}{killed}{mirror}", one.seen, one.drained)
}

fn hazard(hazard: &Hazard) -> String {
    let stopped = hazard.stopped.as_ref();
    let stopped = stopped.map_or(String::new(), |by| format!(", stopped by {}", by.actor));
    format!("{} ({}{stopped}): {}", hazard.name, hazard.kind, hazard.detail)
}

fn job(job: &Job) -> String {
    let said = job.answer.as_ref().or(job.waiting.as_ref());
    let answer = said.map_or(String::new(), |said| format!(": {said}"));
    format!("{}  {}, by {}{answer}", job.kind, job.state(), job.actor)
}

fn as_json(found: &(impl Serialize + ?Sized)) -> Result<String, Exit> {
    let text = serde_json::to_string_pretty(found);
    let failed = |error: serde_json::Error| Exit::other(format!("this cannot be JSON: {error}"));
    Ok(format!("{}\n", text.map_err(failed)?))
}

fn shown<T: Serialize>(
    output: Output,
    found: &[T],
    line: impl Fn(&T) -> String,
) -> Result<String, Exit> {
    if output == Output::Json {
        return as_json(found);
    }
    let mut text = String::new();
    for one in found {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", dualwrite::printable(&line(one)));
    }
    Ok(text)
}

fn preflight(output: Output, report: &Option<PreflightReport>) -> Result<String, Exit> {
    if output == Output::Json {
        return as_json(report);
    }
    let Some(report) = report else {
        return Ok("no instance with a copy function has read the catalogue yet\n".to_owned());
    };
    let mut text = format!("read by {} at {}\n", report.instance, moment(report.at));
    if !report.complete {
        text.push_str("a table was not there yet\n");
    }
    if report.findings.is_empty() {
        text.push_str("nothing was found\n");
    }
    for finding in &report.findings {
        let _ = writeln!(text, "{}", dualwrite::printable(&finding.to_string()));
    }
    if report.left_out > 0 {
        let _ = writeln!(text, "{} findings are left out", report.left_out);
    }
    Ok(text)
}

fn traffic(output: Output, report: &TrafficReport) -> Result<String, Exit> {
    if output == Output::Json {
        return as_json(report);
    }
    let mut text = String::new();
    for (side, TrafficSide { hour, .. }) in [("old", &report.old), ("new", &report.new)] {
        let ms = |micros: f64| format!("{:.1} ms", micros / 1_000.0);
        let (p50, p95, p99) = (ms(hour.p50_us), ms(hour.p95_us), ms(hour.p99_us));
        let (calls, percent) = (hour.calls, hour.errors_percent());
        let _ = writeln!(
            text,
            "{side}  {calls} calls in the last hour, {percent:.2} % failed, p50 {p50}, p95 {p95}, p99 {p99}"
        );
    }
    Ok(text)
}

/// Waits, and shows on a terminal how far it is.
pub(crate) async fn wait<W: Write>(
    operator: &Operator,
    name: &str,
    until: &Until,
    timeout: Duration,
    bar: &mut Bar<'_, W>,
) -> Result<String, Exit> {
    let begun = Instant::now();
    loop {
        let found = operator.migration(name).await?;
        if let Some(line) = line(&found, until) {
            bar.show(&line);
        }
        if *until == Until::Verify {
            check_verification(&found)?;
        }
        if is_reached(&found, until) {
            return Ok(format!("{name}: {}\n", found.position));
        }
        if begun.elapsed() >= timeout {
            let text = format!("`{name}` has not come there in time; it is {}", found.position);
            return Err(Exit::timed_out(text));
        }
        tokio::time::sleep(POLL.min(timeout)).await;
    }
}

fn line(found: &MigrationOverview, until: &Until) -> Option<String> {
    let backfill = found.backfill.as_ref();
    match until {
        Until::Backfill => backfill.map(terminal::of_backfill),
        Until::Verify => found.verification.as_ref().map(|report| {
            terminal::of_verification(
                report.compared,
                backfill.map_or(0, |backfill| backfill.total),
            )
        }),
        Until::Stage(_) => None,
    }
}

fn verification(found: &MigrationOverview) -> Option<&Job> {
    found.jobs.iter().find(|job| job.kind == JobKind::Verify)
}

/// One that has failed, or was never started, is not waited for.
fn check_verification(found: &MigrationOverview) -> Result<(), Exit> {
    match verification(found) {
        None => Err(Exit::refused("no verification was started; give the command `verify` first")),
        Some(job) if job.failed => {
            Err(Exit::other(job.answer.clone().unwrap_or_else(|| "it failed".to_owned())))
        }
        Some(_) => Ok(()),
    }
}

fn is_reached(found: &MigrationOverview, until: &Until) -> bool {
    let stage = found.position.split([' ', ',']).next().unwrap_or_default();
    match until {
        Until::Stage(wanted) => stage == wanted.as_str(),
        Until::Backfill => found.backfill.as_ref().is_some_and(|backfill| backfill.complete),
        Until::Verify => verification(found).is_some_and(|job| job.done),
    }
}
