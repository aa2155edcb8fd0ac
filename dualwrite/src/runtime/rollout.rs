//! One look at a rollout, by whichever instance leads it.
//!
//! No step is taken twice: a step is one transaction under the migration's exclusive fence. It compares the
//! position's epoch and the row's version, state and leader, and changes all of them. Of two instances
//! that both believe to lead, the one that comes second finds another epoch and another version.

use std::time::Duration;

use crate::backfill::options::BackfillOptions;
use crate::control::Change;
use crate::control::settings::WORKERS_MAX;
use crate::copier::joined::Joined;
use crate::error::{Error, ErrorKind};
use crate::guard::rules::GuardReport;
use crate::migration::announce::{Announcement, announce};
use crate::rollout::command::{NewRolloutCommand, RolloutCommandKind};
use crate::rollout::decide::{Decision, Known, Work, Working, decide, next_move};
use crate::rollout::health::Health;
use crate::rollout::pace::BackfillPace;
use crate::rollout::plan::RolloutPlan;
use crate::rollout::state::{PlanMove, PlanRow, PlanUpdate, RolloutState};
use crate::stages::moves::{Move, destination};
use crate::stages::readiness::blockers;
use crate::stages::stage::Stage;
use crate::verify::run::VerifyOptions;

/// What one look came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There is no rollout that this instance leads.
    Idle,
    Waiting,
    Moved,
    /// To be run beside, without holding up further looks: they extend the lease.
    Work(Work),
}

/// Looks, and does what follows.
///
/// # Errors
/// `Database`; the next look tries again.
pub(crate) async fn drive(
    shared: &Joined,
    lease: Duration,
    work: Working,
) -> Result<Outcome, Error> {
    let Some(row) = shared.control.plan(&shared.name).await? else {
        return Ok(Outcome::Idle);
    };
    if row.state != RolloutState::Running {
        return Ok(Outcome::Idle);
    }
    // Who does not understand the plan, or cannot do its work, leaves it to the others.
    let plan = row.plan().map_err(|error| error.of(&shared.name))?;
    if (plan.backfill || plan.verify) && shared.copier.is_none() {
        return Ok(Outcome::Idle);
    }
    if !lead(shared, &row, lease).await? {
        return Ok(Outcome::Idle);
    }
    follow(shared, &plan, &row, work).await
}

/// Takes or keeps the leader's lease.
async fn lead(shared: &Joined, row: &PlanRow, lease: Duration) -> Result<bool, Error> {
    let leads = row.leader.as_deref() == Some(&*shared.instance);
    if leads && row.led > lease / 2 {
        return Ok(true);
    }
    if row.leader.is_some() && !leads && !row.led.is_zero() {
        return Ok(false);
    }
    shared.control.lead_plan(&shared.name, &shared.instance, lease).await
}

/// Decides on what the row and the control tables say, and acts. The row may be old: what is done then
/// does nothing.
pub(crate) async fn follow(
    shared: &Joined,
    plan: &RolloutPlan,
    row: &PlanRow,
    work: Working,
) -> Result<Outcome, Error> {
    let facts = shared.control.facts(&shared.name).await?;
    let terms = shared.terms_now().await?;
    let position = facts.position;
    let requested = next_move(plan, row.step, position).ok().flatten();
    let to = requested.and_then(|requested| {
        let to = destination(position, facts.new.generation, requested).ok()?;
        Some(blockers(&facts, requested, to, &terms))
    });
    let last = match row.epoch == position.epoch {
        true => None,
        false => shared.control.events(&shared.name, 1).await?.pop(),
    };
    let known = Known {
        plan,
        row,
        position,
        last: last.as_ref(),
        approvals: &facts.stage.approvals,
        backfilled: facts.new.backfilled,
        verified: facts.new.verified == Some(facts.new.generation),
        health: health(shared).await,
        blockers: to.as_deref().unwrap_or_default(),
        work,
    };
    match decide(&known) {
        Decision::Rest => Ok(Outcome::Idle),
        Decision::Wait(reason) => report_waiting(shared, row, &reason).await,
        Decision::Work(work) => Ok(Outcome::Work(work)),
        Decision::Move { requested, step } => take(shared, plan, row, requested, step).await,
        Decision::Hold(note) => {
            end(shared, row, RolloutState::Held, RolloutCommandKind::Hold, note).await
        }
        Decision::Done => {
            let note = "every step was taken".to_owned();
            end(shared, row, RolloutState::Done, RolloutCommandKind::Done, note).await
        }
    }
}

/// The rollout stops here, for somebody to look at or because it is done.
async fn end(
    shared: &Joined,
    row: &PlanRow,
    state: RolloutState,
    kind: RolloutCommandKind,
    note: String,
) -> Result<Outcome, Error> {
    let command = NewRolloutCommand::new(kind, &actor(shared), &note);
    let update = PlanUpdate::to(state, row, note.clone(), command);
    if shared.control.update_plan(&shared.name, row.version, &update).await? {
        let announcement = match state {
            RolloutState::Done => Announcement::Done,
            _ => Announcement::Held { reason: &note },
        };
        announce(shared, announcement);
    }
    Ok(Outcome::Waiting)
}

/// The worse of what the service says and of what the registered guards find. Where nothing calls new, they
/// have nothing to find.
async fn health(shared: &Joined) -> Health {
    let asked = shared.options.rollout_health.ask();
    if shared.options.guards.is_none() || shared.position().reaches() < Stage::DualWrite {
        return asked;
    }
    let found = match crate::migration::guard::health(shared).await {
        GuardReport::Healthy => Health::Healthy,
        GuardReport::NotEnoughData(_) => Health::NotEnoughData,
        GuardReport::Breached(_) => Health::Breached,
    };
    found.max(asked)
}

async fn report_waiting(shared: &Joined, row: &PlanRow, reason: &str) -> Result<Outcome, Error> {
    if row.waiting.as_deref() != Some(reason) {
        shared.control.report_plan(&shared.name, &shared.instance, reason).await?;
        announce(shared, Announcement::Waits { reason });
    }
    Ok(Outcome::Waiting)
}

fn actor(shared: &Joined) -> String {
    format!("plan, by {}", shared.actor)
}

async fn take(
    shared: &Joined,
    plan: &RolloutPlan,
    row: &PlanRow,
    requested: Move,
    step: usize,
) -> Result<Outcome, Error> {
    let shown = plan.steps.get(step - 1).map(ToString::to_string).unwrap_or_default();
    let change = Change {
        expected: Some(row.epoch),
        token: None,
        requested,
        actor: actor(shared),
        reason: format!("step {step} of {}: {shown}", plan.len()),
        overridden: Vec::new(),
        terms: shared.terms_now().await?,
        plan: Some(PlanMove { version: row.version, leader: shared.instance.to_string(), step }),
        flag: None,
    };
    match shared.control.change(&shared.name, &change).await {
        Ok(record) => {
            shared.adopt(&record).await?;
            shared.wake.notify_one();
            announce(shared, Announcement::Moved { step, to: record.position });
            Ok(Outcome::Moved)
        }
        // Somebody was first, or a gate has closed since, or writes in flight do not end: the next look
        // sees what there is then.
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(Outcome::Waiting),
        Err(error) if matches!(error.kind(), ErrorKind::Blocked | ErrorKind::Timeout) => {
            report_waiting(shared, row, &error.to_string()).await
        }
        Err(error) => Err(error),
    }
}

/// What the plan says of its backfill, at the moment.
async fn pace(shared: &Joined) -> Result<BackfillPace, Error> {
    let row = shared.control.plan(&shared.name).await?;
    let plan = row.map(|row| row.plan()).transpose()?;
    Ok(plan.map(|plan| plan.pace).unwrap_or_default())
}

fn backfill_options(pace: &BackfillPace) -> BackfillOptions {
    let usual = BackfillOptions::default();
    BackfillOptions {
        rate: pace.rate,
        workers: pace.workers.map_or(usual.workers, |workers| workers.clamp(1, WORKERS_MAX)),
        batch_time: pace.batch_time().unwrap_or(usual.batch_time),
        ..usual
    }
}

/// Does the work. Answers with what a human has to look at, if anything.
pub(crate) async fn work(shared: &Joined, work: Work) -> Result<(), String> {
    let done = async {
        let copier = shared.copier()?;
        Ok::<_, Error>(match work {
            Work::Backfill => {
                let options = backfill_options(&pace(shared).await?);
                copier.backfill(shared, options).await.map(|_| None)?
            }
            Work::Verify => {
                let report = copier.verify(shared, VerifyOptions::default()).await?;
                (!report.is_clean()).then_some(report.differing)
            }
        })
    };
    match done.await {
        Ok(None) => Ok(()),
        Ok(Some(differing)) => Err(format!(
            "the verification found {differing} keys that differ; see `verify().run()`, then `resume`"
        )),
        // What passes by itself is tried again at the next look.
        Err(error) if error.may_pass() => {
            tracing::warn!(migration = &*shared.name, %error, ?work, "the rollout's work ended early");
            Ok(())
        }
        Err(error) => Err(format!("the rollout's work failed: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backfill_takes_from_the_plan_what_it_says_and_else_what_is_usual() {
        let usual = BackfillOptions::default();
        let options = backfill_options(&BackfillPace::default());
        let of = |options: &BackfillOptions| (options.rate, options.workers, options.batch_time);
        assert_eq!(of(&options), of(&usual));
        let pace = BackfillPace { rate: Some(7), workers: Some(3), batch_time_ms: Some(20) };
        let options = backfill_options(&pace);
        assert_eq!(of(&options), (Some(7), 3, Duration::from_millis(20)));
        assert_eq!((options.to, options.batch), (usual.to, usual.batch));
        let many = BackfillPace { workers: Some(u32::MAX), ..pace };
        assert_eq!(backfill_options(&many).workers, WORKERS_MAX);
    }
}
