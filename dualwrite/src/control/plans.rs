//! The port to the control tables of rollouts and flags.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::error::{Error, ErrorKind};
use crate::rollout::command::{NewRolloutCommand, RolloutCommand};
use crate::rollout::state::{PlanRow, PlanUpdate};
use crate::stages::position::Epoch;

/// A plan about to be stored.
#[derive(Clone, Debug)]
pub(crate) struct NewPlan {
    pub(crate) text: String,
    /// Steps taken already.
    pub(crate) step: usize,
    pub(crate) epoch: Epoch,
    pub(crate) note: String,
    /// For the audit.
    pub(crate) audit: NewRolloutCommand,
}

/// Rollouts, and what flags have done.
pub(crate) trait Plans: Send + Sync {
    /// The rollout, over or not.
    fn plan<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<PlanRow>, Error>>;

    /// Stores a plan, running, and records the command. `Conflict` where one is under way.
    fn start_plan<'a>(
        &'a self,
        name: &'a str,
        plan: &'a NewPlan,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Changes the row if it is at this version, raises that, and records the command. Returns whether it was.
    fn update_plan<'a>(
        &'a self,
        name: &'a str,
        version: u64,
        update: &'a PlanUpdate,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// The newest commands, newest first.
    fn recorded_commands<'a>(
        &'a self,
        name: &'a str,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<RolloutCommand>, Error>>;

    /// Takes or extends the leader's lease. Returns whether it is this instance's.
    fn lead_plan<'a>(
        &'a self,
        name: &'a str,
        instance: &'a str,
        lease: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// The leader says what it waits for.
    fn report_plan<'a>(
        &'a self,
        name: &'a str,
        instance: &'a str,
        waiting: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// What flags said when they last moved the migration or found it there, and the epoch of that.
    fn flagged<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<(String, Epoch)>, Error>>;

    /// The migration stands where flags want it, if it is still at this epoch.
    fn note_flag<'a>(
        &'a self,
        name: &'a str,
        wanted: &'a str,
        epoch: Epoch,
    ) -> BoxFuture<'a, Result<(), Error>>;
}

pub(crate) fn under_way(name: &str) -> Error {
    let message = "a rollout is under way; `abort` it before another one is started";
    Error::new(ErrorKind::Conflict, message).of(name)
}

pub(crate) fn outdated(name: &str) -> Error {
    let message =
        "the rollout was paused, or another instance leads it, since this step was decided";
    Error::new(ErrorKind::Conflict, message).of(name)
}
