//! What an instance says of the migration, for operators: kept in both databases, and published as metrics.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::clock;
use crate::control::exact::{ExactFailure, ExactState, ExactVerification};
use crate::error::Error;
use crate::exact::core::{Core, Rows};
use crate::exact::options::BACKLOG_COUNTED;
use crate::exact::verify::ExactReport;
use crate::exact::{bound, metrics};
use crate::moment;
use crate::stages::exact::{side_of_record, stage_of};
use crate::stages::position::Epoch;
use crate::stages::stage::Side;

/// How often an instance looks, and how often it says so though nothing has changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_LEAST: Duration = Duration::from_millis(100);
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// Keys that are named.
const FAILURES_NAMED: usize = 100;

/// Until the handle is closed. In a task of its own: a mirror that refuses everything keeps the relay busy for long.
pub(crate) async fn run(core: Arc<Core>) {
    let pause = core.options.poll.clamp(LOOK_LEAST, LOOK_EVERY);
    loop {
        tokio::select! {
            biased;
            () = core.closing.cancelled() => return,
            () = clock::sleep(pause) => {}
        }
        if core.death.is_dead() {
            return;
        }
        let looked = tokio::select! {
            biased;
            () = core.closing.cancelled() => return,
            looked = round(&core) => looked,
        };
        if let Err(error) = looked {
            tracing::debug!(migration = &*core.name, %error, "nothing could be reported");
            tokio::select! {
                biased;
                () = core.closing.cancelled() => return,
                () = failed(&core, &error) => {}
            }
        }
    }
}

/// Looks and says so, if this instance is the one that applies the outbox.
async fn round(core: &Core) -> Result<(), Error> {
    let rows = core.rows().await?;
    let primary = side_of_record(rows.old, rows.new);
    if !core.port(primary).lease(&core.instance, core.options.relay_lease()).await? {
        return Ok(());
    }
    let state = look(core, &rows, primary).await?;
    metrics::state(&core.name, &state);
    bound::judge(core, primary, state.backlog).await?;
    write(core, state).await
}

fn is_over(now: u64, since: u64, pause: Duration) -> bool {
    Duration::from_nanos(now.saturating_sub(since)) >= pause
}

async fn look(core: &Core, rows: &Rows, primary: Side) -> Result<ExactState, Error> {
    let (port, row) = (core.port(primary), rows.of(primary));
    let failures = port.failures(FAILURES_NAMED).await?.into_iter();
    let failures =
        failures.map(|failed| ExactFailure::new(failed.key.0, failed.attempts, failed.error));
    Ok(ExactState {
        stage: stage_of(rows.old, rows.new),
        primary,
        open: row.primary && row.open,
        copied: row.copied,
        epoch: Epoch(rows.old.epoch.max(rows.new.epoch)),
        backlog: port.left(BACKLOG_COUNTED).await?,
        lag: Duration::from_micros(port.lag().await?),
        failures: failures.collect(),
        copied_keys: port.copy_place().await?.keys,
        instance: core.instance.clone(),
        error: None,
    })
}

/// In both databases, so that an operator needs to reach one of them alone.
async fn write(core: &Core, state: ExactState) -> Result<(), Error> {
    let now = core.clock.now();
    let is_news = {
        let reported = core.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let same = reported.state.as_ref().is_some_and(|before| is_same(before, &state));
        !same || reported.wrote.is_none_or(|wrote| is_over(now, wrote, REPORT_EVERY))
    };
    if is_news {
        let text = as_json(&state);
        let (old, new) = tokio::join!(core.old.report(&text), core.new.report(&text));
        let mut reported = core.reported.lock().unwrap_or_else(PoisonError::into_inner);
        reported.wrote = Some(now);
        reported.state = Some(state);
        old?;
        new?;
    }
    Ok(())
}

/// Whether nothing but time has passed.
fn is_same(before: &ExactState, now: &ExactState) -> bool {
    let aside = |state: &ExactState| ExactState { lag: Duration::ZERO, ..state.clone() };
    aside(before) == aside(now)
}

fn as_json<T: serde::Serialize>(value: &T) -> String {
    // Plain fields always have a form in JSON.
    serde_json::to_string(value).unwrap_or_default()
}

/// Says in the databases that can be reached why a round failed.
async fn failed(core: &Core, error: &Error) {
    let state = {
        let reported = core.reported.lock().unwrap_or_else(PoisonError::into_inner);
        reported.state.clone()
    };
    let Some(mut state) = state else { return };
    state.error = Some(error.to_string());
    if let Ok(backlog) = core.port(state.primary).left(BACKLOG_COUNTED).await {
        state.backlog = backlog;
    }
    if let Ok(lag) = core.port(state.primary).lag().await {
        state.lag = Duration::from_micros(lag);
    }
    metrics::state(&core.name, &state);
    if write(core, state).await.is_err() {
        tracing::debug!(migration = &*core.name, "a database could not be told of it");
    }
}

/// Keeps what a verification found.
pub(crate) async fn verified(
    core: &Core,
    found: &ExactReport,
    repaired: bool,
) -> Result<(), Error> {
    let at = moment::from_micros(core.old.now_us().await?);
    let ExactReport { compared, different, behind, .. } = *found;
    let found = ExactVerification { at, compared, different, behind, repaired };
    let text = as_json(&found);
    core.old.verified(&text).await?;
    core.new.verified(&text).await
}
