//! The end of what runs beside a test's calls, without sleeping, and an assertion about it.

use std::fmt::Write as _;
use std::sync::PoisonError;
use std::time::Duration;

use crate::clock;
use crate::compare::Shown;
use crate::control::Mismatch;
use crate::copier::joined::Joined;
use crate::database::Backend;
use crate::error::{Error, ErrorKind};
use crate::migration::Migration;
use crate::migration::transition::repair;
use crate::observe::CounterReport;
use crate::runtime::{Runtime, watch};
use crate::stages::stage::Side;
use crate::state::faults::FaultPlan;

/// How long [`Migration::settle`] waits at the most.
pub const SETTLE_WITHIN: Duration = Duration::from_secs(30);

impl FaultPlan {
    /// Strikes the writes of a migration by this plan, through whichever wrapper or closure they go, in place of a plan
    /// before. An operation is the name of a method, such as `save`; one statement over both sides of a row is a call
    /// of the side that does not answer.
    pub fn attach(&self, migration: &Migration) {
        *plan_of(migration.shared()) = Some(self.clone());
    }

    /// Strikes them no more.
    pub fn detach(migration: &Migration) {
        *plan_of(migration.shared()) = None;
    }
}

fn plan_of(shared: &Joined) -> std::sync::MutexGuard<'_, Option<FaultPlan>> {
    shared.for_tests.faults.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Migration {
    /// For tests: waits until the comparisons and lazy copies that this process has under way have ended, copies the
    /// marked keys again, and publishes what was counted. It sleeps nowhere. Do not hold a transaction of this
    /// migration open around it.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// async fn check(migration: &dualwrite::Migration) -> Result<(), dualwrite::Error> {
    ///     // … reads in `Shadow`, then:
    ///     migration.settle().await?;
    ///     assert_eq!(migration.status().await?.counters.shadow_different, 0);
    ///     Ok(())
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Timeout` after [`SETTLE_WITHIN`], which says what has not ended; those of [`Migration::repair`].
    pub async fn settle(&self) -> Result<(), Error> {
        let shared = self.shared();
        match clock::limit(SETTLE_WITHIN, quiet(shared)).await {
            Ok(ended) => ended,
            Err(()) => Err(not_quiet(shared)),
        }
    }

    /// For tests: [settles](Self::settle), and panics where a comparison found a difference, or the side beside failed,
    /// since the registration or the last [`forget_mismatches`](Migration::forget_mismatches). The panic lists the
    /// samples; their values are redacted as they are in the control tables.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// async fn check(migration: &dualwrite::Migration) {
    ///     // … reads in `Shadow`, then:
    ///     migration.assert_no_mismatch().await;
    /// }
    /// # }
    /// ```
    ///
    /// # Panics
    /// On a mismatch, and where it cannot be known.
    pub async fn assert_no_mismatch(&self) {
        if let Err(error) = self.settle().await {
            panic!("migration `{}` does not settle: {error}", self.name());
        }
        let samples = match self.mismatches().await {
            Ok(samples) => samples,
            Err(error) => panic!("mismatches of `{}` cannot be read: {error}", self.name()),
        };
        let found = Found::since_forgotten(self.shared());
        assert!(samples.is_empty() && found.is_nothing(), "{}", text(self.name(), &samples, found));
    }
}

impl<DB: Backend> Runtime<DB> {
    /// For tests: [`Migration::settle`] of every migration that is registered here.
    ///
    /// # Errors
    /// Of the first that does not settle.
    pub async fn settle(&self) -> Result<(), Error> {
        for shared in self.inner.migrations() {
            Migration::from_shared(shared).settle().await?;
        }
        Ok(())
    }

    /// For tests: [`Migration::assert_no_mismatch`] of every migration that is registered here.
    ///
    /// # Panics
    /// On a mismatch, and where it cannot be known.
    pub async fn assert_no_mismatch(&self) {
        for shared in self.inner.migrations() {
            Migration::from_shared(shared).assert_no_mismatch().await;
        }
    }
}

async fn quiet(shared: &Joined) -> Result<(), Error> {
    shared.beside.wait().await;
    // A key that the background copies meanwhile is locked until it has: this waits for it.
    repair(shared, Side::Old).await?;
    repair(shared, Side::New).await?;
    watch(shared).await;
    Ok(())
}

fn not_quiet(shared: &Joined) -> Error {
    let message = format!(
        "it has not settled within {SETTLE_WITHIN:?}: {} comparisons or lazy copies are under way; look for a side \
         that hangs, and for a transaction that is held open around this call",
        shared.beside.len()
    );
    Error::new(ErrorKind::Timeout, message).of(&shared.name)
}

/// Comparisons that found no equal answers.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Found {
    different: u64,
    /// The side beside failed, or did not answer in time.
    failed: u64,
    /// The comparison itself panicked.
    panicked: u64,
}

impl Found {
    fn of(counted: &CounterReport) -> Self {
        Self {
            different: counted.shadow_different,
            failed: counted.shadow_mirror_failed
                + counted.shadow_failed_differently
                + counted.shadow_timed_out,
            panicked: counted.shadow_panicked,
        }
    }

    fn since_forgotten(shared: &Joined) -> Self {
        let now = Self::of(&shared.counters.report());
        let before =
            Self::of(&shared.for_tests.forgotten.lock().unwrap_or_else(PoisonError::into_inner));
        Self {
            different: now.different.saturating_sub(before.different),
            failed: now.failed.saturating_sub(before.failed),
            panicked: now.panicked.saturating_sub(before.panicked),
        }
    }

    fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// How many samples are listed.
const LISTED_MAX: usize = 20;

fn text(migration: &str, samples: &[Mismatch], found: Found) -> String {
    let mut text = format!(
        "migration `{migration}`: {} comparisons differ, in {} the side beside the caller's failed, and {} panicked",
        found.different, found.failed, found.panicked
    );
    // Writing to a `String` does not fail.
    for sample in samples.iter().take(LISTED_MAX) {
        let shown = |value: &Option<Shown>| {
            value.as_ref().map_or("nothing".to_owned(), ToString::to_string)
        };
        let Mismatch { method, field, key, old, new, .. } = sample;
        let key = key.as_deref().unwrap_or("none");
        let (old, new) = (shown(old), shown(new));
        let _ = write!(
            text,
            "\n  {method}, field `{field}`, key {key}: {old} on the old side, {new} on the new side"
        );
    }
    if samples.len() > LISTED_MAX {
        let _ = write!(text, "\n  and {} more samples", samples.len() - LISTED_MAX);
    }
    text
}
