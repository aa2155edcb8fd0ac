//! The port to the backfills that somebody started for any instance to run.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Serialize;

use crate::error::Error;
use crate::stages::stage::Side;

/// A backfill that somebody started, for any instance with a copy function to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StartedBackfill {
    /// The side that is copied to: new, or old in a reverse copy.
    pub side: Side,
    /// How many workers its runner has.
    pub workers: u32,
    /// The most keys a second; see [`BackfillProgress::rate`](crate::BackfillProgress::rate) for what holds
    /// once it runs.
    pub rate: Option<u64>,
    /// After how many keys that fail it is halted.
    pub stop_after_failures: u64,
    /// Who started it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When, by the database's clock, in microseconds since 1970.
    pub at_us: i64,
    /// The instance that runs it; `None` while none does.
    pub runner: Option<String>,
    /// What its runner met last, and tries again after a pause, or has halted for.
    pub waiting: Option<String>,
    /// It is not tried again until somebody starts it again.
    pub halted: bool,
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

/// Started backfills: one a migration and side.
pub(crate) trait Tasks: Send + Sync {
    /// Starts one, in the place of one that was halted, and lets its backfill go on that was paused or cancelled.
    /// Returns whether it did; where one is under way, nothing changes.
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
    fn tell_task<'a>(
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
