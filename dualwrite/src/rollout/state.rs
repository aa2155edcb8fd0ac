//! What the control tables hold of a plan, and how it is changed.

use std::time::Duration;

use serde::Serialize;

use crate::error::Error;
use crate::rollout::command::NewRolloutCommand;
use crate::rollout::plan::RolloutPlan;
use crate::stages::position::Epoch;

/// What a rollout is doing.
///
/// ```
/// assert_eq!(dualwrite::rollout::RolloutState::Held.to_string(), "held");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutState {
    /// It takes a step whenever one may be taken.
    Running,
    /// Somebody paused it.
    Paused,
    /// Something happened that the plan did not foresee; see its note. It goes on when it is resumed.
    Held,
    /// Somebody ended it. The migration stays where it is.
    Aborted,
    /// All steps were taken, and the last one has lasted.
    Done,
}

impl RolloutState {
    pub(crate) const ALL: [Self; 5] =
        [Self::Running, Self::Paused, Self::Held, Self::Aborted, Self::Done];

    /// The name in `snake_case`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Held => "held",
            Self::Aborted => "aborted",
            Self::Done => "done",
        }
    }

    /// Whether it will never take a step again.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Aborted | Self::Done)
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

impl std::fmt::Display for RolloutState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The row of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlanRow {
    /// Raised by every step and every command; each of them compares and sets it.
    pub(crate) version: u64,
    /// As stored; see [`RolloutPlan::from_text`].
    pub(crate) text: String,
    pub(crate) state: RolloutState,
    /// Steps taken so far.
    pub(crate) step: usize,
    /// The epoch that the plan made, or took for its own when it began.
    pub(crate) epoch: Epoch,
    /// Since the last step was taken, by the database's clock.
    pub(crate) at_step: Duration,
    pub(crate) soak_skipped: bool,
    pub(crate) leader: Option<String>,
    /// What is left of the leader's lease.
    pub(crate) led: Duration,
    /// Why it is in this state.
    pub(crate) note: String,
    /// What it waits for, as the leader said last.
    pub(crate) waiting: Option<String>,
    /// The hour of the day, UTC.
    pub(crate) hour: u8,
}

impl PlanRow {
    pub(crate) fn plan(&self) -> Result<RolloutPlan, Error> {
        RolloutPlan::from_text(&self.text)
    }
}

/// A change of the row that moves nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlanUpdate {
    pub(crate) state: RolloutState,
    pub(crate) step: usize,
    pub(crate) epoch: Epoch,
    /// The time at the step counts from now.
    pub(crate) restarts: bool,
    pub(crate) soak_skipped: bool,
    pub(crate) note: String,
    /// For the audit.
    pub(crate) audit: NewRolloutCommand,
}

impl PlanUpdate {
    /// Everything as it is, but for the state and its reason.
    pub(crate) fn to(
        state: RolloutState,
        row: &PlanRow,
        note: String,
        audit: NewRolloutCommand,
    ) -> Self {
        Self {
            state,
            step: row.step,
            epoch: row.epoch,
            restarts: false,
            soak_skipped: row.soak_skipped,
            note,
            audit,
        }
    }
}

/// A step on its way into the control tables, in the transaction that changes the position: taken only if
/// the row is at this version, running, and led by this instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlanMove {
    pub(crate) version: u64,
    pub(crate) leader: String,
    /// Steps taken when it is made.
    pub(crate) step: usize,
}
