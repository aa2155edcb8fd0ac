//! Closing calls for a planned downtime, and opening them.

use std::time::Duration;

use crate::clock;
use crate::control::commands::{RecordedChange, Taken};
use crate::control::maintenance::MaintenanceChange;
use crate::error::{Closed, Error};
use crate::operator::execution::{CommandOutcome, Execution, POLL};
use crate::rollout::command::RolloutCommandKind as Recorded;
use crate::stages::facts::{Facts, InstanceReport};

/// How long a command waits for the instances to acknowledge it.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(5);

/// Closes or opens, and waits until every live instance has heard of it.
pub(super) async fn run(
    execution: &Execution<'_>,
    change: MaintenanceChange,
) -> Result<CommandOutcome, Error> {
    let (control, name, options) = (execution.control, execution.name, execution.options);
    let before = control.facts(name).await?;
    execution.expect(&before)?;
    if options.dry_run {
        let text = format!("would {}", what(change));
        let way_back = way_back(change);
        return Ok(CommandOutcome { way_back, ..CommandOutcome::of(name, &before, true, text) });
    }
    let audit = match change {
        MaintenanceChange::Close(closed, lasts) => {
            let lasts = humantime::format_duration(lasts);
            options.audit(Recorded::Close).about(format!("{closed}, for {lasts}"))
        }
        MaintenanceChange::Open => options.audit(Recorded::Open),
    };
    let taken =
        control.command(name, &RecordedChange::Maintain(change), options.expected, &audit).await?;
    let (after, late) = acknowledged(execution, change).await?;
    let text = match (taken, change) {
        (Taken::Done, MaintenanceChange::Open) => "all calls are open".to_owned(),
        (_, MaintenanceChange::Open) => {
            "all calls were open already; nothing was changed".to_owned()
        }
        (Taken::Done, MaintenanceChange::Close(..)) => said(&after),
        _ => format!("{}; it was so already, and nothing was changed", said(&after)),
    };
    let text = match late.is_empty() {
        true => text,
        false => format!("{text}; not acknowledged yet by {}: {}", late.join(", "), risk(change)),
    };
    let text = match in_flight(&after, change) {
        0 => text,
        writes => format!(
            "{text}; {writes} writes to two stores are still in flight, of {}: they go on to their mirrors",
            after.converging.instances.join(", ")
        ),
    };
    let way_back = way_back(change);
    Ok(CommandOutcome { way_back, ..CommandOutcome::of(name, &after, false, text) })
}

/// Writes in converging mode that began before the fence was taken: they hold none.
fn in_flight(facts: &Facts, change: MaintenanceChange) -> u64 {
    match change {
        MaintenanceChange::Close(..) => facts.converging.writes,
        MaintenanceChange::Open => 0,
    }
}

fn said(facts: &Facts) -> String {
    facts
        .operated
        .maintenance
        .as_ref()
        .map_or_else(|| "all calls are open".to_owned(), ToString::to_string)
}

/// What an instance that has not heard of it does.
fn risk(change: MaintenanceChange) -> &'static str {
    match change {
        MaintenanceChange::Close(Closed::Calls, _) => {
            "its next write is refused, but it answers reads until it acknowledges, or its lease ends"
        }
        MaintenanceChange::Close(..) => "its next write is refused all the same",
        MaintenanceChange::Open => "it refuses calls until it hears of it",
    }
}

fn way_back(change: MaintenanceChange) -> Option<String> {
    match change {
        MaintenanceChange::Close(..) => Some("`open` opens all calls again".to_owned()),
        MaintenanceChange::Open => None,
    }
}

/// For a dry run.
fn what(change: MaintenanceChange) -> String {
    match change {
        MaintenanceChange::Close(closed, lasts) => {
            format!("close {} for about {}", closed.phrase(), humantime::format_duration(lasts))
        }
        MaintenanceChange::Open => "open all calls".to_owned(),
    }
}

/// Waits for the instances, and for writes in flight that the fence does not hold. Answers with those that are late.
async fn acknowledged(
    execution: &Execution<'_>,
    change: MaintenanceChange,
) -> Result<(Facts, Vec<String>), Error> {
    // A write is stopped by the fence; a read that is under way is waited for.
    let reads = matches!(change, MaintenanceChange::Close(Closed::Calls, _));
    for tries in 0.. {
        let facts = execution.control.facts(execution.name).await?;
        let epoch = facts.position.epoch;
        let is_late =
            |one: &&InstanceReport| if reads { one.drained < epoch } else { one.seen < epoch };
        let late: Vec<String> = facts.instances.iter().filter(is_late).map(named).collect();
        let is_quiet = late.is_empty() && in_flight(&facts, change) == 0;
        if is_quiet || tries >= ACKNOWLEDGED_WITHIN.as_millis() / POLL.as_millis() {
            return Ok((facts, late));
        }
        clock::sleep(POLL).await;
    }
    unreachable!("the loop ends by its count")
}

fn named(instance: &InstanceReport) -> String {
    format!("instance {} (release {})", instance.id, instance.release)
}
