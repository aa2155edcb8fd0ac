//! How far a backfill is, and who works on it.

use std::time::Duration;

use serde::Serialize;

use crate::control::settings::BackfillSettings;
use crate::stages::stage::Side;

/// How far a backfill has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BackfillProgress {
    /// The side that is copied to: new, or old in a reverse copy.
    pub side: Side,
    /// The generation it is for.
    pub generation: u64,
    /// Keys in its range, counted at the start.
    pub total: u64,
    /// Keys whose row was written to new.
    pub migrated: u64,
    /// Keys that needed nothing: already equal, or gone.
    pub skipped: u64,
    /// Keys that could not be copied; they are in the dead letters.
    pub failed: u64,
    /// Whether an empty page proved the end.
    pub complete: bool,
    /// Somebody paused it.
    pub paused: bool,
    /// Somebody cancelled it.
    pub cancelled: bool,
    /// Why its batches wait now; `None` where they do not.
    pub throttled: Option<String>,
    /// The most keys a second, of all workers together.
    pub rate: Option<u64>,
    /// What operators have set while it runs. It is read of one migration only, and until the backfill is complete.
    pub settings: BackfillSettings,
    /// From its start to its end, or until now, pauses included.
    #[serde(rename = "elapsed_us", with = "crate::moment::span_as_micros")]
    pub elapsed: Duration,
    /// How long its workers were at work, without pauses and without the time in which it had no worker.
    #[serde(rename = "worked_us", with = "crate::moment::span_as_micros")]
    pub worked: Duration,
    /// Keys handled in the last two to four minutes of work, or since its start.
    pub recent_keys: u64,
    /// The time of work in which these were handled.
    #[serde(rename = "recent_us", with = "crate::moment::span_as_micros")]
    pub recent: Duration,
    /// Keys of the newest batch. Batches are as large as fits into the time that a transaction shall take.
    pub batch: u64,
    /// Who copies what at present, in all processes; the first [`WORKERS_SHOWN_MAX`] ranges.
    pub workers: Vec<WorkerProgress>,
}

/// How many workers a progress shows.
pub const WORKERS_SHOWN_MAX: u32 = 100;

/// A range of keys that a worker of a backfill has claimed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WorkerProgress {
    /// The worker: the [instance](crate::Runtime::instance), `/`, and a name of its own.
    pub owner: String,
    /// The last key of the range that is done, as JSON; `None` before the first key of all.
    pub after: Option<String>,
    /// The last key of the range, as JSON.
    pub last: String,
    /// Keys done in this range, by this worker and by those that it took the range over from.
    pub done: u64,
    /// How long until another worker may take the range over, unless there is progress; zero where it
    /// may already.
    #[serde(rename = "lease_left_us", with = "crate::moment::span_as_micros")]
    pub lease_left: Duration,
}

impl BackfillProgress {
    /// Whether it goes on, in a word or two: `complete`, `cancelled`, `paused`, `under way`, or `under way, without a
    /// worker` where none holds a lease.
    ///
    /// ```
    /// # async fn look(migration: &dualwrite::Migration) -> Result<(), dualwrite::Error> {
    /// if let Some(backfill) = migration.status().await?.backfill {
    ///     println!("the backfill is {}", backfill.state());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self {
            Self { complete: true, .. } => "complete",
            Self { cancelled: true, .. } => "cancelled",
            Self { paused: true, .. } => "paused",
            Self { workers, .. } if workers.iter().all(|worker| worker.lease_left.is_zero()) => {
                "under way, without a worker"
            }
            Self { .. } => "under way",
        }
    }

    /// Keys handled so far.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.migrated + self.skipped + self.failed
    }

    /// Keys not handled yet. The total is a count from the start, rows deleted since are still in it.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        if self.complete { 0 } else { self.total.saturating_sub(self.done()) }
    }

    /// Keys a second, of all workers together, while they were at work; 0.0 before the first page is done.
    #[must_use]
    pub fn keys_per_second(&self) -> f64 {
        speed(self.done(), self.worked)
    }

    /// Keys a second, of all workers together, in the last two to four minutes of work; 0.0 before the first page is done.
    ///
    /// ```
    /// # async fn look(migration: &dualwrite::Migration) -> Result<(), dualwrite::Error> {
    /// if let Some(backfill) = migration.status().await?.backfill {
    ///     println!("{:.0} keys/s, {} keys in a batch", backfill.recent_keys_per_second(), backfill.batch);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn recent_keys_per_second(&self) -> f64 {
        speed(self.recent_keys, self.recent)
    }

    /// Whether a worker is at work on it now.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let ended = self.complete || self.cancelled || self.paused;
        !ended && self.workers.iter().any(|worker| !worker.lease_left.is_zero())
    }

    /// The time that is left if it goes on as in the last minutes. Zero once it is complete. `None` before the first
    /// key, and while it does not [run](Self::is_running): nobody knows when it goes on.
    #[must_use]
    pub fn eta(&self) -> Option<Duration> {
        if self.complete {
            return Some(Duration::ZERO);
        }
        if !self.is_running() {
            return None;
        }
        let speed = self.recent_keys_per_second();
        (speed > 0.0).then(|| {
            let seconds = self.remaining() as f64 / speed;
            Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
        })
    }

    /// Share handled, 0.0 to 100.0; 100.0 only when complete.
    #[must_use]
    pub fn percent(&self) -> f64 {
        if self.complete {
            return 100.0;
        }
        let share = self.done() as f64 / self.total.max(1) as f64 * 100.0;
        share.min(99.9)
    }
}

fn speed(keys: u64, within: Duration) -> f64 {
    match within.is_zero() {
        true => 0.0,
        false => keys as f64 / within.as_secs_f64(),
    }
}
