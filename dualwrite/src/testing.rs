//! Tools for tests of services that use this library: a migration in memory that goes wherever a test
//! puts it, under a clock that the test moves.
//!
//! With the feature `testing`, which belongs into `[dev-dependencies]`, there are besides:
//!
//! | item | for |
//! |---|---|
//! | [`MigrationTest`] | takes your own migration through all stages and back, with live writes and faults, and says what is wrong with it |
//! | [`FaultPlan`], [`Recorder`] | calls of a side that fail, hang, panic, or lose their answer; what was called |
//! | [`MemorySide`] | a side in memory |
//! | `settle`, `assert_no_mismatch` of [`Migration`] and [`Runtime`](crate::Runtime) | the end of comparisons and repairs under way, without sleeping |
//!
//! The page [`guide::testing`](crate::guide::testing) begins with ten lines.

#[cfg(test)]
mod conformance;
#[cfg(feature = "testing")]
mod harness;
#[cfg(feature = "testing")]
mod memory_side;
#[cfg(feature = "testing")]
mod samples;
#[cfg(feature = "testing")]
mod settle;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{self, Clock};
use crate::control::Heartbeat;
use crate::error::Error;
use crate::migration::Migration;
use crate::runtime::{Inner, LEASE, SHUTDOWN, watch};
use crate::shadow::rules::ShadowRules;
use crate::stages::bucket::BucketRule;
use crate::stages::position::{Epoch, Percent};
use crate::stages::stage::Stage;
use crate::state::Options;
use crate::store::memory::MemoryControl;

pub use crate::clock::ManualClock;
#[cfg(feature = "testing")]
pub use crate::state::faults::{Fault, FaultPlan, RECORDED_CALLS_MAX, RecordedCall, Recorder};
#[cfg(feature = "testing")]
pub use harness::bug::{BugKind, MigrationBug};
#[cfg(feature = "testing")]
pub use harness::plan::{MigrationTest, SEED_VARIABLE};
#[cfg(feature = "testing")]
pub use harness::report::TestReport;
#[cfg(feature = "testing")]
pub use memory_side::MemorySide;
#[cfg(feature = "testing")]
pub use samples::{NumberedKey, SampleValues};
#[cfg(feature = "testing")]
pub use settle::SETTLE_WITHIN;

/// A migration without a database. Gates do not hold it; it has no transactions and no copy function.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use dualwrite::testing::TestMigration;
/// use dualwrite::{Percent, Stage};
///
/// let test = TestMigration::new("customer-email").await?;
/// test.put(Stage::Shadow, Percent::new(5)?)?;
/// assert_eq!(test.migration().position().stage, Stage::Shadow);
/// # Ok::<(), dualwrite::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct TestMigration {
    control: Arc<MemoryControl>,
    inner: Inner,
    migration: Migration,
}

impl TestMigration {
    /// A migration at `Off`, under the system's clock.
    ///
    /// # Errors
    /// None so far.
    pub async fn new(name: &str) -> Result<Self, Error> {
        Self::build(name, Clock::system(), Options::default()).await
    }

    /// A migration at `Off`, under a clock that the test moves. Its lease is [`LEASE`] and nobody
    /// extends it but [`send_heartbeat`](Self::send_heartbeat).
    ///
    /// # Errors
    /// None so far.
    pub async fn with_manual_clock(name: &str) -> Result<(Self, ManualClock), Error> {
        let (clock, hands) = Clock::manual();
        Ok((Self::build(name, clock, Options::default()).await?, hands))
    }

    /// A migration whose shadow reads are sampled and bounded as given.
    ///
    /// # Errors
    /// None so far.
    pub async fn with_shadow(
        name: &str,
        sample: Percent,
        timeout: Duration,
        concurrency: usize,
    ) -> Result<Self, Error> {
        let options = Options {
            rule: BucketRule::Hash,
            shadow_sample: sample,
            shadow_timeout: timeout,
            shadow_concurrency: concurrency,
            ..Options::default()
        };
        Self::build(name, Clock::system(), options).await
    }

    /// A migration that compares the reads of this share of keys, always the same ones.
    ///
    /// # Errors
    /// None so far.
    pub async fn with_shadow_by_key(name: &str, share: Percent) -> Result<Self, Error> {
        let options = Options { shadow_sample: share, shadow_by_key: true, ..Options::default() };
        Self::build(name, Clock::system(), options).await
    }

    /// A migration whose shadow reads, all of them, follow these rules.
    ///
    /// # Errors
    /// `InvalidInput` where the rules say what cannot be.
    pub async fn with_shadow_rules(name: &str, rules: ShadowRules) -> Result<Self, Error> {
        let options = Options { rules, ..Options::default() };
        Self::build(name, Clock::system(), options).await
    }

    /// The same, and in this field no difference is taken; see
    /// [`Registration::critical`](crate::Registration::critical).
    ///
    /// # Errors
    /// `InvalidInput` where the rules say what cannot be.
    pub async fn with_critical(
        name: &str,
        field: impl Into<String>,
        rules: ShadowRules,
    ) -> Result<Self, Error> {
        let options = Options { rules, critical: vec![field.into()], ..Options::default() };
        Self::build(name, Clock::system(), options).await
    }

    async fn build(name: &str, clock: Clock, options: Options) -> Result<Self, Error> {
        let control = Arc::new(MemoryControl::new(clock.clone()));
        let beat = Heartbeat {
            instance: "test".to_owned(),
            release: "test".to_owned(),
            min_stage: Stage::Off,
            max_stage: Stage::Complete,
            lease: LEASE,
        };
        let inner =
            Inner::new(Arc::clone(&control) as _, clock, beat, SHUTDOWN, clock::tokio_runtime()?);
        let prepared = inner.prepare(name, options, None)?;
        let mut registered = inner.register(vec![prepared]).await?;
        let migration = registered.remove(0);
        Ok(Self { control, inner, migration })
    }

    /// The handle to give to wrappers.
    #[must_use]
    pub fn migration(&self) -> &Migration {
        &self.migration
    }

    /// Puts the migration somewhere, past all gates.
    ///
    /// # Errors
    /// None so far.
    pub fn put(&self, stage: Stage, ramp: Percent) -> Result<(), Error> {
        let record = self.control.place(self.migration.name(), |record| {
            record.position.stage = stage;
            record.position.ramp = ramp;
            record.position.epoch = Epoch(record.position.epoch.0 + 1);
            record.stage_epoch = record.position.epoch;
        })?;
        self.migration.shared().apply(&record);
        Ok(())
    }

    /// Extends the lease, as the background task of a runtime does.
    ///
    /// # Errors
    /// None so far.
    pub async fn send_heartbeat(&self) -> Result<(), Error> {
        self.inner.send_heartbeat().await
    }

    /// Looks at the figures, judges and publishes them where that is due, as the background task of a
    /// runtime does once a second.
    pub async fn watch(&self) {
        watch(self.migration.shared()).await;
    }

    /// Waits until all shadow reads have ended.
    pub async fn settle(&self) {
        self.migration.shared().beside.wait().await;
    }
}
