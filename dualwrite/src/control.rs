//! The port to the control tables: positions, their history, the instances that act on them, and what
//! waits to be copied. Adapters are in [`memory`] and [`sql`]; one conformance suite holds for all.

pub(crate) mod audited;
pub(crate) mod commands;
pub(crate) mod contracts;
pub(crate) mod copied;
pub(crate) mod dead_letters;
pub(crate) mod doctor;
pub(crate) mod exact;
pub(crate) mod expands;
pub(crate) mod hazards;
pub(crate) mod instances;
mod job_commands;
pub(crate) mod maintenance;
pub(crate) mod plans;
pub(crate) mod progress;
pub(crate) mod removals;
pub(crate) mod settings;
pub(crate) mod tasks;
pub(crate) mod traffic;

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use serde::Serialize;

pub(crate) use self::job_commands::{BackfillCommand, VerifyCommand};
use crate::compare::Shown;
pub(crate) use crate::control::instances::{Acknowledgement, Heartbeat, Pulse};
pub use crate::control::progress::{BackfillProgress, WORKERS_SHOWN_MAX, WorkerProgress};
pub(crate) use crate::database::watch::Watch;
use crate::error::{Error, Maintenance};
use crate::gate::Gate;
use crate::key::EncodedKey;
use crate::rollout::state::PlanMove;
pub use crate::stages::audit::AuditEvent;
use crate::stages::facts::Facts;
use crate::stages::lineage::{Mark, Token};
use crate::stages::moves::Move;
use crate::stages::position::{Epoch, Generation, Position};
use crate::stages::sample::SampleOverride;
use crate::stages::stage::Side;
use crate::stages::stale::StaleKind;
use crate::stages::terms::Terms;
use crate::stages::verification::{Recorded, VerifyState};

/// One migration as the control tables hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) name: String,
    /// The number of its fence.
    pub(crate) fence: u64,
    pub(crate) position: Position,
    /// Random, another one with each change of the position.
    pub(crate) token: Token,
    /// That of the position before.
    pub(crate) from_token: Token,
    pub(crate) generation: Generation,
    pub(crate) stage_epoch: Epoch,
    /// The backfill of this generation is complete.
    pub(crate) backfilled: bool,
    pub(crate) verified: Option<Generation>,
    pub(crate) dirty: bool,
    /// Some key could not be copied to new, waived or not.
    pub(crate) has_dead_letter: bool,
    /// Some key could not be copied to either side.
    pub(crate) letters: bool,
    /// One of them is to be tried again now.
    pub(crate) due: bool,
    pub(crate) old_generation: Generation,
    /// A rollout is running.
    pub(crate) planned: bool,
    /// Somebody started something that no instance runs.
    pub(crate) started: bool,
    /// Somebody started something that is not done.
    pub(crate) wanted: bool,
    /// Who has set the kill switch in the control tables.
    pub(crate) killed: Option<String>,
    /// What operators want compared.
    pub(crate) sample: SampleOverride,
    /// Which calls are closed, and why.
    pub(crate) maintenance: Option<Maintenance>,
}

/// All migrations, as a heartbeat reads them.
#[derive(Clone, Debug)]
pub(crate) struct Polled {
    pub(crate) records: Vec<Record>,
    /// When that was, by the database's clock, in microseconds since 1970; `None` without a migration.
    pub(crate) at_us: Option<i64>,
}

/// What shows that a poll would find nothing new, where it found nothing under way. Not what it would find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    /// Random, another one after each change that every instance must see at once.
    pub(crate) token: i64,
    /// When it was read, as in [`Polled`].
    pub(crate) at_us: i64,
}

/// Where all migrations stand, and whether a poll would find more than that: what a heartbeat reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Positions {
    /// Of each migration, by name: epoch, token, generation, and the one that was verified; when the next dead letter is
    /// tried again, and whether one is of the new side.
    pub(crate) migrations: Vec<[Option<i64>; 6]>,
    /// What else changes what a poll finds: the token of changes, marks that withdraw a proof, complete backfills.
    pub(crate) others: [Option<i64>; 4],
}

impl Record {
    pub(crate) fn mark(&self) -> Mark {
        Mark { epoch: self.position.epoch, token: self.token }
    }

    /// Whether something is under way that polls look after.
    pub(crate) fn is_active(&self) -> bool {
        self.planned || self.wanted || self.killed.is_some()
    }

    /// Whether it only stands where it stands: nothing is under way, and nothing waits to be done.
    pub(crate) fn is_quiet(&self) -> bool {
        !self.is_active() && !self.dirty && !self.due
    }

    /// Whether no key can be missing in new any more. A backfill passes keys that cannot be copied; once
    /// new alone has been written, old is no longer where they would come from.
    pub(crate) fn is_copied(&self) -> bool {
        self.backfilled && (!self.has_dead_letter || self.old_generation > Generation::FIRST)
    }
}

/// A change of a position, with everything that the audit keeps of it.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// The epoch that the caller believes to be current; `None` takes whatever is.
    pub(crate) expected: Option<Epoch>,
    /// And its token, where the caller knows it.
    pub(crate) token: Option<Token>,
    pub(crate) requested: Move,
    pub(crate) actor: String,
    pub(crate) reason: String,
    pub(crate) overridden: Vec<Gate>,
    pub(crate) terms: Terms,
    /// The step of a rollout that this is.
    pub(crate) plan: Option<PlanMove>,
    /// What the flags say that want it.
    pub(crate) flag: Option<String>,
}

/// One of the first mismatches that were found in a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Mismatch {
    /// The trait and the method: `Customers::find`.
    pub method: String,
    /// The path of the field, without what stands in brackets; `*` for the whole answer.
    pub field: String,
    /// The key that was read, as JSON; `None` for a read without a key.
    pub key: Option<String>,
    /// What old had there, where it had anything; redacted unless the field is revealed.
    pub old: Option<Shown>,
    /// What new had there.
    pub new: Option<Shown>,
    /// When it was found, by the database's clock.
    #[serde(rename = "at_us", with = "crate::moment::as_micros")]
    pub at: SystemTime,
}

/// A key that waits to be copied again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DirtyKey {
    pub(crate) key: EncodedKey,
    /// When it was marked last, by the database's clock.
    pub(crate) marked_at_us: i64,
}

/// A mismatch to keep.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) method: String,
    pub(crate) field: String,
    pub(crate) key: Option<EncodedKey>,
    pub(crate) old: Option<Shown>,
    pub(crate) new: Option<Shown>,
}

/// The store of positions. Object-safe, so that the runtime needs no type parameter for it.
pub(crate) trait Control:
    commands::Commands
    + contracts::Contracts
    + doctor::Examines
    + exact::ExactMigrations
    + expands::Expands
    + hazards::Hazards
    + dead_letters::DeadLetters
    + plans::Plans
    + removals::Removals
    + tasks::Tasks
    + traffic::Traffic
    + 'static
{
    /// Makes or upgrades the tables.
    fn install(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Fails where the tables are those of another release.
    fn check_version(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Creates the migrations of these names that are new, and answers with these, in any order.
    fn enlist<'a>(&'a self, names: &'a [&'a str]) -> BoxFuture<'a, Result<Vec<Record>, Error>>;

    /// Registers an instance for all that it acknowledges, in the place of what was known of it. Positions that
    /// are read afterwards are those that the others wait with for it.
    fn join<'a>(
        &'a self,
        heartbeat: &'a Heartbeat,
        number: u64,
        acknowledged: &'a [Acknowledgement],
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Whether the position in force follows from that one, which has passed: whether the audit has it.
    fn descends<'a>(&'a self, name: &'a str, from: Mark) -> BoxFuture<'a, Result<bool, Error>>;

    /// All migrations.
    fn load(&self) -> BoxFuture<'_, Result<Vec<Record>, Error>>;

    /// The same, for a heartbeat, which waits for nothing else of this process.
    fn poll(&self) -> BoxFuture<'_, Result<Polled, Error>>;

    /// The same in short, to be compared with an earlier one; `None` where a poll costs no more, or nothing can be told.
    fn fingerprint(&self) -> BoxFuture<'_, Result<Option<Fingerprint>, Error>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Where all migrations stand, and when that was, as in [`Polled`]; `None` where a poll costs no more, or where something
    /// is under way or waits to be done.
    fn positions(&self) -> BoxFuture<'_, Result<Option<(Positions, i64)>, Error>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// The database's clock has gone ahead of ours by so much (or behind), or ours stood still: for a lease from now
    /// on, gates take that into account.
    fn clock_stepped<'a>(&'a self, by_us: i64, lease: Duration)
    -> BoxFuture<'a, Result<(), Error>>;

    /// Whatever is asked from now on is answered with `ShuttingDown`.
    fn close(&self) {}

    /// Closes connections that are not needed.
    fn trim(&self) {}

    /// The names of all migrations, also of those whose row cannot be read.
    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, Error>>;

    /// Extends the lease of an instance, and stores what of its acknowledgements has changed. Returns whether the
    /// instance was as its last heartbeat left it: else it must join again.
    fn heartbeat<'a>(
        &'a self,
        heartbeat: &'a Heartbeat,
        pulse: Pulse,
        changed: &'a [Acknowledgement],
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// Takes an instance out.
    fn leave<'a>(&'a self, instance: &'a str) -> BoxFuture<'a, Result<(), Error>>;

    /// Changes a position: compare-and-set under the exclusive fence, gates included.
    fn change<'a>(
        &'a self,
        name: &'a str,
        change: &'a Change,
    ) -> BoxFuture<'a, Result<Record, Error>>;

    /// Who keeps the fence from whoever waits for it, in words: instances, and sessions of the server. Empty where
    /// nobody is known.
    fn holders<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, Vec<String>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// What the gates look at.
    fn facts<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Facts, Error>>;

    /// The same with the newest verification.
    fn facts_and_verification<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<(Facts, Option<VerifyState>), Error>>;

    /// The same of several migrations, with counts that stop at a thousand, for what is published.
    fn summaries<'a>(
        &'a self,
        names: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<(String, Facts)>, Error>>;

    /// How many instances live, of whatever migration; zero where that is not counted.
    fn live_instances(&self) -> BoxFuture<'_, Result<u64, Error>> {
        Box::pin(std::future::ready(Ok(0)))
    }

    /// The newest changes, newest first.
    fn events<'a>(
        &'a self,
        name: &'a str,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<AuditEvent>, Error>>;

    /// Records that the verification of this owner found the sides equal, in these generations of new and old.
    /// Returns whether they are still those, and nothing was marked as stale since it began.
    fn verified<'a>(
        &'a self,
        name: &'a str,
        owner: &'a str,
        generations: [Generation; 2],
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// Marks the sides as different, which withdraws the proof of both.
    fn mark_stale<'a>(&'a self, name: &'a str, kind: StaleKind)
    -> BoxFuture<'a, Result<(), Error>>;

    /// Begins a verification, or goes on with one that ended in the middle and was asked for the same, unless
    /// it shall begin `restart`. Whoever runs one is superseded.
    fn begin_verification<'a>(
        &'a self,
        name: &'a str,
        owner: &'a str,
        fresh: &'a VerifyState,
        afresh: bool,
    ) -> BoxFuture<'a, Result<VerifyState, Error>>;

    /// Stores how far a verification has come, unless its owner was superseded.
    fn record_verification<'a>(
        &'a self,
        name: &'a str,
        owner: &'a str,
        state: &'a VerifyState,
    ) -> BoxFuture<'a, Result<Recorded, Error>>;

    /// Gives a command to the newest verification. Returns whether there is one to take it; one that is
    /// complete cannot be cancelled.
    fn command_verification<'a>(
        &'a self,
        name: &'a str,
        command: VerifyCommand,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// The newest verification.
    fn verification<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<VerifyState>, Error>>;

    /// The progress of the newest backfill.
    fn backfill<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<BackfillProgress>, Error>>;

    /// The progress of the newest backfill of every migration that has any, in a fixed number of statements.
    fn backfills(&self) -> BoxFuture<'_, Result<HashMap<String, BackfillProgress>, Error>>;

    /// Keys whose `side` must be copied again, oldest first, those after this one.
    fn dirty<'a>(
        &'a self,
        name: &'a str,
        side: Side,
        after: Option<&'a DirtyKey>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<DirtyKey>, Error>>;

    /// Marks the new side as stale instead of a key that cannot be read, and forgets that key.
    fn set_aside<'a>(
        &'a self,
        name: &'a str,
        key: &'a EncodedKey,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Records an approval for the present stage, and the command.
    fn approve<'a>(
        &'a self,
        name: &'a str,
        approval: &'a str,
        actor: &'a str,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Says that a release which does not know this library runs, or that it is gone.
    fn declare<'a>(
        &'a self,
        name: &'a str,
        release: &'a str,
        gone: bool,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Keeps a sample of a confirmed mismatch where there is room: [`SAMPLES_MAX`](crate::defaults::SAMPLES_MAX)
    /// and [`SAMPLES_PER_FIELD_MAX`](crate::defaults::SAMPLES_PER_FIELD_MAX). Instances that store at the same
    /// moment may exceed these by one each. Returns whether it was kept.
    fn sample<'a>(
        &'a self,
        name: &'a str,
        sample: &'a Sample,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// The samples, oldest first, [`SAMPLES_MAX`](crate::defaults::SAMPLES_MAX) at the most.
    fn samples<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<Mismatch>, Error>>;

    /// Removes the samples. Returns how many there were.
    fn forget_samples<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<u64, Error>>;

    /// Hints of changes, where the database can push them.
    fn watch(&self) -> BoxFuture<'_, Result<Option<Box<dyn Watch>>, Error>>;
}
