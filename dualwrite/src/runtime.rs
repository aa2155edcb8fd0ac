//! [`Runtime`]: one running process of the service, as the other processes see it.
//!
//! One background task keeps the positions fresh, tells the others what this process has seen and
//! drained, and copies dirty keys again. It holds no lock while it waits for the database.

pub(crate) mod flags;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
pub(crate) mod rollout;
pub(crate) mod sources;
pub(crate) mod steering;

mod builder;
mod comparing;
mod following;
mod maintaining;
#[cfg(feature = "metrics")]
mod publishing;
mod registration;
mod repairing;
mod watching;

pub use builder::RuntimeBuilder;
pub use registration::Registration;
pub(crate) use watching::watch;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{self, Clock};
use crate::control::{Acknowledgement, Control, Heartbeat};
use crate::copy::Copier;
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::error::{Error, ErrorKind};
use crate::migration::Migration;
use crate::pace::replicas::Replica;
use crate::preflight::finding::Preflight;
use crate::runtime::steering::Steering;
use crate::stages::bucket::BucketRule;
use crate::stages::stage::Stage;
use crate::state::events::{Events, Hooks};
use crate::state::{Context, Lease, Options, SINGLE_WRITER_TIMEOUT, Shared, unknown_migration};

/// Default lease of an instance: so long may the control tables be out of reach before reads answer
/// with `StageUnknown`, and so long does a dead instance hold up a move.
pub const LEASE: Duration = Duration::from_secs(15);
/// Default pause between two looks at the control tables, give or take a quarter.
pub const POLL: Duration = Duration::from_millis(250);
/// Default limit on a shutdown.
pub const SHUTDOWN: Duration = Duration::from_secs(10);

/// One running process of the service. Dropped without [`shutdown`](Runtime::shutdown), its lease runs
/// out by itself.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// # use dualwrite::{BoxError, Copied, CopyKeys, KeySource, Tx};
/// # struct CopyEmail;
/// # impl CopyKeys for CopyEmail {
/// #     type Database = sqlx::Sqlite;
/// #     type Key = i64;
/// #     fn source(&self) -> KeySource { KeySource::table("customer").column("id") }
/// #     async fn copy(&self, _: &mut Tx<'_, sqlx::Sqlite>, _: &[i64]) -> Result<Copied, BoxError> { Ok(Copied::default()) }
/// # }
/// use dualwrite::{Error, Runtime};
///
/// async fn start(pool: sqlx::SqlitePool) -> Result<(), Error> {
///     let runtime = Runtime::builder(pool).release("1.4.2").start().await?;
///     let migration = runtime.migration("customer-email").backfill(CopyEmail).register().await?;
///     println!("{}", migration.position());
///     runtime.shutdown().await
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Runtime<DB: Backend> {
    inner: Arc<Inner>,
    pool: sqlx::Pool<DB>,
    replicas: Arc<[Replica<DB>]>,
}

impl<DB: Backend> Runtime<DB> {
    /// A runtime whose control tables are in the database of this pool, which must be the one that the
    /// dual writes go to.
    pub fn builder(pool: sqlx::Pool<DB>) -> RuntimeBuilder<DB> {
        let beat = Heartbeat {
            instance: uuid::Uuid::new_v4().to_string(),
            release: "unnamed".to_owned(),
            min_stage: Stage::Off,
            max_stage: Stage::Complete,
            lease: LEASE,
        };
        let (clock, hooks) = (Clock::system(), Hooks::default());
        let steering = Steering::of_process();
        RuntimeBuilder {
            pool,
            replicas: Vec::new(),
            beat,
            poll: POLL,
            shutdown: SHUTDOWN,
            clock,
            hooks,
            steering,
        }
    }

    /// A migration to register; its name is 1 to 100 of `a–z`, `0–9`, `.`, `_`, `-`.
    pub fn migration(&self, name: impl Into<String>) -> Registration<'_, DB> {
        let is_single = !DB::Adapter::DIALECT.server;
        let primary_write_timeout = is_single.then_some(SINGLE_WRITER_TIMEOUT);
        let options = Options { primary_write_timeout, ..Options::default() };
        Registration { runtime: self, name: name.into(), options, copier: None }
    }

    /// A migration that was registered here.
    ///
    /// # Errors
    /// `UnknownMigration`.
    pub fn get(&self, name: &str) -> Result<Migration, Error> {
        self.inner.find(name).map(Migration::from_shared).ok_or_else(|| unknown_migration(name))
    }

    /// The identity of this process among the instances.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.inner.beat.instance
    }

    /// Ends the background work: what was begun is finished, the instance takes itself out.
    ///
    /// # Errors
    /// `Timeout` where background work did not end in time; it is left behind. `Database`.
    pub async fn shutdown(self) -> Result<(), Error> {
        self.inner.shutdown().await
    }
}

/// The part of a runtime that does not depend on its database.
pub(crate) struct Inner {
    control: Arc<dyn Control>,
    clock: Clock,
    beat: Heartbeat,
    actor: Arc<str>,
    migrations: Mutex<Vec<Arc<Shared>>>,
    /// For how long the positions may be trusted.
    lease: Arc<Lease>,
    last_beat: AtomicU64,
    /// When the figures were looked at last.
    watched: AtomicU64,
    events: Events,
    pub(crate) tasks: TaskTracker,
    nudge: Arc<Notify>,
    pub(crate) stop: CancellationToken,
    shutdown: Duration,
    pub(crate) steering: Steering,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("instance", &self.beat.instance).finish_non_exhaustive()
    }
}

impl Inner {
    pub(crate) fn new(
        control: Arc<dyn Control>,
        clock: Clock,
        beat: Heartbeat,
        shutdown: Duration,
    ) -> Self {
        let short = beat.instance.get(..8).unwrap_or(&beat.instance);
        let actor = format!("instance {short}").into();
        Self {
            control,
            clock,
            beat,
            actor,
            migrations: Mutex::default(),
            lease: Arc::default(),
            last_beat: AtomicU64::new(0),
            watched: AtomicU64::new(0),
            events: Events::default(),
            tasks: TaskTracker::new(),
            nudge: Arc::default(),
            stop: CancellationToken::new(),
            shutdown,
            steering: Steering::none(),
        }
    }

    pub(crate) fn lease_length(&self) -> Duration {
        self.beat.lease
    }

    pub(crate) fn migrations(&self) -> Vec<Arc<Shared>> {
        self.migrations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn find(&self, name: &str) -> Option<Arc<Shared>> {
        self.migrations().into_iter().find(|shared| &*shared.name == name)
    }

    pub(crate) async fn register(
        &self,
        name: &str,
        options: Options,
        copier: Option<Arc<dyn Copier>>,
    ) -> Result<Migration, Error> {
        if self.find(name).is_some() {
            let message = "it is registered here already; clone that handle";
            return Err(Error::new(ErrorKind::InvalidInput, message).of(name));
        }
        if options.lazy && copier.is_none() {
            let message = "a lazy migration needs a copy function; add `.backfill(…)`";
            return Err(Error::new(ErrorKind::Unsupported, message).of(name));
        }
        let integer = copier.as_ref().is_none_or(|c| c.kind() == crate::key::KeyKind::INTEGER);
        if options.rule == BucketRule::Modulo && !integer {
            let message = "buckets by `id % 100` need an integer key; use BucketRule::Hash";
            return Err(Error::new(ErrorKind::WrongKey, message).of(name));
        }
        options.rules.check(&options.critical).map_err(|error| error.of(name))?;
        watching::check(options.guards.as_ref(), &options.critical)
            .map_err(|error| error.of(name))?;
        let preflight = self.look_ahead(name, copier.as_ref()).await?;
        let record = self.control.join(name, &self.beat, options.lazy).await?;
        let context = Context {
            clock: self.clock.clone(),
            control: Arc::clone(&self.control),
            lease: Arc::clone(&self.lease),
            tasks: self.tasks.clone(),
            nudge: Arc::clone(&self.nudge),
            instance: self.beat.instance.as_str().into(),
            actor: Arc::clone(&self.actor),
            events: self.events.clone(),
        };
        let shared = Arc::new(Shared::new(&record, options, copier, context));
        shared.set_preflight(preflight);
        self.steering.ask(&shared).await;
        self.migrations.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&shared));
        self.beat().await?;
        self.steering.kill(&shared).await;
        Ok(Migration::from_shared(shared))
    }

    /// What the catalogue says of the tables of a migration. What it refuses fails the registration of one that
    /// has not begun; later the instance joins all the same, and forward moves wait.
    async fn look_ahead(
        &self,
        name: &str,
        copier: Option<&Arc<dyn Copier>>,
    ) -> Result<Preflight, Error> {
        let Some(copier) = copier else { return Ok(Preflight::default()) };
        let found = match copier.preflight(name).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(migration = name, %error, "no preflight; the next move asks again");
                return Ok(Preflight::default());
            }
        };
        let refused: Vec<String> = found.refusals().map(ToString::to_string).collect();
        if refused.is_empty() {
            return Ok(found);
        }
        let records = self.control.load().await?;
        let begun = records
            .iter()
            .any(|record| record.name == name && record.position.reaches() > Stage::Off);
        if begun {
            tracing::error!(migration = name, ?refused, "the preflight blocks every move forward");
            return Ok(found);
        }
        Err(Error::new(ErrorKind::Unsupported, refused.join("; ")).of(name))
    }

    /// Extends the lease. The order matters: only when the others see us alive, with what we have
    /// drained, may the positions that we read *after* that be trusted for a lease, counted from
    /// *before* the heartbeat was sent.
    pub(crate) async fn beat(&self) -> Result<(), Error> {
        let sent = self.clock.ticks();
        let acknowledged = self.acknowledgements();
        self.control.heartbeat(&self.beat, &acknowledged).await?;
        let received = self.clock.ticks();
        self.look().await?;
        if !self.stop.is_cancelled() {
            let lease = self.clock.ticks_in(self.beat.lease);
            self.lease.extend(sent, received, self.clock.ticks(), lease);
        }
        self.last_beat.store(sent, Relaxed);
        Ok(())
    }

    fn acknowledgements(&self) -> Vec<Acknowledgement> {
        let acknowledge = |shared: &Arc<Shared>| Acknowledgement {
            migration: shared.name.to_string(),
            seen: shared.position().epoch,
            drained: shared.drained(),
            lazy: shared.options.lazy,
            wanted: shared.flags().wanted,
            killed_by: shared.flags().killed_by,
        };
        self.migrations().iter().map(acknowledge).collect()
    }

    /// Reads the positions. Returns whether any changed.
    async fn look(&self) -> Result<bool, Error> {
        let records = self.control.load().await?;
        self.steering.check_switch(&records);
        let mut changed = false;
        for shared in self.migrations() {
            let record = records.iter().find(|record| *record.name == *shared.name);
            shared.set_known(record.is_some());
            if let Some(record) = record {
                changed |= shared.apply(record);
            }
        }
        Ok(changed)
    }

    /// One round of the background task. `told` is what was acknowledged last.
    async fn round(&self, told: &mut Vec<Acknowledgement>) -> Result<(), Error> {
        self.look().await?;
        let acknowledged = self.acknowledgements();
        let since = self.clock.nanos(self.last_beat.load(Relaxed), self.clock.ticks());
        let due = Duration::from_nanos(since) >= self.beat.lease / 3;
        if due || acknowledged != *told {
            self.beat().await?;
            *told = acknowledged;
        }
        Ok(())
    }

    async fn shutdown(&self) -> Result<(), Error> {
        self.stop.cancel();
        // Whoever reads from now on must not rely on a position that nobody refreshes.
        self.lease.end();
        self.tasks.close();
        let drained = clock::limit(self.shutdown, self.tasks.wait()).await;
        self.control.leave(&self.beat.instance).await?;
        drained.map_err(|()| {
            let left = self.tasks.len();
            Error::new(ErrorKind::Timeout, format!("{left} background tasks did not end in time"))
        })
    }
}
