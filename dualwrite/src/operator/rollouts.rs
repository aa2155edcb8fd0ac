//! Rollouts by somebody who is no instance: starting one, and giving it commands.

use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::migration::rollout as library;
use crate::operator::execution::{CommandOptions, CommandOutcome, Execution, POLL};
use crate::rollout::command::RolloutCommandKind as Recorded;
use crate::rollout::plan::RolloutPlan;
use crate::stages::facts::Facts;

/// How often a command is given to a rollout that changes at the same moment.
const TRIES_MAX: u32 = 10;

/// Stores a plan, for whichever instance leads to follow. The same plan once more changes nothing.
pub(super) async fn start(
    execution: &Execution<'_>,
    plan: &RolloutPlan,
) -> Result<CommandOutcome, Error> {
    let (control, name, options) = (execution.control, execution.name, execution.options);
    let facts = control.facts(name).await?;
    execution.expect(&facts)?;
    plan.check().map_err(|error| error.of(name))?;
    let CommandOptions { by, because, .. } = options;
    let way_back = Some("`rollout-abort` ends it; the migration stays where it is then".to_owned());
    let outcome = |dry, text: String| CommandOutcome {
        way_back,
        ..CommandOutcome::of(name, &facts, dry, text)
    };
    if follows(execution, plan).await? {
        let text = "this plan is followed already; nothing was changed".to_owned();
        return Ok(outcome(options.dry_run, text));
    }
    check_copier(plan, &facts).map_err(|error| error.of(name))?;
    let new = library::planned(name, plan, facts.position, by, because)?;
    let steps = plan.len();
    let next = plan.steps.get(new.step);
    let next = next.map_or_else(
        || "no step is left".to_owned(),
        |step| format!("step {} of {steps} is next: {step}", new.step + 1),
    );
    if options.dry_run {
        if control.plan(name).await?.is_some_and(|row| !row.state.is_over()) {
            return Err(crate::control::plans::under_way(name));
        }
        return Ok(outcome(true, format!("would start the rollout; {next}")));
    }
    match control.start_plan(name, &new).await {
        // Of two that start the same plan at once, one is second.
        Err(error) if error.kind() == ErrorKind::Conflict && follows(execution, plan).await? => {
            Ok(outcome(false, "this plan is followed already; nothing was changed".to_owned()))
        }
        started => started.map(|()| outcome(false, format!("the rollout is started; {next}"))),
    }
}

/// Whether this plan is under way.
async fn follows(execution: &Execution<'_>, plan: &RolloutPlan) -> Result<bool, Error> {
    let row = execution.control.plan(execution.name).await?;
    let row = row.filter(|row| !row.state.is_over());
    Ok(row.and_then(|row| row.plan().ok()).is_some_and(|found| found == *plan))
}

/// What the plan has done by instances needs one that can.
fn check_copier(plan: &RolloutPlan, facts: &Facts) -> Result<(), Error> {
    let terms = facts.instances.iter().filter_map(|one| one.terms.as_ref());
    if !(plan.backfill || plan.verify) || terms.into_iter().any(|terms| terms.copies) {
        return Ok(());
    }
    let message = match facts.instances.is_empty() {
        true => {
            "the plan has a backfill or a verification, and no instance is alive that could run it; start the service \
             first"
        }
        false => {
            "the plan has a backfill or a verification, and none of the live instances has a copy function for this \
             migration; register it with `backfill(…)`, or leave `backfill` and `verify` out of the plan"
        }
    };
    Err(Error::new(ErrorKind::Unsupported, message))
}

/// Gives a command to the rollout that is under way.
pub(super) async fn give(
    execution: &Execution<'_>,
    facts: &Facts,
    kind: Recorded,
) -> Result<String, Error> {
    let (control, name) = (execution.control, execution.name);
    let CommandOptions { by, because, .. } = execution.options;
    let mut position = facts.position;
    for tries in 1.. {
        match library::give(control, name, kind, by, because, Some(position)).await {
            // The rollout has just taken a step: what is asked for holds for the next one.
            Err(error) if error.kind() == ErrorKind::Conflict && tries < TRIES_MAX => {
                clock::sleep(POLL).await;
                let facts = control.facts(name).await?;
                execution.expect(&facts)?;
                position = facts.position;
            }
            given => {
                given?;
                break;
            }
        }
    }
    let text = match kind {
        Recorded::Pause => "the rollout takes no step until it is resumed",
        Recorded::Resume => "the rollout goes on",
        Recorded::SkipSoak => "the present step need not last",
        _ => "the rollout has ended; the migration stays where it is",
    };
    Ok(text.to_owned())
}
