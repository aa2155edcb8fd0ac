//! What runs for minutes or hours: the handles of a backfill and of a verification.

use std::ops::ControlFlow;
use std::time::Duration;

use tracing::Instrument as _;

use crate::backfill::options::BackfillOptions;
use crate::backfill::walk::{CopyReport, Way};
use crate::clock;
use crate::control::commands::{RecordedChange, Taken};
use crate::control::settings::WORKERS_MAX;
use crate::control::tasks::NewTask;
use crate::control::{BackfillCommand, BackfillProgress, VerifyCommand};
use crate::copier::joined::Joined;
use crate::error::{Error, ErrorKind};
use crate::key::Key;
use crate::migration::transition::{check_named, check_reason};
use crate::pace::throttle::Throttle;
use crate::rollout::command::{NewRolloutCommand, RolloutCommandKind as Recorded};
use crate::stages::position::Percent;
use crate::stages::stage::Side;
use crate::stages::verification::VerifyReport;
use crate::state::Shared;
use crate::verify::repair::RepairReport;
use crate::verify::run::VerifyOptions;

/// A backfill about to run.
#[must_use = "call `run`"]
#[derive(Debug)]
pub struct Backfill<'m> {
    shared: &'m Joined,
    options: BackfillOptions,
}

impl<'m> Backfill<'m> {
    pub(crate) fn new(shared: &'m Joined) -> Self {
        let owner = format!("{}/{}", shared.instance, uuid::Uuid::new_v4().simple());
        Self { shared, options: BackfillOptions { owner, ..BackfillOptions::default() } }
    }

    /// Copies from new to old instead, what was written to new alone: after `Complete` (or a ramp
    /// toward it) the migration steps back to `RampDown`, where both are written again, and with this
    /// and a verification old may answer once more. Needs a
    /// [`CopyBack`](crate::CopyBack) (of a [`CopySql`](crate::CopySql), `copying_back` and `new_source`). Near its end it waits
    /// for writes in flight, and `run` answers with `Timeout` where they do not end within some seconds: run it
    /// again, what is copied stays copied.
    pub fn reverse(mut self) -> Self {
        self.options.to = Side::Old;
        self
    }

    /// Keys per transaction, at most; see [`BATCH_KEYS`](crate::defaults::BATCH_KEYS). How many there are follows
    /// from [`batch_time`](Self::batch_time), and shrinks around rows that fail.
    pub fn batch(mut self, keys: u32) -> Self {
        self.options.batch = keys.max(1);
        self
    }

    /// How many workers of this process share the backfill, each with a connection of its own and a range of
    /// keys at a time; one by default, at most [`WORKERS_MAX`](crate::defaults::WORKERS_MAX). While one waits for the
    /// database, another may convert rows.
    pub fn workers(mut self, workers: u32) -> Self {
        self.options.workers = workers.clamp(1, WORKERS_MAX);
        self
    }

    /// The time that a transaction shall take; see [`BATCH_TIME`](crate::defaults::BATCH_TIME).
    pub fn batch_time(mut self, target: Duration) -> Self {
        self.options.batch_time = target;
        self
    }

    /// The most keys a second, of all workers together; also while it runs, from any process, by
    /// [`set_rate`](Self::set_rate). Each worker copies a key in ten
    /// seconds at least, even where that is more.
    pub fn rate(mut self, keys: u64) -> Self {
        self.options.rate = Some(keys);
        self
    }

    /// When it makes way for others.
    pub fn throttle(mut self, throttle: Throttle) -> Self {
        self.options.throttle = throttle;
        self
    }

    /// Counts the keys at the start, instead of believing the catalogue of PostgreSQL, MySQL or MariaDB where
    /// that speaks of more than 100,000.
    pub fn exact_total(mut self) -> Self {
        self.options.exact_total = true;
        self
    }

    /// How long a range stays claimed by a worker that shows no progress; 30 seconds by default.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.options.lease = lease;
        self
    }

    /// Halts after more failed keys than this; 1,000 by default.
    pub fn stop_after_failures(mut self, keys: u64) -> Self {
        self.options.failures_max = keys;
        self
    }

    /// Has it run in the background, by this process or another one with a copy function, with these
    /// [workers](Self::workers), this [rate](Self::rate) and this [limit on
    /// failures](Self::stop_after_failures), and the default of everything else. It survives the end of whoever runs it:
    /// another instance takes it then. What was paused or cancelled goes on. `by` has 1 to 100 bytes, `because` 1 to
    /// 2,000 characters, and neither has control characters; the audit keeps both. Answers `false` where it was started
    /// already and has not ended. What keeps it from going on is in
    /// [`StartedBackfill::waiting`](crate::backfill::StartedBackfill::waiting). Who has no such process gives the command
    /// [`BackfillStart`](crate::operator::Command::BackfillStart).
    ///
    /// # Errors
    /// `InvalidInput` for an actor or a reason as it must not be, `Database`.
    pub async fn start(&self, by: &str, because: &str) -> Result<bool, Error> {
        let (control, name) = (&*self.shared.control, &*self.shared.name);
        let checked = check_named("actor", by).and_then(|()| check_reason(because));
        checked.map_err(|error| error.of(name))?;
        let task = NewTask {
            side: self.options.to,
            workers: self.options.workers,
            rate: self.options.rate,
            stop_after_failures: self.options.failures_max,
            actor: by.to_owned(),
            reason: because.to_owned(),
        };
        let started = control.start_task(name, &task).await?;
        self.shared.wake.notify_one();
        Ok(started)
    }

    /// Makes its workers, in all processes, wait; also after a restart, until it is resumed. Returns
    /// whether it is paused then: one that ran, or was between two of its parts (then the next one waits), or was
    /// paused already. The [audit](crate::operator::Operator::audit) keeps by whom and why, as of all commands.
    ///
    /// # Errors
    /// `InvalidInput` for an actor or a reason as it must not be, `Database`.
    pub async fn pause(&self, by: &str, because: &str) -> Result<bool, Error> {
        self.give_command(BackfillCommand::Pause, Recorded::BackfillPause, (by, because)).await
    }

    /// Lets a backfill go on that was paused or cancelled; answers whether it may. What was cancelled has no
    /// workers, and goes on when it is [`run`](Self::run) or [`start`](Self::start)ed.
    ///
    /// # Errors
    /// `InvalidInput` for an actor or a reason as it must not be, `Database`.
    pub async fn resume(&self, by: &str, because: &str) -> Result<bool, Error> {
        self.give_command(BackfillCommand::Resume, Recorded::BackfillResume, (by, because)).await
    }

    /// Ends its workers, in all processes, with `Halted`. What is copied stays copied. Returns whether it is
    /// cancelled then.
    ///
    /// # Errors
    /// `InvalidInput` for an actor or a reason as it must not be, `Database`.
    pub async fn cancel(&self, by: &str, because: &str) -> Result<bool, Error> {
        self.give_command(BackfillCommand::Cancel, Recorded::BackfillCancel, (by, because)).await
    }

    /// Changes the rate of a backfill under way, in all its parts; `None` takes the limit away. Answers `false`
    /// where none is.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub async fn set_rate(
        &self,
        keys: Option<u64>,
        by: &str,
        because: &str,
    ) -> Result<bool, Error> {
        let command = BackfillCommand::Rate(keys);
        self.give_command(command, Recorded::BackfillRate, (by, because)).await
    }

    /// Gives it, and records it with who and why in one transaction.
    async fn give_command(
        &self,
        command: BackfillCommand,
        recorded: Recorded,
        (by, because): (&str, &str),
    ) -> Result<bool, Error> {
        let (Shared { control, name, .. }, side) = (&**self.shared, self.options.to);
        let checked = check_named("actor", by).and_then(|()| check_reason(because));
        checked.map_err(|error| error.of(name))?;
        let about = match command {
            BackfillCommand::Rate(Some(keys)) => format!("to {side}: {keys} keys/s"),
            BackfillCommand::Rate(None) => format!("to {side}: no limit"),
            _ => format!("to {side}"),
        };
        let audit = NewRolloutCommand::new(recorded, by, because).about(about);
        let change = RecordedChange::Backfill(side, command);
        if control.command(name, &change, None, &audit).await? == Taken::Done {
            return Ok(true);
        }
        let newest = control.backfill(name).await?;
        let newest = newest.filter(|newest| newest.side == side);
        Ok(newest.is_some_and(|newest| command.holds(&newest)))
    }

    /// A dry run: copies every key and rolls it back again, in any stage. Says what would be written, and
    /// which keys would fail. Locks rows as the backfill does. Of a [reverse](Self::reverse) copy it counts the
    /// keys that would be removed from old, too; since they stay, a key fails that takes a unique value from one of
    /// them.
    ///
    /// # Errors
    /// `Unsupported` without a copy function, or without a way back; `Database`. A key that cannot be copied is
    /// no error.
    pub async fn dry_run(&self) -> Result<CopyReport, Error> {
        let way = Way::Rehearsal(self.options.to);
        self.shared.copier()?.walk(self.shared, way).await
    }

    /// Copies the keys from one to another, both included, to new, now and without recording progress. Keys
    /// that fail are in the answer alone.
    ///
    /// # Errors
    /// `WrongKey`, `Blocked` in a stage that does not write both sides or in which new answers for some
    /// key, `Unsupported` without a copy function or of a [reverse](Self::reverse) copy, `Database`.
    pub async fn copy_range<K: Key>(&self, from: &K, to: &K) -> Result<CopyReport, Error> {
        self.shared.check_kind(K::KIND)?;
        if self.options.to == Side::Old {
            let message =
                "a range is copied to new only: `run` a reverse copy, which does what is left";
            return Err(Error::new(ErrorKind::Unsupported, message).of(&self.shared.name));
        }
        let way = Way::Range(from.parts(), to.parts());
        self.shared.copier()?.walk(self.shared, way).await
    }

    /// Copies until every key of this generation is done, alone or beside workers in other processes;
    /// goes on where an earlier run ended. Answers with the counts.
    ///
    /// # Errors
    /// `Blocked` while some instance may still write old alone, `Halted` after too many failures,
    /// `Conflict` where the generation is raised meanwhile, `Unsupported` without a copy function,
    /// `Database`.
    pub async fn run(self) -> Result<BackfillProgress, Error> {
        let span = tracing::info_span!("backfill", migration = &*self.shared.name, side = %self.options.to);
        let backfill = self.shared.copier()?.backfill(self.shared, self.options);
        self.shared.operating(backfill.instrument(span)).await
    }
}

/// A verification about to run.
#[must_use = "call `run`"]
#[derive(Debug)]
pub struct Verification<'m> {
    shared: &'m Joined,
    options: VerifyOptions,
}

impl<'m> Verification<'m> {
    pub(crate) fn new(shared: &'m Joined) -> Self {
        Self { shared, options: VerifyOptions::default() }
    }

    /// Keys in a chunk. By default [`CHUNK_KEYS`](crate::defaults::CHUNK_KEYS), where Rust compares rows
    /// [`CHUNK_ROWS`](crate::defaults::CHUNK_ROWS), and without a [`mapping`](crate::CopyKeys::mapping)
    /// [`ASKED_KEYS`](crate::defaults::ASKED_KEYS).
    pub fn batch(mut self, keys: u32) -> Self {
        self.options.batch = Some(keys.max(1));
        self
    }

    /// Chunks that are compared at once, 1 by default. Each takes a connection of the pool, and one more is taken to look
    /// ahead; where the pool has none to spare, fewer are compared at once. It is faster where the database has a core for
    /// each of them. Only chunks of a [`mapping`](crate::CopyKeys::mapping) are compared at once.
    pub fn workers(mut self, workers: u32) -> Self {
        self.options.workers = usize::try_from(workers.clamp(1, WORKERS_MAX)).unwrap_or(1);
        self
    }

    /// Looks at this share of the chunks only, always the same ones: a quick answer that proves nothing.
    pub fn sample(mut self, share: Percent) -> Self {
        self.options.sample = Some(share);
        self
    }

    /// The most keys a second.
    pub fn rate(mut self, keys: u64) -> Self {
        self.options.rate = Some(keys);
        self
    }

    /// When it makes way for others.
    pub fn throttle(mut self, throttle: Throttle) -> Self {
        self.options.throttle = throttle;
        self
    }

    /// Keys between two records of its progress, from which it goes on after a crash;
    /// [`CHECKPOINT_KEYS`](crate::defaults::CHECKPOINT_KEYS) by default. A second ends them too.
    pub fn checkpoint(mut self, keys: u64) -> Self {
        self.options.checkpoint = keys.max(1);
        self
    }

    /// Begins with the first key, although an earlier run ended in the middle.
    pub fn restart(mut self) -> Self {
        self.options.afresh = true;
        self
    }

    /// Makes it wait, in whichever process it runs, within a second or its next
    /// [checkpoint](Self::checkpoint); also one that begins, until it is resumed. Returns whether there ever
    /// was one.
    ///
    /// # Errors
    /// `Database`.
    pub async fn pause(&self) -> Result<bool, Error> {
        self.give_command(VerifyCommand::Pause).await
    }

    /// Lets a verification go on that was paused or cancelled. What was cancelled needs [`run`](Self::run) again.
    ///
    /// # Errors
    /// `Database`.
    pub async fn resume(&self) -> Result<bool, Error> {
        self.give_command(VerifyCommand::GoOn).await
    }

    /// Ends it with `Halted`, in whichever process it runs, as soon as [`pause`](Self::pause) would make it
    /// wait; also one that begins, until it is resumed. What was found so far is kept, and the next run goes on
    /// from there. Returns whether there was one that was not complete.
    ///
    /// # Errors
    /// `Database`.
    pub async fn cancel(&self) -> Result<bool, Error> {
        self.give_command(VerifyCommand::Cancel).await
    }

    async fn give_command(&self, command: VerifyCommand) -> Result<bool, Error> {
        self.shared.control.command_verification(&self.shared.name, command).await
    }

    /// Compares the keys, goes on where an earlier run ended in the middle, and records a clean result of
    /// all keys for the gates. What seems to differ is compared again under the lock of a copy before
    /// it counts.
    ///
    /// # Errors
    /// `Blocked` in a stage that writes one side only, `Conflict` where the generation is raised meanwhile,
    /// `LeaseLost` where another verification of this migration begins, `Halted` where it is cancelled, `CopyFailed` where the comparison
    /// itself fails, `Unsupported` without a copy function, `Database`. A difference is no error; see the
    /// report.
    pub async fn run(self) -> Result<VerifyReport, Error> {
        let span = tracing::info_span!("verify", migration = &*self.shared.name);
        let verification = self.shared.copier()?.verify(self.shared, self.options);
        self.shared.operating(verification.instrument(span)).await
    }

    /// Runs again and again, with this pause in between, for as long as `each` says so, which is told every
    /// result. It ends when the future is dropped, too.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// use std::ops::ControlFlow;
    /// use std::time::Duration;
    ///
    /// async fn watch(migration: &dualwrite::Migration) {
    ///     let hour = Duration::from_secs(3600);
    ///     let told = migration.verify().every(hour, |result| match result {
    ///         Ok(report) if report.is_clean() => ControlFlow::Continue(()),
    ///         Ok(report) => ControlFlow::Break(report.differing),
    ///         Err(_) => ControlFlow::Continue(()),
    ///     });
    ///     println!("{} keys differ", told.await);
    /// }
    /// # }
    /// ```
    pub async fn every<T>(
        self,
        pause: Duration,
        mut each: impl FnMut(Result<VerifyReport, Error>) -> ControlFlow<T>,
    ) -> T {
        loop {
            let result = match self.shared.copier() {
                Ok(copier) => copier.verify(self.shared, self.options.clone()).await,
                Err(error) => Err(error),
            };
            if let ControlFlow::Break(value) = each(result) {
                return value;
            }
            clock::sleep(pause).await;
        }
    }

    /// Copies again what differs; see [`Repair`].
    pub fn repair(self) -> Repair<'m> {
        Repair { shared: self.shared, options: self.options }
    }
}

/// A repair of differences about to run: compares as the verification that it was made from, and copies
/// again by the copy function what still differs under the lock, in the same transaction. So it never goes
/// over a newer write. The side that answers reads of a key is right, the other one is written. (Keys that
/// a failed mirror write left dirty are another matter, [`Migration::repair`](crate::Migration::repair).)
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// async fn repair(migration: &dualwrite::Migration) -> Result<(), dualwrite::Error> {
///     let would = migration.verify().repair().dry_run().await?;
///     println!("{} to copy, {} to remove", would.copied, would.removed);
///     let did = migration.verify().repair().run().await?;
///     assert_eq!(did.failed, 0);
///     assert!(migration.verify().run().await?.is_clean());
///     Ok(())
/// }
/// # }
/// ```
#[must_use = "call `run` or `dry_run`"]
#[derive(Debug)]
pub struct Repair<'m> {
    shared: &'m Joined,
    options: VerifyOptions,
}

impl Repair<'_> {
    /// Does all of it, and rolls each key back again. Where new is on another server, whose writes could
    /// not be rolled back, the copy function is not called.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn dry_run(&self) -> Result<RepairReport, Error> {
        let copier = self.shared.copier()?;
        let looking = copier.repair_differences(self.shared, self.options.clone(), false);
        self.shared.operating(looking).await
    }

    /// Repairs, each key in a transaction of its own. It may be run again at any time. A key that old lacks is
    /// copied to it with the fence held alone: other writers of this migration wait meanwhile.
    ///
    /// # Errors
    /// As [`Verification::run`], and `Timeout` where writes in flight do not end within some seconds. A key that cannot be copied is no error; see the report.
    pub async fn run(self) -> Result<RepairReport, Error> {
        let repairing = self.shared.copier()?.repair_differences(self.shared, self.options, true);
        self.shared.operating(repairing).await
    }
}
