//! What a running process of the service has besides its [`Runtime`]: sources of flags, and what it tells. The handle
//! itself is at the root of the crate.

// One background task keeps the positions fresh, tells the others what this process has seen and
// drained, and copies dirty keys again. It holds no lock while it waits for the database.

pub(crate) mod flags;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
pub(crate) mod rollout;
pub(crate) mod sources;
mod steered;
pub(crate) mod steering;

mod background_jobs;
mod builder;
mod comparing;
mod contracts;
mod drift;
mod due;
pub(crate) mod health;
mod heartbeats;
mod jobs;
mod listening;
mod maintaining;
mod preflight;
#[cfg(feature = "metrics")]
mod publishing;
mod registration;
pub(crate) mod removal;
mod repairing;
mod traffic;
mod watching;

pub use crate::runtime::removal::RemovalSwitch;
pub use crate::runtime::sources::env::EnvFlags;
#[cfg(feature = "toml")]
pub use crate::runtime::sources::file::FileFlags;
#[cfg(feature = "open-feature")]
pub use crate::runtime::sources::open_feature::OpenFeatureFlags;
pub use crate::state::events::RuntimeEvent;

pub use builder::RuntimeBuilder;
use drift::{Awake, Reading};
use heartbeats::Sent;
use listening::Ear;
pub use registration::Registration;
pub(crate) use watching::watch;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{self, Clock};
use crate::control::{Control, Heartbeat};
use crate::copier::joined::Joined;
use crate::copier::port::Copier;
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, Engine};
use crate::error::{Error, ErrorKind};
use crate::migration::Migration;
use crate::pace::replicas::Replica;
use crate::runtime::steering::Steering;
use crate::stages::bucket::BucketRule;
use crate::stages::stage::Stage;
use crate::state::events::{Events, Hooks};
use crate::state::{Context, Lease, Options, SINGLE_WRITER_TIMEOUT, Shared, unknown_migration};
use crate::store::sql::statement_limit;

/// Default lease of an instance: so long may the control tables be out of reach before reads answer
/// with `StageUnknown`, and so long does a dead instance hold up a move.
pub const LEASE: Duration = Duration::from_secs(15);
/// Default pause between two looks at the control tables, give or take a quarter. While nothing is under way,
/// PostgreSQL, which tells of changes, is asked with each heartbeat only.
pub const POLL: Duration = Duration::from_millis(600);
/// Default limit on a shutdown.
pub const SHUTDOWN: Duration = Duration::from_secs(10);

/// One running process of the service. Dropped without [`shutdown`](Runtime::shutdown), every operation of its
/// migrations is answered with `ShuttingDown` all the same, and its lease runs out by itself.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// # use dualwrite::{BoxError, Copied, copy::KeySource, CopyKeys, Tx};
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
    pub(crate) inner: Arc<Inner>,
    pool: sqlx::Pool<DB>,
    replicas: Arc<[Replica<DB>]>,
    engine: Engine,
}

impl<DB: Backend> Runtime<DB> {
    /// A runtime whose control tables are in the database of this pool, which must be the one that the
    /// dual writes go to.
    pub fn builder(pool: sqlx::Pool<DB>) -> RuntimeBuilder<DB> {
        let heartbeat = Heartbeat {
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
            heartbeat,
            poll: POLL,
            shutdown: SHUTDOWN,
            clock,
            hooks,
            steering,
            accepted: None,
        }
    }

    /// A migration to register; its name is 1 to 100 of `a–z`, `0–9`, `.`, `_`, `-`.
    pub fn migration(&self, name: impl Into<String>) -> Registration<'_, DB> {
        let is_single = !DB::Adapter::DIALECT.server;
        let primary_write_timeout = is_single.then_some(SINGLE_WRITER_TIMEOUT);
        let options = Options { primary_write_timeout, ..Options::default() };
        Registration { runtime: self, name: name.into(), options, copier: None }
    }

    /// Registers several migrations at once, as each would be by
    /// [`Registration::register`]: with as many statements as for one. Answers in their order.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// use dualwrite::{Error, Migration, Runtime};
    ///
    /// async fn start(runtime: &Runtime<sqlx::Sqlite>) -> Result<Vec<Migration>, Error> {
    ///     let names = ["customer-email", "order-total"];
    ///     runtime.register_all(names.map(|name| runtime.migration(name))).await
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Registration::register`], for the first that has one; then none is registered.
    pub async fn register_all<'r>(
        &'r self,
        registrations: impl IntoIterator<Item = Registration<'r, DB>>,
    ) -> Result<Vec<Migration>, Error> {
        let prepared = registrations.into_iter().map(Registration::prepare);
        self.inner.register(prepared.collect::<Result<_, _>>()?).await
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
        &self.inner.heartbeat.instance
    }

    /// The engine behind the pool, as it was found at the start.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Ends this runtime. From the beginning on every operation is answered with `ShuttingDown`, so drain your callers
    /// first. Reads, transactions and moves that are in flight are finished; backfills, verifications and rollouts
    /// end, and go on elsewhere. Then the instance takes itself out.
    ///
    /// # Errors
    /// `Timeout` where something did not end in time; it is left behind. `Database`.
    pub async fn shutdown(self) -> Result<(), Error> {
        self.inner.shutdown().await
    }
}

/// A migration that can be registered.
pub(crate) struct Prepared {
    name: String,
    options: Options,
    copier: Option<Arc<dyn Copier>>,
}

/// The part of a runtime that does not depend on its database.
pub(crate) struct Inner {
    control: Arc<dyn Control>,
    clock: Clock,
    heartbeat: Heartbeat,
    actor: Arc<str>,
    migrations: Mutex<Vec<Arc<Joined>>>,
    /// For how long the positions may be trusted.
    lease: Arc<Lease>,
    /// What the control tables know of this instance. Held while a heartbeat is under way.
    beats: tokio::sync::Mutex<Sent>,
    /// When the figures were looked at last.
    watched: AtomicU64,
    /// When catalogues were last read again.
    catalogues_read: AtomicU64,
    events: Events,
    pub(crate) tasks: TaskTracker,
    wake: Arc<Notify>,
    /// What callers have under way.
    operations: TaskTracker,
    ear: Arc<Ear>,
    clocks: Mutex<Option<Reading>>,
    awake: Mutex<Option<Awake>>,
    /// A shutdown has begun: jobs end.
    pub(crate) closing: CancellationToken,
    /// The background task itself ends.
    pub(crate) stop: CancellationToken,
    handle: Handle,
    shutdown: Duration,
    pub(crate) steering: Steering,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("instance", &self.heartbeat.instance).finish_non_exhaustive()
    }
}

impl Inner {
    pub(crate) fn new(
        control: Arc<dyn Control>,
        clock: Clock,
        heartbeat: Heartbeat,
        shutdown: Duration,
        handle: Handle,
    ) -> Self {
        let short = heartbeat.instance.get(..8).unwrap_or(&heartbeat.instance);
        let actor = format!("instance {short}").into();
        Self {
            control,
            clock,
            heartbeat,
            actor,
            migrations: Mutex::default(),
            lease: Arc::default(),
            beats: tokio::sync::Mutex::default(),
            watched: AtomicU64::new(0),
            catalogues_read: AtomicU64::new(0),
            events: Events::default(),
            tasks: TaskTracker::new(),
            wake: Arc::default(),
            operations: TaskTracker::new(),
            ear: Arc::default(),
            clocks: Mutex::default(),
            awake: Mutex::default(),
            closing: CancellationToken::new(),
            stop: CancellationToken::new(),
            handle,
            shutdown,
            steering: Steering::none(),
        }
    }

    pub(crate) fn lease_length(&self) -> Duration {
        self.heartbeat.lease
    }

    /// The limit on a statement of converging mode: where there is one writer at a time, it waits for others.
    pub(crate) fn statement_limit<DB: Backend>(&self) -> Duration {
        let limit = statement_limit(self.heartbeat.lease);
        if DB::Adapter::DIALECT.server { limit } else { limit.max(SINGLE_WRITER_TIMEOUT) }
    }

    pub(crate) fn migrations(&self) -> Vec<Arc<Joined>> {
        self.migrations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn find(&self, name: &str) -> Option<Arc<Joined>> {
        self.migrations().into_iter().find(|shared| &*shared.name == name)
    }

    /// A migration about to be registered here, if it can be.
    pub(crate) fn prepare(
        &self,
        name: &str,
        options: Options,
        copier: Option<Arc<dyn Copier>>,
    ) -> Result<Prepared, Error> {
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
        if let Some(contract) = &options.contract {
            contract.check().map_err(|error| error.of(name))?;
        }
        if let Some(expand) = &options.expand {
            expand.check().map_err(|error| error.of(name))?;
        }
        options.rules.check(&options.critical).map_err(|error| error.of(name))?;
        watching::check(options.guards.as_ref(), &options.critical)
            .map_err(|error| error.of(name))?;
        Ok(Prepared { name: name.to_owned(), options, copier })
    }

    /// Registers migrations: as many statements for fifty as for one.
    pub(crate) async fn register(&self, prepared: Vec<Prepared>) -> Result<Vec<Migration>, Error> {
        clock::tokio_runtime()?;
        if self.lease.is_closed() {
            return Err(Error::shutting_down());
        }
        let names: Vec<&str> = prepared.iter().map(|prepared| &*prepared.name).collect();
        if let Some(at) = (1..names.len()).find(|at| names[..*at].contains(&names[*at])) {
            let message = "it is registered twice at once; clone the first handle";
            return Err(Error::new(ErrorKind::InvalidInput, message).of(names[at]));
        }
        let mut preflights = Vec::with_capacity(prepared.len());
        for prepared in &prepared {
            preflights.push(self.run_preflight(&prepared.name, prepared.copier.as_ref()).await?);
        }
        let records = self.control.enlist(&names).await?;
        let mut registered = Vec::with_capacity(prepared.len());
        for (Prepared { name, options, copier }, preflight) in prepared.into_iter().zip(preflights)
        {
            let record = records.iter().find(|record| record.name == name);
            let record = record.ok_or_else(|| unknown_migration(&name))?;
            contracts::join(&*self.control, record, &options).await?;
            let kind = copier.as_ref().map(|copier| copier.kind());
            let known = Shared::new(record, options, kind, self.context());
            let shared = Arc::new(Joined::new(known, copier));
            preflight::keep(&shared, preflight).await;
            self.steering.ask(&shared).await;
            registered.push(shared);
        }
        self.migrations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(registered.iter().cloned());
        self.send_heartbeat().await?;
        for shared in &registered {
            self.steering.kill(shared).await;
        }
        Ok(registered.into_iter().map(Migration::from_shared).collect())
    }

    fn context(&self) -> Context {
        Context {
            clock: self.clock.clone(),
            control: Arc::clone(&self.control),
            lease: Arc::clone(&self.lease),
            tasks: self.tasks.clone(),
            operations: self.operations.clone(),
            closing: self.closing.clone(),
            handle: self.handle.clone(),
            wake: Arc::clone(&self.wake),
            instance: self.heartbeat.instance.as_str().into(),
            actor: Arc::clone(&self.actor),
            events: self.events.clone(),
        }
    }

    /// Nothing more begins.
    fn close(&self) {
        self.lease.close(self.clock.ticks());
        self.closing.cancel();
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.tasks.spawn_on(work, &self.handle)
    }

    /// Three quarters of the time for what callers have in flight, while the lease is still kept; the rest for the
    /// background.
    async fn shutdown(&self) -> Result<(), Error> {
        self.close();
        self.operations.close();
        let finished = clock::limit(self.shutdown * 3 / 4, self.finish()).await;
        self.note_old_reads().await;
        for shared in self.migrations() {
            traffic::flush(&shared).await;
        }
        self.stop.cancel();
        // Whoever reads from now on must not rely on a position that nobody refreshes.
        self.lease.end();
        self.tasks.close();
        let drained = clock::limit(self.shutdown / 4, self.tasks.wait()).await;
        let left = self.control.leave(&self.heartbeat.instance).await;
        self.control.close();
        self.close_stores();
        left?;
        if finished.and(drained).is_ok() {
            return Ok(());
        }
        let reads = self.migrations().iter().filter(|shared| !shared.in_flight.is_idle()).count();
        let message = format!(
            "not all ended in time: {} operations (transactions, moves, jobs), reads of {reads} migrations, {} \
             background tasks; drain your callers before you shut down",
            self.operations.len(),
            self.tasks.len()
        );
        Err(Error::new(ErrorKind::Timeout, message))
    }

    /// Waits for what callers have in flight.
    async fn finish(&self) {
        self.operations.wait().await;
        while !self.migrations().iter().all(|shared| shared.in_flight.is_idle()) {
            clock::sleep(FINISHED).await;
        }
    }
}

/// How often a shutdown looks whether reads have ended.
const FINISHED: Duration = Duration::from_millis(5);

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
        self.stop.cancel();
        self.control.close();
        self.close_stores();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Closed, ErrorKind, Maintenance};
    use crate::store::memory::MemoryControl;

    #[tokio::test]
    async fn what_is_closed_is_known_before_the_first_heartbeat_of_who_registers() {
        let clock = Clock::system();
        let control = Arc::new(MemoryControl::new(clock.clone()));
        let heartbeat = Heartbeat {
            instance: "late".to_owned(),
            release: "test".to_owned(),
            min_stage: Stage::Off,
            max_stage: Stage::Complete,
            lease: LEASE,
        };
        let handle = clock::tokio_runtime().unwrap();
        let inner = Inner::new(Arc::clone(&control) as _, clock, heartbeat, SHUTDOWN, handle);
        let mut record = control.enlist(&["notes"]).await.unwrap().remove(0);
        record.position.closed = Closed::Calls;
        let (actor, reason) = ("ada".to_owned(), "new disks".to_owned());
        record.maintenance = Some(Maintenance {
            closed: Closed::Calls,
            actor,
            reason,
            until: crate::moment::from_micros(7),
        });
        // As `register` does, whose heartbeat comes later.
        let shared = Shared::new(&record, Options::default(), None, inner.context());
        assert_eq!(shared.maintenance(), record.maintenance);
        for refused in [shared.check_writes(), shared.check_reads(shared.position())] {
            let refused = refused.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Maintenance);
            assert_eq!(refused.maintenance(), record.maintenance.as_ref());
        }
    }
}
