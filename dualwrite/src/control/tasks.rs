//! The port to the backfills that somebody started for any instance to run.

use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use serde::Serialize;

use crate::error::Error;
use crate::rollout::command::{NewRolloutCommand, RolloutCommandKind};
use crate::stages::facts::InstanceReport;
use crate::stages::stage::Side;

/// A backfill that somebody started, for any instance with a copy function to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StartedBackfill {
    /// The side that is copied to: new, or old in a reverse copy.
    pub side: Side,
    /// How many workers its runner has.
    pub workers: u32,
    /// The most keys a second; see [`BackfillProgress::rate`](crate::backfill::BackfillProgress::rate) for what holds
    /// once it runs.
    pub rate: Option<u64>,
    /// After how many keys that fail it is halted.
    pub stop_after_failures: u64,
    /// Who started it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When, by the database's clock.
    #[serde(rename = "at_us", with = "crate::moment::as_micros")]
    pub at: SystemTime,
    /// The instance that runs it; `None` while none does.
    pub runner: Option<String>,
    /// What its runner met last, and tries again after a pause, or has halted for; and why nobody runs it.
    pub waiting: Option<String>,
    /// It is not tried again until somebody starts it again.
    pub halted: bool,
}

impl StartedBackfill {
    /// Says of one that nobody has taken yet why that is, by what the live instances declare.
    fn explain(mut self, instances: &[InstanceReport]) -> Self {
        if self.runner.is_none() && self.waiting.is_none() && !self.halted {
            self.waiting = Some(untaken(self.side, instances));
        }
        self
    }
}

/// Each of them explained.
pub(crate) fn explained(
    tasks: Vec<StartedBackfill>,
    instances: &[InstanceReport],
) -> Vec<StartedBackfill> {
    tasks.into_iter().map(|task| task.explain(instances)).collect()
}

/// Why nobody has taken what was started.
pub(crate) fn untaken(side: Side, instances: &[InstanceReport]) -> String {
    if instances.is_empty() {
        return "no instance of the service is alive, so nobody can run it; start one".to_owned();
    }
    let able = |instance: &&InstanceReport| match (&instance.terms, side) {
        (Some(terms), Side::New) => terms.copies,
        (Some(terms), Side::Old) => terms.can_copy_back,
        // Of a release that declares more than is understood here.
        (None, _) => true,
    };
    match (instances.iter().filter(able).map(|one| one.alike).sum::<u64>(), side) {
        (0, Side::New) => {
            "none of the live instances has a copy function for this migration; register it with \
                           `backfill(…)`"
                .to_owned()
        }
        (0, Side::Old) => {
            "none of the live instances can copy to the old side; register a copy function that is a \
                           `CopyBack` with `.backfill_both_ways(…)` (give a `CopySql` `.copying_back(…)`)"
                .to_owned()
        }
        (able, _) => format!(
            "one of {able} instances takes it within about 5 s; where that lasts, see their logs for warnings"
        ),
    }
}

/// A backfill about to be started.
#[derive(Clone, Debug)]
pub(crate) struct NewTask {
    pub(crate) side: Side,
    pub(crate) workers: u32,
    pub(crate) rate: Option<u64>,
    pub(crate) stop_after_failures: u64,
    pub(crate) actor: String,
    pub(crate) reason: String,
}

impl NewTask {
    /// How the start of it is recorded.
    pub(crate) fn audit(&self) -> NewRolloutCommand {
        let kind = RolloutCommandKind::BackfillStart;
        let order = NewRolloutCommand::new(kind, &self.actor, &self.reason);
        order.about(format!("to {}", self.side))
    }
}

/// Started backfills: one a migration and side.
pub(crate) trait Tasks: Send + Sync {
    /// Starts one, in the place of one that was halted, and lets its backfill go on that was paused or cancelled.
    /// Returns whether it did, which is recorded in the same transaction; where one is under way, nothing changes.
    fn start_task<'a>(
        &'a self,
        name: &'a str,
        task: &'a NewTask,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// Those that were started and have not ended.
    fn tasks<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<StartedBackfill>, Error>>;

    /// Takes one that nobody runs, or extends the lease on it. Returns whether it is this instance's.
    fn take_task<'a>(
        &'a self,
        name: &'a str,
        side: Side,
        instance: &'a str,
        lease: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// Its runner says what it met, and that it goes on (`None`).
    fn report_task<'a>(
        &'a self,
        name: &'a str,
        side: Side,
        instance: &'a str,
        waiting: Option<&'a str>,
        halted: bool,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Its runner has done it.
    fn end_task<'a>(
        &'a self,
        name: &'a str,
        side: Side,
        instance: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Its runner leaves it to another.
    fn release_task<'a>(
        &'a self,
        name: &'a str,
        side: Side,
        instance: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>>;
}
