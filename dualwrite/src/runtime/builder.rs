//! Builds a [`Runtime`] and starts its background task.

use std::sync::Arc;
use std::time::Duration;

use super::maintaining::maintain;
use super::{Inner, Runtime};
use crate::backend::Backend;
use crate::backend::sealed::Adapter as _;
use crate::clock::Clock;
use crate::control::sql::SqlControl;
use crate::control::{Control, Heartbeat};
use crate::error::{Error, ErrorKind};
use crate::events::Hooks;
use crate::moving::NAME_BYTES_MAX;
use crate::stage::Stage;
use crate::steering::Steering;

/// Builds a [`Runtime`].
#[must_use = "call `start`"]
#[derive(Debug)]
pub struct RuntimeBuilder<DB: Backend> {
    pub(super) pool: sqlx::Pool<DB>,
    pub(super) beat: Heartbeat,
    pub(super) poll: Duration,
    pub(super) shutdown: Duration,
    pub(crate) steering: Steering,
    pub(super) clock: Clock,
    pub(super) hooks: Hooks,
}

impl<DB: Backend> RuntimeBuilder<DB> {
    /// The release of the service, shown to operators and used by gates; at most 100 bytes.
    pub fn release(mut self, release: impl Into<String>) -> Self {
        self.beat.release = release.into();
        self
    }

    /// The lease; see [`LEASE`](crate::LEASE).
    pub fn lease(mut self, lease: Duration) -> Self {
        self.beat.lease = lease;
        self
    }

    /// The pause between two looks at the control tables; see [`POLL`](crate::POLL).
    pub fn poll(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }

    /// The limit on a shutdown; see [`SHUTDOWN`](crate::SHUTDOWN).
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
