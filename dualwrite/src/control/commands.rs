//! The port to what operators do beside moves: each change is recorded, with who and why, in its own transaction.

use std::collections::HashMap;
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use serde::Serialize;

use crate::control::maintenance::MaintenanceChange;
use crate::control::settings::BackfillSetting;
use crate::control::tasks::{NewTask, StartedBackfill, untaken};
use crate::control::{BackfillCommand, VerifyCommand};
use crate::error::{Error, ErrorKind};
use crate::key::EncodedKey;
use crate::rollout::command::NewRolloutCommand;
use crate::stages::facts::InstanceReport;
use crate::stages::position::{Epoch, Percent};
use crate::stages::stage::Side;

/// What an instance with a copy function does for an operator, who has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum JobKind {
    /// Compares all keys.
    Verify,
    /// Tries the dead letters again.
    DeadLetters,
    /// Advances the sequences of new.
    Sequences,
    /// Reads the catalogue, and keeps what it finds.
    Catalogue,
    /// Copies again what a comparison of all keys finds different.
    Repair,
    /// Copies one key.
    Copy,
    /// Makes the trigger that records writes of others.
    TriggerInstall,
    /// Removes it.
    TriggerRemove,
    /// Exact mode: goes to another stage.
    Move,
    /// Exact mode: copies what was there before writes were recorded.
    CopyAll,
    /// Exact mode: takes the records of a key, which the mirror does not take, out of the outbox.
    Waive,
    /// Exact mode: closes calls, or opens them.
    Maintenance,
}

impl JobKind {
    pub(crate) const ALL: [Self; 12] = [
        Self::Verify,
        Self::DeadLetters,
        Self::Sequences,
        Self::Catalogue,
        Self::Repair,
        Self::Copy,
        Self::TriggerInstall,
        Self::TriggerRemove,
        Self::Move,
        Self::CopyAll,
        Self::Waive,
        Self::Maintenance,
    ];

    /// The name in `snake_case`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::DeadLetters => "dead_letters",
            Self::Sequences => "sequences",
            Self::Catalogue => "catalogue",
            Self::Repair => "repair",
            Self::Copy => "copy",
            Self::TriggerInstall => "trigger_install",
            Self::TriggerRemove => "trigger_remove",
            Self::Move => "move",
            Self::CopyAll => "copy_all",
            Self::Waive => "waive",
            Self::Maintenance => "maintenance",
        }
    }

    /// Whether it takes seconds at the most, so that somebody waits for it.
    pub(crate) const fn is_short(self) -> bool {
        !matches!(self, Self::Verify | Self::DeadLetters | Self::Repair | Self::CopyAll)
    }

    /// Its place among the others, for a set of them.
    pub(crate) const fn bit(self) -> u16 {
        1 << self as u8
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl std::fmt::Display for JobKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A job that somebody started, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Job {
    /// What it does.
    pub kind: JobKind,
    /// The key that it is about, as JSON, where it is about one.
    pub key: Option<String>,
    /// Who started it last.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When, by the database's clock.
    #[serde(rename = "at_us", with = "crate::moment::as_micros")]
    pub at: SystemTime,
    /// The instance that is at work on it.
    pub runner: Option<String>,
    /// It has ended.
    pub done: bool,
    /// It has ended without success.
    pub failed: bool,
    /// What it came to, in words.
    pub answer: Option<String>,
    /// Why no instance does it yet, and what to do about that; `None` where one does, and where it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
}

impl Job {
    /// Where it is, in a few words.
    #[must_use]
    pub const fn state(&self) -> &'static str {
        match (self.failed, self.done, &self.runner) {
            (true, _, _) => "failed",
            (_, true, _) => "done",
            (_, _, Some(_)) => "running",
            _ => "waits for an instance",
        }
    }

    /// Says of one that nobody does why that is, by what the live instances declare.
    pub(crate) fn explain(mut self, instances: &[InstanceReport]) -> Self {
        if !self.done && self.runner.is_none() {
            self.waiting = Some(untaken(Side::New, instances));
        }
        self
    }
}

/// Which calls are compared, for [`Command::Compare`](crate::operator::Command).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compared {
    /// Shadow reads.
    Reads,
    /// Dual writes, which are read back in the caller's transaction.
    Writes,
}

impl Compared {
    /// The share of them, for the audit.
    pub(crate) fn share(self, share: Option<Percent>) -> String {
        let calls = match self {
            Self::Reads => "reads",
            Self::Writes => "dual writes",
        };
        share.map_or_else(
            || format!("{calls} as registered"),
            |share| format!("{share} of the {calls}"),
        )
    }
}

/// A change that is recorded.
#[derive(Clone, Debug)]
pub(crate) enum RecordedChange {
    Kill,
    Unkill,
    Waive(Side, EncodedKey),
    ForgetSamples,
    /// The share that is compared from now on, of which calls; `None` is as registered.
    Sample(Compared, Option<Percent>),
    StopWriter(String),
    Verification(VerifyCommand),
    Job(JobKind, Option<EncodedKey>),
    /// The same as the job of that kind, for a move, which is recorded itself.
    ReadCatalogue,
    StartBackfill(NewTask),
    Backfill(Side, BackfillCommand),
    /// Settings of a backfill that is under way; `None` for what the service says.
    Tune(Side, Vec<(BackfillSetting, Option<u64>)>),
    /// A change of the position, too, under the exclusive fence.
    Maintain(MaintenanceChange),
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is made and recorded.
    Done,
    /// It was so before: nothing is changed or recorded.
    Already,
    /// Nothing was there to take it: nothing is changed or recorded.
    Nothing,
}

/// What was started of a migration: backfills and jobs.
pub(crate) type Open = (Vec<StartedBackfill>, Vec<Job>);

/// What operators do.
pub(crate) trait Commands: Send + Sync {
    /// Makes the change and records the command, in one transaction. `Conflict` where the position is at another epoch
    /// than `expected`.
    fn command<'a>(
        &'a self,
        name: &'a str,
        change: &'a RecordedChange,
        expected: Option<Epoch>,
        audit: &'a NewRolloutCommand,
    ) -> BoxFuture<'a, Result<Taken, Error>>;

    /// The jobs that were started, ended or not.
    fn jobs<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<Job>, Error>>;

    /// The backfills that were started and have not ended, and the jobs.
    fn all_started<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Open, Error>>;

    /// The same of all migrations, by name, without the jobs that have ended.
    fn all_open(&self) -> BoxFuture<'_, Result<HashMap<String, Open>, Error>> {
        Box::pin(std::future::ready(Ok(HashMap::new())))
    }

    /// Takes one that nobody runs. Returns whether it is this instance's.
    fn take_job<'a>(
        &'a self,
        name: &'a str,
        kind: JobKind,
        instance: &'a str,
        lease: std::time::Duration,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// Its runner says how it ended.
    fn end_job<'a>(
        &'a self,
        name: &'a str,
        kind: JobKind,
        instance: &'a str,
        failed: bool,
        answer: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>>;
}

/// The migration was moved since the caller looked.
pub(crate) fn moved(name: &str, expected: Epoch, found: Epoch) -> Error {
    let message = format!(
        "epoch {expected} was expected, and the position is at epoch {found}: somebody moved the migration since you \
         looked; read its position again before you decide"
    );
    Error::new(ErrorKind::Conflict, message).of(name)
}
