//! [`Runtime`]: one running process of the service, as the other processes see it.
//!
//! One background task keeps the positions fresh, tells the others what this process has seen and
//! drained, and copies dirty keys again. It holds no lock while it waits for the database.

mod comparing;
#[cfg(feature = "metrics")]
mod publishing;
mod repairing;
mod watching;

pub(crate) use watching::watch;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backend::Backend;
use crate::backend::sealed::Adapter as _;
use crate::bucket::BucketRule;
use crate::clock::{self, Clock};
use crate::control::sql::SqlControl;
use crate::control::{Acknowledgement, Control, Heartbeat, Watch};
use crate::copy::run::Registered;
use crate::copy::{Copier, CopyKeys};
use crate::error::{Error, ErrorKind};
use crate::events::{Events, Hooks};
use crate::migration::Migration;
use crate::moving::NAME_BYTES_MAX;
use crate::position::Percent;
use crate::shared::{Context, Lease, MirrorPolicy, Options, Shared, unknown_migration};
use crate::stage::Stage;
use crate::steering::{Steering, steer_all};

/// Default lease of an instance: so long may the control tables be out of reach before reads answer
/// with `StageUnknown`, and so long does a dead instance hold up a move.
pub const LEASE: Duration = Duration::from_secs(15);
/// Default pause between two looks at the control tables, give or take a quarter.
pub const POLL: Duration = Duration::from_millis(250);
/// Default limit on a shutdown.
pub const SHUTDOWN: Duration = Duration::from_secs(10);

/// Builds a [`Runtime`].
#[must_use = "call `start`"]
#[derive(Debug)]
pub struct RuntimeBuilder<DB: Backend> {
    pool: sqlx::Pool<DB>,
    beat: Heartbeat,
    poll: Duration,
    shutdown: Duration,
    pub(crate) steering: Steering,
    clock: Clock,
    hooks: Hooks,
}

impl<DB: Backend> RuntimeBuilder<DB> {
    /// The release of the service, shown to operators and used by gates; at most 100 bytes.
    pub fn release(mut self, release: impl Into<String>) -> Self {
        self.beat.release = release.into();
        self
    }

    /// The lease; see [`LEASE`].
    pub fn lease(mut self, lease: Duration) -> Self {
        self.beat.lease = lease;
        self
    }

    /// The pause between two looks at the control tables; see [`POLL`].
    pub fn poll(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }

    /// The limit on a shutdown; see [`SHUTDOWN`].
    pub fn shutdown_within(mut self, limit: Duration) -> Self {
        self.shutdown = limit;
        self
    }

    /// The stages that this build can run; all by default. A move beyond them waits until no such
    /// instance lives.
    pub fn stages(mut self, first: Stage, last: Stage) -> Self {
        self.beat.min_stage = first;
        self.beat.max_stage = last;
        self
    }

    /// Makes the control tables where they are missing, and starts the background task.
    ///
    /// # Errors
    /// `Database` where the database cannot be reached, `NewerControlTables`, `InvalidInput`.
    pub async fn start(self) -> Result<Runtime<DB>, Error> {
        if self.beat.release.is_empty() || self.beat.release.len() > NAME_BYTES_MAX {
            let message = format!("the release must have 1 to {NAME_BYTES_MAX} bytes");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        if self.beat.lease < self.poll * 3 {
            let message = "the lease must be at least three polls long, or it runs out by itself";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let control: Arc<dyn Control> =
            Arc::new(SqlControl::new(DB::Adapter::control_pool(&self.pool)));
        control.install().await?;
        let mut inner = Inner::new(control, self.clock, self.beat, self.shutdown);
        inner.tell(self.hooks);
        inner.steering = self.steering;
        let inner = Arc::new(inner);
        let stop = inner.stop.clone();
        inner.tasks.spawn(maintain(Arc::downgrade(&inner), self.poll, stop));
        Ok(Runtime { inner, pool: self.pool })
    }
}

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
        RuntimeBuilder { pool, beat, poll: POLL, shutdown: SHUTDOWN, clock, hooks, steering }
    }

    /// A migration to register; its name is 1 to 100 of `a–z`, `0–9`, `.`, `_`, `-`.
    pub fn migration(&self, name: impl Into<String>) -> Registration<'_, DB> {
        Registration { runtime: self, name: name.into(), options: Options::default(), copier: None }
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

/// A migration about to be registered.
#[must_use = "call `register`"]
pub struct Registration<'r, DB: Backend> {
    runtime: &'r Runtime<DB>,
    name: String,
    pub(crate) options: Options,
    copier: Option<Result<Arc<dyn Copier>, Error>>,
}

impl<DB: Backend> Registration<'_, DB> {
    /// The copy function.
    pub fn backfill<C: CopyKeys<Database = DB>>(mut self, copy: C) -> Self {
        let registered = Registered::new(copy, self.runtime.pool.clone());
        self.copier = Some(registered.map(|registered| Arc::new(registered) as Arc<dyn Copier>));
        self
    }

    /// Reads marked `lazy` copy a key that new misses; the migration may then go live before its
    /// backfill is complete, and on to `RampDown` when it is. Needs a copy function.
    pub fn lazy(mut self) -> Self {
        self.options.lazy = true;
        self
    }

    /// How keys are assigned to buckets; by hash unless said otherwise.
    pub fn buckets(mut self, rule: BucketRule) -> Self {
        self.options.rule = rule;
        self
    }

    /// What a failed mirror write does; see [`MirrorPolicy`].
    pub fn mirror(mut self, policy: MirrorPolicy) -> Self {
        self.options.mirror = policy;
        self
    }

    /// How long `Live` must last before `RampDown`; no time at all by default.
    pub fn soak(mut self, soak: Duration) -> Self {
        self.options.soak = soak;
        self
    }

    /// No key enters this stage, not even by a ramp, before somebody has given the approval of this name
    /// in the stage before; see [`Migration::approve`].
    pub fn approval(mut self, before: Stage, name: impl Into<String>) -> Self {
        self.options.approvals.push((before, name.into()));
        self
    }

    /// How long old must not have been written without this library before new alone is; see
    /// [`UNAWARE_WINDOW`](crate::UNAWARE_WINDOW).
    pub fn unaware_window(mut self, window: Duration) -> Self {
        self.options.unaware_window = window;
        self
    }

    /// The share of reads that are compared in `Shadow` and `Live`; all by default.
    pub fn shadow_sample(mut self, share: Percent) -> Self {
        self.options.shadow_sample = share;
        self.options.shadow_by_key = false;
        self
    }

    /// The limit on one shadow read; see [`SHADOW_TIMEOUT`](crate::SHADOW_TIMEOUT).
    pub fn shadow_timeout(mut self, limit: Duration) -> Self {
        self.options.shadow_timeout = limit;
        self
    }

    /// How many shadow reads may be under way; see [`SHADOW_CONCURRENCY`](crate::SHADOW_CONCURRENCY).
    pub fn shadow_concurrency(mut self, most: usize) -> Self {
        self.options.shadow_concurrency = most;
        self
    }

    /// Registers this process for the migration, which is created at `Off` where it is new.
    ///
    /// # Errors
    /// `InvalidInput` for a bad name, a bad table or column, or a second registration; `Unsupported`
    /// for `lazy` without a copy function; `WrongKey` for buckets by remainder over a key that is no
    /// integer; `Database`.
    pub async fn register(self) -> Result<Migration, Error> {
        check_name(&self.name)?;
        let copier = self.copier.transpose().map_err(|error| error.of(&self.name))?;
        self.runtime.inner.register(&self.name, self.options, copier).await
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(plain) {
        let message = format!(
            "`{name}` is no name for a migration; use 1 to {NAME_BYTES_MAX} of a-z, 0-9, `.`, `_`, `-`"
        );
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    Ok(())
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
        self.steering.ask(&shared).await;
        self.migrations.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&shared));
        self.beat().await?;
        self.steering.kill(&shared).await;
        Ok(Migration::from_shared(shared))
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
            if let Some(record) = records.iter().find(|record| *record.name == *shared.name) {
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

/// The background task: looks when told to, or after a jittered pause.
async fn maintain(inner: Weak<Inner>, poll: Duration, stop: CancellationToken) {
    let mut watch: Option<Box<dyn Watch>> = None;
    let mut told = Vec::new();
    let mut draw = 0_u64;
    let mut repairing: Option<JoinHandle<()>> = None;
    let mut steering: Option<JoinHandle<()>> = None;
    let mut watching: Option<JoinHandle<()>> = None;
    loop {
        let Some(inner) = inner.upgrade() else { return };
        if stop.is_cancelled() {
            return;
        }
        if watch.is_none() {
            watch = inner.control.watch().await.unwrap_or_default();
        }
        // A round is never dropped halfway: a heartbeat that is already on its way would bring the
        // instance back after it has left.
        if let Err(error) = inner.round(&mut told).await {
            inner.count_control_failure();
            tracing::warn!(%error, "the control tables could not be reached; trying again");
        }
        // Beside the rounds: a repair may be long, or wait for a row that somebody has locked, and the
        // lease must not run out over that.
        if inner.wants_repair() && repairing.as_ref().is_none_or(JoinHandle::is_finished) {
            repairing =
                Some(inner.tasks.spawn(repairing::repair_all(Arc::clone(&inner), stop.clone())));
        }
        if inner.is_watch_due() && watching.as_ref().is_none_or(JoinHandle::is_finished) {
            watching =
                Some(inner.tasks.spawn(watching::watch_all(Arc::clone(&inner), stop.clone())));
        }
        if inner.is_steered() && steering.as_ref().is_none_or(JoinHandle::is_finished) {
            steering = Some(inner.tasks.spawn(steer_all(Arc::clone(&inner), poll, stop.clone())));
        }
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(inner.clock.now() | 1);
        let pause = clock::jittered(poll, draw >> 32);
        let nudge = Arc::clone(&inner.nudge);
        drop(inner); // a runtime that was dropped must not be kept alive by its own sleep
        let lost = tokio::select! {
            () = stop.cancelled() => return,
            () = nudge.notified() => false,
            () = clock::sleep(pause) => false,
            heard = hear(&mut watch) => heard.is_err(),
        };
        if lost {
            watch = None;
        }
    }
}

async fn hear(watch: &mut Option<Box<dyn Watch>>) -> Result<(), Error> {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}
