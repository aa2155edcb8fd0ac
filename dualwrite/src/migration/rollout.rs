//! [`Rollout`]: commands to the rollout of a migration, from any process, and how far it is.

use std::time::Duration;

use serde::Serialize;

use crate::control::Control;
use crate::control::plans::NewPlan;
use crate::copier::joined::Joined;
use crate::error::{Error, ErrorKind};
use crate::migration::Migration;
use crate::migration::announce::{Announcement, announce};
use crate::migration::transition::check_named;
use crate::rollout::command::{NewRolloutCommand, RolloutCommand, RolloutCommandKind};
use crate::rollout::decide::next_move;
use crate::rollout::plan::RolloutPlan;
use crate::rollout::state::{PlanRow, PlanUpdate, RolloutState};
use crate::stages::position::Position;

/// How many orders are shown.
pub const COMMANDS_SHOWN_MAX: u32 = 50;

/// The rollout of a migration: one [`RolloutPlan`] at a time, kept in the control tables and followed by one
/// of the instances, whichever holds the lease of the leader. Orders take effect in all processes; an
/// order that has been answered is in force, and no step is taken against it any more.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use dualwrite::{Error, Migration, rollout::RolloutPlan};
///
/// async fn roll_out(migration: &Migration, plan: &RolloutPlan) -> Result<(), Error> {
///     migration.rollout().start(plan, "ada", "release 1.4.2").await?;
///     migration.rollout().pause("ada", "lunch").await?;
///     migration.rollout().resume("ada", "back").await?;
///     if let Some(status) = migration.rollout().status().await? {
///         println!("{}: step {} of {}", status.state, status.step, status.steps);
///     }
///     Ok(())
/// }
/// # }
/// ```
#[must_use = "give it a command"]
#[derive(Debug)]
pub struct Rollout<'m> {
    shared: &'m Joined,
}

/// How far a rollout is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RolloutStatus {
    /// What it does.
    pub state: RolloutState,
    /// Steps taken.
    pub step: usize,
    /// Steps of the plan; 0 where this release does not understand it.
    pub steps: usize,
    /// The step that was taken last.
    pub at: Option<String>,
    /// The step to be taken next.
    pub next: Option<String>,
    /// How long ago the last step was.
    #[serde(rename = "at_step_us", with = "crate::moment::span_as_micros")]
    pub at_step: Duration,
    /// How long the step has to last still.
    #[serde(rename = "soak_left_us", with = "crate::moment::span_as_micros")]
    pub soak_left: Duration,
    /// What it waits for, as the leader said last.
    pub waiting: Option<String>,
    /// Why it is in this state.
    pub note: String,
    /// The instance that leads it.
    pub leader: Option<String>,
}

impl RolloutStatus {
    pub(crate) fn of(row: &PlanRow) -> Self {
        let plan = row.plan().ok();
        let step = |index: Option<usize>| Some(plan.as_ref()?.steps.get(index?)?.clone());
        let (at, next) = (step(row.step.checked_sub(1)), step(Some(row.step)));
        let soak = at.as_ref().filter(|_| !row.soak_skipped).map(|step| step.soaks());
        let left = soak.unwrap_or_default().saturating_sub(row.at_step);
        Self {
            state: row.state,
            step: row.step,
            steps: plan.as_ref().map_or(0, RolloutPlan::len),
            at: at.map(|step| step.to_string()),
            next: next.map(|step| step.to_string()),
            at_step: row.at_step,
            soak_left: left,
            waiting: row.waiting.clone(),
            note: row.note.clone(),
            leader: row.leader.clone().filter(|_| !row.led.is_zero()),
        }
    }
}

impl<'m> Rollout<'m> {
    pub(crate) fn new(shared: &'m Joined) -> Self {
        Self { shared }
    }

    /// Stores a plan and begins to follow it: at the step that fits the present position. `by` and `because`
    /// are kept in the rollout's note and, as those of all commands, in the [audit](Self::commands); `by` has 1 to 100
    /// bytes.
    ///
    /// # Errors
    /// `InvalidInput` for a plan that cannot be followed, `IllegalMove` where its first step is more than
    /// one move from here, `Unsupported` for `backfill` or `verify` without a copy function, `Conflict`
    /// where a rollout is under way, `Database`.
    pub async fn start(&self, plan: &RolloutPlan, by: &str, because: &str) -> Result<(), Error> {
        let shared = self.shared;
        let of = |error: Error| error.of(&shared.name);
        plan.check().map_err(of)?;
        check_named("actor", by).map_err(of)?;
        if plan.backfill || plan.verify {
            shared.copier()?;
        }
        let position = shared.refresh().await?.position;
        let new = planned(&shared.name, plan, position, by, because)?;
        shared.control.start_plan(&shared.name, &new).await?;
        self.noted(RolloutCommandKind::Start, by, because);
        Ok(())
    }

    /// Takes no step until it is resumed. The step it is at goes on lasting.
    ///
    /// # Errors
    /// `Unsupported` where no rollout is under way, `Conflict` where it changes at the same moment (look
    /// and order again), `InvalidInput` for an actor without a name, `Database`.
    pub async fn pause(&self, by: &str, because: &str) -> Result<(), Error> {
        self.give_command(RolloutCommandKind::Pause, by, because, None).await
    }

    /// Goes on. Where the position is no longer the plan's (it was held, or somebody moved the migration
    /// meanwhile), it does so from the step that fits the position, which then lasts from now.
    ///
    /// # Errors
    /// As [`pause`](Self::pause); `IllegalMove` where the next step is more than one move from here.
    pub async fn resume(&self, by: &str, because: &str) -> Result<(), Error> {
        let position = self.shared.refresh().await?.position;
        self.give_command(RolloutCommandKind::Resume, by, because, Some(position)).await
    }

    /// Lets the present step end without having lasted. The gates, a soak of the registration among them,
    /// stay as they are.
    ///
    /// # Errors
    /// As [`pause`](Self::pause); `Unsupported` where it is held.
    pub async fn skip_soak(&self, by: &str, because: &str) -> Result<(), Error> {
        self.give_command(RolloutCommandKind::SkipSoak, by, because, None).await
    }

    /// Ends it for good; the migration stays where it is. Another plan may be started then. A backfill that
    /// it began goes on unless it is [cancelled](crate::migration::Backfill::cancel).
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub async fn abort(&self, by: &str, because: &str) -> Result<(), Error> {
        self.give_command(RolloutCommandKind::Abort, by, because, None).await
    }

    /// How far it is; `None` where there never was one.
    ///
    /// # Errors
    /// `Database`.
    pub async fn status(&self) -> Result<Option<RolloutStatus>, Error> {
        let row = self.shared.control.plan(&self.shared.name).await?;
        Ok(row.as_ref().map(RolloutStatus::of))
    }

    /// The plan that is, or was last, followed.
    ///
    /// # Errors
    /// `NewerControlTables` where this release does not understand it, `Database`.
    pub async fn plan(&self) -> Result<Option<RolloutPlan>, Error> {
        let row = self.shared.control.plan(&self.shared.name).await?;
        row.map(|row| row.plan()).transpose()
    }

    /// The last commands that were given to rollouts of this migration, approvals among them, and what the
    /// plans told of themselves, newest first; at most [`COMMANDS_SHOWN_MAX`]. The steps that were taken are among
    /// [`Migration::events`].
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// async fn show(migration: &dualwrite::Migration) -> Result<(), dualwrite::Error> {
    ///     for order in migration.rollout().commands().await? {
    ///         println!("{} by {}: {}", order.kind, order.actor, order.reason);
    ///     }
    ///     Ok(())
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Database`.
    pub async fn commands(&self) -> Result<Vec<RolloutCommand>, Error> {
        self.shared.control.recorded_commands(&self.shared.name, COMMANDS_SHOWN_MAX).await
    }

    async fn give_command(
        &self,
        kind: RolloutCommandKind,
        by: &str,
        because: &str,
        position: Option<Position>,
    ) -> Result<(), Error> {
        give(&*self.shared.control, &self.shared.name, kind, by, because, position).await?;
        self.noted(kind, by, because);
        Ok(())
    }

    fn noted(&self, kind: RolloutCommandKind, by: &str, because: &str) {
        announce(self.shared, Announcement::Ordered { what: kind.as_str(), by, because });
        self.shared.wake.notify_one();
    }
}

fn illegal(name: &str, problem: &str) -> Error {
    let message = format!("{problem}; move it there, or write a plan that begins here");
    Error::new(ErrorKind::IllegalMove, message).of(name)
}

/// A plan about to be stored, at the step that fits the position.
pub(crate) fn planned(
    name: &str,
    plan: &RolloutPlan,
    position: Position,
    by: &str,
    because: &str,
) -> Result<NewPlan, Error> {
    let step = plan.fits(position);
    next_move(plan, step, position).map_err(|problem| illegal(name, &problem))?;
    let note = noted("started", by, because);
    let audit = NewRolloutCommand::new(RolloutCommandKind::Start, by, because);
    Ok(NewPlan { text: plan.to_text()?, step, epoch: position.epoch, note, audit })
}

/// Gives a command to a rollout, from any process. What is resumed goes on from this position.
pub(crate) async fn give(
    control: &dyn Control,
    name: &str,
    kind: RolloutCommandKind,
    by: &str,
    because: &str,
    position: Option<Position>,
) -> Result<(), Error> {
    check_named("actor", by).map_err(|error| error.of(name))?;
    let row = control.plan(name).await?;
    if kind == RolloutCommandKind::Abort
        && row.as_ref().is_some_and(|row| row.state == RolloutState::Aborted)
    {
        return Ok(()); // it is what was ordered
    }
    let Some(row) = row.filter(|row| !row.state.is_over()) else {
        let message = "no rollout is under way; `start` one";
        return Err(Error::new(ErrorKind::Unsupported, message).of(name));
    };
    let update = updated(name, &row, NewRolloutCommand::new(kind, by, because), position)?;
    if !control.update_plan(name, row.version, &update).await? {
        let message =
            "the rollout changed at the same moment; look at it, and give the command again";
        return Err(Error::new(ErrorKind::Conflict, message).of(name));
    }
    Ok(())
}

/// What a command makes of the row.
fn updated(
    name: &str,
    row: &PlanRow,
    audit: NewRolloutCommand,
    position: Option<Position>,
) -> Result<PlanUpdate, Error> {
    let NewRolloutCommand { kind, actor, reason, .. } = &audit;
    let (by, because) = (actor.clone(), reason.clone());
    match kind {
        RolloutCommandKind::Pause => {
            let note = noted("paused", &by, &because);
            Ok(PlanUpdate::to(RolloutState::Paused, row, note, audit))
        }
        RolloutCommandKind::Abort => {
            let note = noted("aborted", &by, &because);
            Ok(PlanUpdate::to(RolloutState::Aborted, row, note, audit))
        }
        RolloutCommandKind::SkipSoak if row.state == RolloutState::Held => {
            let message = "the rollout is held, and the step lasts anew when it is resumed; \
                           `resume` it first";
            Err(Error::new(ErrorKind::Unsupported, message).of(name))
        }
        RolloutCommandKind::SkipSoak => {
            let note = noted(&format!("soak of step {} skipped", row.step), &by, &because);
            Ok(PlanUpdate { soak_skipped: true, ..PlanUpdate::to(row.state, row, note, audit) })
        }
        _ => resumed(name, row, audit, position.unwrap_or_else(Position::start)),
    }
}

fn resumed(
    name: &str,
    row: &PlanRow,
    audit: NewRolloutCommand,
    position: Position,
) -> Result<PlanUpdate, Error> {
    // Whoever stops a rollout need not understand its plan; whoever resumes it must.
    let plan = row.plan().map_err(|error| error.of(name))?;
    let note = noted("resumed", &audit.actor, &audit.reason);
    let mut update = PlanUpdate::to(RolloutState::Running, row, note, audit);
    if row.epoch != position.epoch || row.state == RolloutState::Held {
        update.step = plan.fits(position);
        update.epoch = position.epoch;
        update.restarts = true;
        update.soak_skipped = false;
    }
    next_move(&plan, update.step, position).map_err(|problem| illegal(name, &problem))?;
    Ok(update)
}

fn noted(what: &str, by: &str, because: &str) -> String {
    match because {
        "" => format!("{what} by {by}"),
        because => format!("{what} by {by}: {because}"),
    }
}

impl Migration {
    /// The rollout: a plan that is followed step by step.
    pub fn rollout(&self) -> Rollout<'_> {
        Rollout::new(self.shared())
    }
}
