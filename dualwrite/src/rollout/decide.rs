//! What a rollout does next. Pure: everything it looks at is given.

use std::time::Duration;

use crate::gate::{Blocker, Gate};
use crate::rollout::health::Health;
use crate::rollout::plan::{RolloutPlan, RolloutStep};
use crate::rollout::state::{PlanRow, RolloutState};
use crate::stages::audit::AuditEvent;
use crate::stages::moves::Move;
use crate::stages::position::{Percent, Position};
use crate::stages::stage::Stage;

/// What the leader knows.
#[derive(Clone, Debug)]
pub(crate) struct Known<'k> {
    pub(crate) plan: &'k RolloutPlan,
    pub(crate) row: &'k PlanRow,
    pub(crate) position: Position,
    /// The last change of the position.
    pub(crate) last: Option<&'k AuditEvent>,
    /// Approvals that were given since the present stage was entered.
    pub(crate) approvals: &'k [String],
    pub(crate) backfilled: bool,
    pub(crate) verified: bool,
    pub(crate) health: Health,
    /// What stands before the next step's move.
    pub(crate) blockers: &'k [Blocker],
    pub(crate) work: Working,
}

/// What the leader has under way for the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Working {
    Idle,
    Busy(Work),
    Failed(String),
}

/// What takes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Backfill,
    Verify,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is not running.
    Rest,
    /// Nothing yet; why, in plain words that stay the same while the reason does.
    Wait(String),
    /// This must be done before the next step.
    Work(Work),
    /// The next step.
    Move {
        requested: Move,
        step: usize,
    },
    /// Somebody has to look at it.
    Hold(String),
    Done,
}

/// The move of the next step, `None` after the last one.
///
/// # Errors
/// In words, where the next step is not one move away from the position.
pub(crate) fn next_move(
    plan: &RolloutPlan,
    step: usize,
    position: Position,
) -> Result<Option<Move>, String> {
    let Some(next) = plan.steps.get(step) else { return Ok(None) };
    let Some((stage, ramp)) = next.target() else {
        return Err(format!("step {} says no stage", step + 1));
    };
    let ahead = (stage, ramp) > (position.stage, position.ramp);
    if ahead && stage == position.stage {
        return Ok(Some(Move::Ramp(ramp)));
    }
    if ahead && position.stage.next() == Some(stage) && ramp == Percent::ZERO {
        return Ok(Some(Move::Advance(stage)));
    }
    Err(format!(
        "step {} ({next}) is not one move from where the migration stands: {position}",
        step + 1
    ))
}

/// Decides.
pub(crate) fn decide(known: &Known<'_>) -> Decision {
    let Known { plan, row, position, .. } = known;
    if row.state != RolloutState::Running {
        return Decision::Rest;
    }
    if row.epoch != position.epoch {
        return Decision::Hold(changed(known.last, *position));
    }
    let here = row.step.checked_sub(1).and_then(|index| plan.steps.get(index));
    let requested = match next_move(plan, row.step, *position) {
        Ok(requested) => requested,
        Err(problem) => return Decision::Hold(problem),
    };
    if let Working::Failed(problem) = &known.work {
        return Decision::Hold(problem.clone());
    }
    if let Some(pause) = lasts(known, here) {
        return pause;
    }
    let (Some(requested), Some(next)) = (requested, plan.steps.get(row.step)) else {
        return Decision::Done;
    };
    if let Some(pause) = asks(known, next) {
        return pause;
    }
    match known.blockers {
        [] => Decision::Move { requested, step: row.step + 1 },
        blockers => {
            let reasons: Vec<String> = blockers.iter().map(ToString::to_string).collect();
            Decision::Wait(reasons.join("; "))
        }
    }
}

fn changed(last: Option<&AuditEvent>, position: Position) -> String {
    match last {
        Some(event) => format!(
            "{} moved the migration to {position}: {}; `resume` goes on from there",
            event.actor,
            if event.reason.is_empty() { "no reason was given" } else { &event.reason }
        ),
        None => format!("somebody moved the migration to {position}; `resume` goes on from there"),
    }
}

/// What the present step asks before it is left.
fn lasts(known: &Known<'_>, here: Option<&RolloutStep>) -> Option<Decision> {
    let row = known.row;
    let step = here?;
    if !step.ignores_health && known.health == Health::Breached {
        return Some(Decision::Hold(format!(
            "the health at step {} ({step}) is breached; look into it, then `resume`, or `rollback`",
            row.step
        )));
    }
    // While calls are closed, time says nothing of them.
    let is_open = !known.position.closed.is_closed();
    if is_open && row.at_step < step.soaks() && !row.soak_skipped {
        return Some(Decision::Wait(format!(
            "step {} ({step}) lasts {:?}",
            row.step,
            Duration::from_millis(step.soak_ms)
        )));
    }
    if !step.ignores_health && known.health == Health::NotEnoughData {
        return Some(Decision::Wait(format!(
            "too little has happened at step {} ({step}) to tell its health",
            row.step
        )));
    }
    None
}

/// What the next step asks before it is taken.
fn asks(known: &Known<'_>, next: &RolloutStep) -> Option<Decision> {
    let Known { plan, row, .. } = known;
    let number = row.step + 1;
    if let Some(work) = works(known, next) {
        return Some(work);
    }
    if let Some(name) = next.approval.as_ref().filter(|name| !known.approvals.contains(name)) {
        return Some(Decision::Wait(format!(
            "step {number} ({next}) needs the approval `{name}`: `migration.approve(…)`"
        )));
    }
    match plan.hours_of(next) {
        Some(hours) if !hours.contain(row.hour) => {
            Some(Decision::Wait(format!("step {number} ({next}) is taken from {hours}")))
        }
        _ => None,
    }
}

/// What the plan does itself before a step. Before `Shadow`, for there it would be compared; and wherever
/// a gate asks for it.
fn works(known: &Known<'_>, next: &RolloutStep) -> Option<Decision> {
    let Known { plan, position, .. } = known;
    if !position.stage.writes_both() {
        return None;
    }
    let compared = next.target().is_some_and(|(stage, _)| stage >= Stage::Shadow);
    let closed = |gate| known.blockers.iter().any(|blocker| blocker.gate == gate);
    // Before all is drained it would not begin; and nobody begins anything under a kill switch.
    let open = !closed(Gate::Drained) && !closed(Gate::Killed);
    let backfill = plan.backfill && !known.backfilled && (compared || closed(Gate::Backfilled));
    let verify = plan.verify && !known.verified && (compared || closed(Gate::Verified));
    let wanted = match (backfill, verify) {
        (true, _) => Work::Backfill,
        (false, true) => Work::Verify,
        (false, false) => return None,
    };
    if let Working::Busy(work) = known.work {
        return Some(Decision::Wait(match work {
            Work::Backfill => "the backfill runs".to_owned(),
            Work::Verify => "the verification runs".to_owned(),
        }));
    }
    // Without a backfill by the plan, a verification waits for the operator's.
    if wanted == Work::Verify && !known.backfilled {
        return None;
    }
    open.then_some(Decision::Work(wanted))
}

#[cfg(test)]
mod tests;
