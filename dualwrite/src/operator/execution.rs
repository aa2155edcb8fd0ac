//! What every command shares that is carried out: who gives it, what it changes, and what it came to.

use std::time::Duration;

use serde::Serialize;

use crate::clock;
use crate::control::commands::{JobKind, RecordedChange, moved};
use crate::control::{BackfillCommand, Control};
use crate::error::{Error, ErrorKind};
use crate::gate::Blocker;
use crate::rollout::command::{NewRolloutCommand, RolloutCommandKind as Recorded};
use crate::stages::facts::Facts;
use crate::stages::position::Epoch;
use crate::stages::stage::Side;

/// How long a command waits for a short job to end.
pub(super) const JOB_TIMEOUT: Duration = Duration::from_secs(10);
pub(super) const POLL: Duration = Duration::from_millis(100);

/// Who gives a command, why, and under which condition.
///
/// ```
/// use dualwrite::{Epoch, operator::CommandOptions};
/// let options = CommandOptions::new("ada", "latency").expecting(Epoch(7)).dry_run(true);
/// ```
#[derive(Clone, Debug)]
pub struct CommandOptions {
    pub(super) by: String,
    pub(super) because: String,
    pub(super) expected: Option<Epoch>,
    pub(super) dry_run: bool,
}

impl CommandOptions {
    /// By whom, with 1 to 100 bytes, and why, with 1 to 2,000 characters; neither has control characters.
    pub fn new(by: impl Into<String>, because: impl Into<String>) -> Self {
        Self { by: by.into(), because: because.into(), expected: None, dry_run: false }
    }

    /// Does it only if nobody has moved the migration since this epoch. A rollback and the kill switch always act.
    #[must_use]
    pub fn expecting(mut self, epoch: Epoch) -> Self {
        self.expected = Some(epoch);
        self
    }

    /// Says what would happen, and what stands against it, and does nothing.
    #[must_use]
    pub fn dry_run(mut self, dry: bool) -> Self {
        self.dry_run = dry;
        self
    }

    pub(super) fn audit(&self, kind: Recorded) -> NewRolloutCommand {
        NewRolloutCommand::new(kind, &self.by, &self.because)
    }
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CommandOutcome {
    /// The migration.
    pub migration: String,
    /// What was done, or would be, in words.
    pub text: String,
    /// Nothing was done.
    pub dry_run: bool,
    /// Where the migration stands now.
    pub position: String,
    /// The epoch of that.
    pub epoch: Epoch,
    /// What stands against it, in a dry run; empty means that it would be done.
    pub blockers: Vec<Blocker>,
    /// How it is taken back.
    pub way_back: Option<String>,
}

impl CommandOutcome {
    pub(super) fn of(name: &str, facts: &Facts, dry_run: bool, text: impl Into<String>) -> Self {
        Self {
            migration: name.to_owned(),
            text: text.into(),
            dry_run,
            position: facts.position.to_string(),
            epoch: facts.position.epoch,
            blockers: Vec::new(),
            way_back: None,
        }
    }
}

/// A command on its way.
pub(super) struct Execution<'c> {
    pub(super) control: &'c dyn Control,
    pub(super) name: &'c str,
    pub(super) options: &'c CommandOptions,
}

/// What a command changes, how it is recorded, and what it says.
pub(super) struct Plan {
    pub(super) change: RecordedChange,
    pub(super) audit: NewRolloutCommand,
    /// The backfill may be as the command wants it already.
    pub(super) holds: Option<(Side, BackfillCommand)>,
    pub(super) done: &'static str,
    pub(super) already: &'static str,
    pub(super) nothing: &'static str,
}

impl Execution<'_> {
    pub(super) fn expect(&self, facts: &Facts) -> Result<(), Error> {
        let found = facts.position.epoch;
        match self.options.expected.filter(|expected| *expected != found) {
            Some(expected) => Err(moved(self.name, expected, found)),
            None => Ok(()),
        }
    }

    /// What a job came to, if it ends soon.
    pub(super) async fn answer_of(&self, kind: JobKind) -> Result<Option<String>, Error> {
        for _ in 0..JOB_TIMEOUT.as_millis() / POLL.as_millis() {
            let jobs = self.control.jobs(self.name).await?;
            let job = jobs.into_iter().find(|job| job.kind == kind).filter(|job| job.done);
            if let Some(job) = job {
                let answer = job.answer.unwrap_or_default();
                return match job.failed {
                    true => Err(Error::new(ErrorKind::Conflict, answer)),
                    false => Ok(Some(answer)),
                };
            }
            clock::sleep(POLL).await;
        }
        Ok(None)
    }
}
