//! What a service asks before it uses what is to be removed: [`RemovalSwitch`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Runtime;

use crate::clock::Clock;
use crate::control::Control;
use crate::database::Backend;
use crate::error::Error;
use crate::removal::declared::Removal;
use crate::removal::phase::RemovalPhase;
use crate::stages::name::check_name;

/// For how long the phase that was read last is gone by.
pub const REMOVAL_PHASE_KNOWN_FOR: Duration = Duration::from_secs(5);
/// How many calls of one process are named; those that come later are named `other calls`.
pub const REMOVAL_CALLS_MAX: usize = 100;
/// So often one use is recorded.
const RECORD_EVERY_NS: u64 = 60_000_000_000;

/// Whether what is to be removed may still be used. The code that uses it asks before it does, and says which call it is:
/// by that name it is reported.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use dualwrite::{Error, removal::Removal, Runtime};
///
/// async fn save(runtime: &Runtime<sqlx::Sqlite>) -> Result<(), Error> {
///     let fax = runtime.removal("customer-fax", Removal::new().column("customer", "fax")).await?;
///     if fax.may_write("save_customer").await {
///         // UPDATE customer SET fax = …
///     }
///     Ok(())
/// }
/// # }
/// ```
pub struct RemovalSwitch {
    control: Arc<dyn Control>,
    clock: Clock,
    name: String,
    instance: String,
    /// The phase, by its place among all, and when it was read.
    phase: AtomicU8,
    read_at: AtomicU64,
    recorded: Mutex<HashMap<(&'static str, String), u64>>,
}

impl std::fmt::Debug for RemovalSwitch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemovalSwitch").field("removal", &self.name).finish_non_exhaustive()
    }
}

impl RemovalSwitch {
    /// Whether it may be written. Once writes are stopped, no.
    pub async fn may_write(&self, call: &str) -> bool {
        self.may("write", call, RemovalPhase::WritesStopped).await
    }

    /// Whether it may be read. Once reads are stopped, no.
    pub async fn may_read(&self, call: &str) -> bool {
        self.may("read", call, RemovalPhase::ReadsStopped).await
    }

    async fn may(&self, kind: &'static str, call: &str, stopped: RemovalPhase) -> bool {
        let phase = self.phase().await;
        if phase >= stopped {
            return false;
        }
        if phase > RemovalPhase::InUse && self.is_due(kind, call) {
            let who = format!("{}, {call}", self.instance);
            if let Err(error) = self.control.removal_used(&self.name, kind, &who).await {
                tracing::warn!(removal = self.name, %error, "a use was not recorded; trying again");
                self.recorded().remove(&(kind, call.to_owned()));
            }
        }
        true
    }

    fn recorded(&self) -> std::sync::MutexGuard<'_, HashMap<(&'static str, String), u64>> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_due(&self, kind: &'static str, call: &str) -> bool {
        let (now, mut recorded) = (self.clock.now(), self.recorded());
        let mut key = (kind, call.to_owned());
        if recorded.len() >= REMOVAL_CALLS_MAX && !recorded.contains_key(&key) {
            key.1 = "other calls".to_owned();
        }
        let due = recorded.get(&key).is_none_or(|at| now.saturating_sub(*at) >= RECORD_EVERY_NS);
        if due {
            recorded.insert(key, now);
        }
        due
    }

    /// What was read last, where that is not long ago, or the database does not answer.
    async fn phase(&self) -> RemovalPhase {
        let known =
            RemovalPhase::ALL[usize::from(self.phase.load(Relaxed)) % RemovalPhase::ALL.len()];
        let (now, read_at) = (self.clock.now(), self.read_at.load(Relaxed));
        let fresh = Duration::from_nanos(now.saturating_sub(read_at)) < REMOVAL_PHASE_KNOWN_FOR;
        // One caller asks, and the others go by what is known.
        if fresh || self.read_at.compare_exchange(read_at, now, Relaxed, Relaxed).is_err() {
            return known;
        }
        match self.control.removal(&self.name).await {
            Ok(facts) => {
                self.keep(facts.phase);
                facts.phase
            }
            Err(error) => {
                tracing::warn!(removal = self.name, %error, "the phase cannot be read; going by {known}");
                known
            }
        }
    }

    fn keep(&self, phase: RemovalPhase) {
        let place = RemovalPhase::ALL.iter().position(|one| *one == phase).unwrap_or_default();
        self.phase.store(u8::try_from(place).unwrap_or_default(), Relaxed);
    }
}

impl<DB: Backend> Runtime<DB> {
    /// Declares that tables or columns are to be removed, which nothing takes the place of, and answers with what the code
    /// that uses them asks before it does. An operator takes it from phase to phase: see [`Removing`](crate::migration::Removing).
    ///
    /// # Errors
    /// `InvalidInput` that names what is wrong with the name or the declaration; `Database`.
    pub async fn removal(
        &self,
        name: impl Into<String>,
        removal: Removal,
    ) -> Result<RemovalSwitch, Error> {
        let name = name.into();
        check_name(&name)?;
        removal.check()?;
        let inner = &self.inner;
        inner.control.declare_removal(&name, &removal).await?;
        let phase = inner.control.removal(&name).await?.phase;
        let switch = RemovalSwitch {
            control: Arc::clone(&inner.control),
            clock: inner.clock.clone(),
            name,
            instance: inner.heartbeat.instance.clone(),
            phase: AtomicU8::new(0),
            read_at: AtomicU64::new(inner.clock.now()),
            recorded: Mutex::default(),
        };
        switch.keep(phase);
        Ok(switch)
    }
}
