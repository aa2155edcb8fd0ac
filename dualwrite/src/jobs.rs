//! What runs for minutes or hours: the handles of a backfill and of a verification.

use std::time::Duration;

use tracing::Instrument as _;

use crate::backfill::decide::BATCH_KEYS;
use crate::backfill::run::BackfillOptions;
use crate::backfill::throttle::Throttle;
use crate::backfill::walk::{Walk, Way};
use crate::control::{BackfillProgress, Order};
use crate::error::Error;
use crate::key::Key;
use crate::shared::Shared;
use crate::stage::Side;
use crate::verify::run::VerifyReport;

/// A backfill about to run.
#[must_use = "call `run`"]
#[derive(Debug)]
pub struct Backfill<'m> {
    shared: &'m Shared,
    options: BackfillOptions,
}

impl<'m> Backfill<'m> {
    pub(crate) fn new(shared: &'m Shared) -> Self {
        Self { shared, options: BackfillOptions::default() }
    }

    /// Copies from new to old instead, what was written to new alone: after `Complete` (or a ramp
    /// toward it) the migration steps back to `RampDown`, where both are written again, and with this
    /// and a verification old may answer once more. Needs `copy_back` and `new_source`.
    pub fn reverse(mut self) -> Self {
        self.options.to = Side::Old;
        self
    }

    /// Keys per transaction, at most; see [`BATCH_KEYS`](crate::BATCH_KEYS). How many there are follows
    /// from [`batch_time`](Self::batch_time), and shrinks around rows that fail.
    pub fn batch(mut self, keys: u32) -> Self {
        self.options.batch = keys.max(1);
        self
    }

    /// The time that a transaction shall take; see [`BATCH_TIME`](crate::BATCH_TIME).
    pub fn batch_time(mut self, target: Duration) -> Self {
        self.options.batch_time = target;
        self
    }

    /// The most keys a second, of all workers together; also while it runs, from any process, by
    /// [`set_rate`](Self::set_rate).
    pub fn rate(mut self, keys: u64) -> Self {
        self.options.rate = Some(keys);
        self
    }

    /// When it makes way for others.
    pub fn throttle(mut self, throttle: Throttle) -> Self {
        self.options.throttle = throttle;
        self
    }

    /// Counts the keys at the start, instead of believing the catalogue of PostgreSQL where that speaks of
    /// more than 100,000.
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

    /// Makes its workers, in all processes, wait; also after a restart, until it is resumed. Returns
    /// whether there was one that ran.
    ///
    /// # Errors
    /// `Database`.
    pub async fn pause(&self) -> Result<bool, Error> {
        self.order(Order::Pause).await
    }

    /// Lets a backfill go on that was paused or cancelled. What was cancelled needs workers again: `run`.
    ///
    /// # Errors
    /// `Database`.
    pub async fn resume(&self) -> Result<bool, Error> {
        self.order(Order::Resume).await
    }

    /// Ends its workers, in all processes, with `Halted`. What is copied stays copied.
    ///
    /// # Errors
    /// `Database`.
    pub async fn cancel(&self) -> Result<bool, Error> {
        self.order(Order::Cancel).await
    }

    /// Changes the rate of a backfill under way; `None` takes the limit away.
    ///
    /// # Errors
    /// `Database`.
    pub async fn set_rate(&self, keys: Option<u64>) -> Result<bool, Error> {
        self.order(Order::Rate(keys)).await
    }

    async fn order(&self, order: Order) -> Result<bool, Error> {
        let shared = self.shared;
        shared.control.order(&shared.name, self.options.to, order).await
    }

    /// A rehearsal: copies every key and rolls it back again, in any stage. Says what would be written, and
    /// which keys would fail. Locks rows as the backfill does.
    ///
    /// # Errors
    /// `Unsupported` without a copy function, `Database`. A key that cannot be copied is no error.
    pub async fn dry_run(&self) -> Result<Walk, Error> {
        let way = Way { from: None, to: None, keep: false };
        self.shared.copier()?.walk(self.shared, way).await
    }

    /// Copies the keys from one to another, both included, now and without recording progress. Keys that
    /// fail are in the answer alone.
    ///
    /// # Errors
    /// `WrongKey`, `Blocked` in a stage that does not write both sides or in which new answers for some
    /// key, `Unsupported` without a copy function, `Database`.
    pub async fn copy_range<K: Key>(&self, from: &K, to: &K) -> Result<Walk, Error> {
        self.shared.check_kind(K::KIND)?;
        let way = Way { from: Some(from.parts()), to: Some(to.parts()), keep: true };
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
        self.shared.copier()?.backfill(self.shared, self.options).instrument(span).await
    }
}

/// A verification about to run.
#[must_use = "call `run`"]
#[derive(Debug)]
pub struct Verification<'m> {
    shared: &'m Shared,
    batch: u32,
}

impl<'m> Verification<'m> {
    pub(crate) fn new(shared: &'m Shared) -> Self {
        Self { shared, batch: BATCH_KEYS }
    }

    /// Keys per transaction; 1,000 by default.
    pub fn batch(mut self, keys: u32) -> Self {
        self.batch = keys.max(1);
        self
    }

    /// Compares every key and records a clean result for the gates.
    ///
    /// # Errors
    /// `Blocked` in a stage that writes one side only, `CopyFailed` where the comparison itself fails,
    /// `Unsupported` without a copy function, `Database`. A difference is no error; see the report.
    pub async fn run(self) -> Result<VerifyReport, Error> {
        let span = tracing::info_span!("verify", migration = &*self.shared.name);
        self.shared.copier()?.verify(self.shared, self.batch).instrument(span).await
    }
}
