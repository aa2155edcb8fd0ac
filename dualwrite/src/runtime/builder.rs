//! Builds a [`Runtime`] and starts its background task.

use std::sync::Arc;
use std::time::Duration;

use super::listening::listen;
use super::maintaining::maintain;
use super::{Inner, Runtime};
use crate::clock::{self, Clock};
use crate::control::{Control, Heartbeat};
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::error::{Error, ErrorKind};
use crate::pace::replicas::{REPLICAS_MAX, Replica};
use crate::runtime::steering::Steering;
use crate::stages::name::NAME_BYTES_MAX;
use crate::stages::stage::Stage;
use crate::state::events::Hooks;
use crate::store::sql::{SqlControl, statement_limit};

/// Builds a [`Runtime`].
#[must_use = "call `start`"]
#[derive(Debug)]
pub struct RuntimeBuilder<DB: Backend> {
    pub(super) pool: sqlx::Pool<DB>,
    pub(super) replicas: Vec<Replica<DB>>,
    pub(super) heartbeat: Heartbeat,
    pub(super) poll: Duration,
    pub(super) shutdown: Duration,
    pub(crate) steering: Steering,
    pub(super) clock: Clock,
    pub(super) hooks: Hooks,
    pub(super) accepted: Option<String>,
}

impl<DB: Backend> RuntimeBuilder<DB> {
    /// The release of the service, shown to operators and used by gates; at most 100 bytes.
    pub fn release(mut self, release: impl Into<String>) -> Self {
        self.heartbeat.release = release.into();
        self
    }

    /// The lease; see [`LEASE`](crate::defaults::LEASE).
    pub fn lease(mut self, lease: Duration) -> Self {
        self.heartbeat.lease = lease;
        self
    }

    /// The pause between two looks at the control tables; see [`POLL`](crate::defaults::POLL).
    pub fn poll(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }

    /// The limit on a shutdown; see [`SHUTDOWN`](crate::defaults::SHUTDOWN).
    pub fn shutdown_within(mut self, limit: Duration) -> Self {
        self.shutdown = limit;
        self
    }

    /// A replica of the database, by a name of 1 to 100 bytes: backfills and verifications of this process
    /// make way while it is further behind than [`Throttle::lag`](crate::backfill::Throttle::lag), or does not answer
    /// within a second. How it is replicated does not matter, if the control tables are: `dualwrite_acknowledgement`
    /// is read there, on a connection of this pool, about once a second while something is copied or
    /// compared. At most [`REPLICAS_MAX`](crate::defaults::REPLICAS_MAX).
    ///
    /// ```
    /// # use dualwrite::{Error, Runtime};
    /// # async fn start(pool: sqlx::SqlitePool, near: sqlx::SqlitePool) -> Result<(), Error> {
    /// let runtime = Runtime::builder(pool).replica("near", near).start().await?;
    /// # runtime.shutdown().await
    /// # }
    /// ```
    pub fn replica(mut self, name: impl Into<String>, pool: sqlx::Pool<DB>) -> Self {
        self.replicas.push(Replica { name: name.into().into(), pool });
        self
    }

    /// The stages that this build can run; all by default. A move beyond them waits until no such
    /// instance lives.
    pub fn stages(mut self, first: Stage, last: Stage) -> Self {
        self.heartbeat.min_stage = first;
        self.heartbeat.max_stage = last;
        self
    }

    /// Goes on where [`start`](Self::start) would refuse the engine: an operator has made sure of what its
    /// refusal asks for. The reason is logged.
    ///
    /// ```
    /// # #[cfg(feature = "mysql")] mod example {
    /// # use dualwrite::{Error, Runtime};
    /// async fn start(pool: sqlx::MySqlPool) -> Result<(), Error> {
    ///     let because = "the proxy sends all writes to node 1";
    ///     let runtime = Runtime::builder(pool).accept_engine(because).start().await?;
    ///     runtime.shutdown().await
    /// }
    /// # }
    /// ```
    pub fn accept_engine(mut self, because: impl Into<String>) -> Self {
        self.accepted = Some(because.into());
        self
    }

    /// Makes the control tables where they are missing, and starts the background task.
    ///
    /// # Errors
    /// `Database` where the database cannot be reached, `NewerControlTables`, `InvalidInput`, `OutsideTokio`; `Unsupported`
    /// for an engine that cannot hold the fence, or for a pool whose connections are not what they seem: a pooler that
    /// breaks prepared statements, or `autocommit` that is off, connections that find
    /// other control tables than the background task does.
    pub async fn start(self) -> Result<Runtime<DB>, Error> {
        let handle = clock::tokio_runtime()?;
        if self.heartbeat.release.is_empty() || self.heartbeat.release.len() > NAME_BYTES_MAX {
            let message = format!("the release must have 1 to {NAME_BYTES_MAX} bytes");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        if self.heartbeat.lease < self.poll * 3 {
            let message = "the lease must be at least three polls long, or it runs out by itself";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        self.check_replicas()?;
        let engine = DB::Adapter::inspect(&self.pool).await?;
        engine.admit(self.accepted.as_deref())?;
        let limit = statement_limit(self.heartbeat.lease);
        let control = SqlControl::new(self.pool.clone(), limit);
        let control: Arc<dyn Control> = Arc::new(match engine.is_pooled() {
            true => control.without_notifications(),
            false => control,
        });
        control.install().await?;
        if let Some(source) = DB::Adapter::control_source(&self.pool, limit) {
            check_places::<DB>(&self.pool, &source).await?;
        }
        let mut inner = Inner::new(control, self.clock, self.heartbeat, self.shutdown, handle);
        inner.set_hooks(self.hooks);
        inner.steering = self.steering;
        let inner = Arc::new(inner);
        let stop = inner.stop.clone();
        let parts = (Arc::clone(&inner.control), Arc::clone(&inner.ear), Arc::clone(&inner.wake));
        inner.spawn(listen(parts.0, parts.1, parts.2, stop.clone()));
        inner.spawn(maintain(Arc::downgrade(&inner), self.poll, stop));
        Ok(Runtime { inner, pool: self.pool, replicas: self.replicas.into(), engine })
    }

    fn check_replicas(&self) -> Result<(), Error> {
        let names: Vec<&str> = self.replicas.iter().map(|replica| &*replica.name).collect();
        let message = if names.len() > REPLICAS_MAX {
            format!("{} replicas are more than {REPLICAS_MAX}; name those that matter", names.len())
        } else if let Some(name) =
            names.iter().find(|name| !(1..=NAME_BYTES_MAX).contains(&name.len()))
        {
            format!("`{name}` is no name for a replica; use 1 to {NAME_BYTES_MAX} bytes")
        } else if let Some(at) = (1..names.len()).find(|at| names[..*at].contains(&names[*at])) {
            format!("two replicas are named `{}`; give each its own name", names[at])
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::InvalidInput, message))
    }
}

/// For how long a connection of the pool is waited for.
const CONNECTED_WITHIN: Duration = Duration::from_secs(1);

/// Positions are read on connections of the runtime, and fences are taken on those of the application: all must find
/// the same tables.
async fn check_places<DB: Backend>(
    pool: &sqlx::Pool<DB>,
    control: &sqlx::Pool<DB>,
) -> Result<(), Error> {
    let failed = |error| Error::database("looking for the control tables", error);
    let mut own = control.acquire().await.map_err(failed)?;
    let Some(ours) = DB::Adapter::place(&mut own).await.map_err(failed)? else { return Ok(()) };
    drop(own);
    let Ok(first) = clock::limit(CONNECTED_WITHIN, pool.acquire()).await else {
        tracing::warn!(
            "the pool is busy: whether its connections find the same control tables was not checked"
        );
        return Ok(());
    };
    let mut first = first.map_err(failed)?;
    let mut theirs = vec![DB::Adapter::place(&mut first).await.map_err(failed)?];
    // While the first is held, another one is made; where the pool is busy, one says enough.
    if pool.options().get_max_connections() > 1
        && let Ok(Ok(mut second)) = clock::limit(CONNECTED_WITHIN, pool.acquire()).await
    {
        theirs.push(DB::Adapter::place(&mut second).await.map_err(failed)?);
    }
    match theirs.into_iter().flatten().find(|theirs| *theirs != ours) {
        None => Ok(()),
        Some(theirs) => Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "the control tables are in {ours} for the background task, and a connection of the pool looks \
                 for them in {theirs}: give all connections of the pool one database and one `search_path`, in \
                 the URL, in the role, or in `after_connect`"
            ),
        )),
    }
}
