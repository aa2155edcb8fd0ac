//! Commands to backfills: what each changes, and how it is recorded.

use crate::backfill::decide::FAILURES_MAX;
use crate::control::BackfillCommand;
use crate::control::commands::RecordedChange;
use crate::control::settings::{BackfillSetting, described};
use crate::control::tasks::NewTask;
use crate::error::{Error, ErrorKind};
use crate::operator::command::Command;
use crate::operator::execution::{CommandOptions, Execution, Plan};
use crate::rollout::command::RolloutCommandKind as Recorded;
use crate::stages::stage::Side;

/// Whether what is set is within its bounds, also where a program gives it.
pub(super) fn check(command: &Command) -> Result<(), Error> {
    let set = match command {
        Command::BackfillBatchTime(_, time) => {
            let time = time.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
            &[(BackfillSetting::BatchTime, time)][..]
        }
        Command::BackfillWorkers(_, workers) => {
            &[(BackfillSetting::Workers, workers.map(u64::from))][..]
        }
        Command::BackfillThrottle(_, limits) => limits,
        _ => &[],
    };
    let wrong = |setting: BackfillSetting, problem: String| {
        let message = format!("the field `{}` {problem}", setting.as_str());
        Error::new(ErrorKind::InvalidInput, message)
    };
    set.iter().try_for_each(|(setting, value)| {
        setting.check(*value).map_err(|problem| wrong(*setting, problem))
    })
}

pub(super) fn plan(execution: &Execution<'_>, command: &Command) -> Plan {
    let change = |side: Side, command: BackfillCommand, kind, done, nothing| Plan {
        change: RecordedChange::Backfill(side, command),
        audit: execution.options.audit(kind).about(format!("to {side}")),
        holds: Some((side, command)),
        done,
        already: done,
        nothing,
    };
    match command {
        Command::BackfillPause(side) => change(
            *side,
            BackfillCommand::Pause,
            Recorded::BackfillPause,
            "the backfill is paused until it is resumed",
            "the backfill toward that side does not run; start it, or see whether it is complete",
        ),
        Command::BackfillResume(side) => change(
            *side,
            BackfillCommand::GoOn,
            Recorded::BackfillResume,
            "the backfill may go on; where nobody runs it, start it",
            "the backfill toward that side is not paused, and nobody runs it; start it",
        ),
        Command::BackfillCancel(side) => change(
            *side,
            BackfillCommand::Cancel,
            Recorded::BackfillCancel,
            "the backfill is cancelled; what is copied stays copied",
            "the backfill toward that side is not under way; there is nothing to end",
        ),
        Command::BackfillRate(side, rate) => change(
            *side,
            BackfillCommand::Rate(*rate),
            Recorded::BackfillRate,
            "the backfill has its new rate",
            "the backfill toward that side is not under way; start it with the rate",
        ),
        other => tuning(execution, other).unwrap_or_else(|| start(execution, other)),
    }
}

/// Where the command sets something of a backfill.
fn tuning(execution: &Execution<'_>, command: &Command) -> Option<Plan> {
    let (side, set, kind) = match command {
        Command::BackfillBatchTime(side, time) => {
            let time = time.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
            (side, vec![(BackfillSetting::BatchTime, time)], Recorded::BackfillBatchTime)
        }
        Command::BackfillWorkers(side, workers) => {
            let set = vec![(BackfillSetting::Workers, workers.map(u64::from))];
            (side, set, Recorded::BackfillWorkers)
        }
        Command::BackfillThrottle(side, limits) => {
            (side, limits.clone(), Recorded::BackfillThrottle)
        }
        _ => return None,
    };
    Some(tuned(execution, *side, set, kind))
}

fn start(execution: &Execution<'_>, command: &Command) -> Plan {
    let (side, workers, rate) = match command {
        Command::BackfillStart { side, workers, rate } => (*side, *workers, *rate),
        _ => (Side::New, 1, None),
    };
    let CommandOptions { by, because, .. } = execution.options;
    let task = NewTask {
        side,
        workers,
        rate,
        stop_after_failures: FAILURES_MAX,
        actor: by.clone(),
        reason: because.clone(),
    };
    Plan {
        audit: task.audit(),
        change: RecordedChange::StartBackfill(task),
        holds: None,
        done: "started; an instance takes it within about 5 s, and `status` says what it waits for",
        already: "the backfill was started so already, and has not ended",
        nothing: "the backfill was started already and has not ended; change its rate, or cancel it first",
    }
}

/// What is set goes before what the service says, until the backfill is complete.
fn tuned(
    execution: &Execution<'_>,
    side: Side,
    set: Vec<(BackfillSetting, Option<u64>)>,
    kind: Recorded,
) -> Plan {
    let about = format!("to {side}: {}", described(&set));
    Plan {
        change: RecordedChange::Tune(side, set),
        audit: execution.options.audit(kind).about(about),
        holds: None,
        done: "set; its workers go by that from their next page on, and `status` shows it",
        already: "it was so already; nothing was changed",
        nothing: "the backfill toward that side is not under way; start it first",
    }
}
