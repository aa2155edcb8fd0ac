//! What callers have under way: a shutdown waits for it, and nothing begins after that.

use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::clock;
use crate::error::Error;
use crate::state::Shared;

impl Shared {
    /// Begins what a caller has asked for: a shutdown waits until the token is dropped, and from its beginning on
    /// nothing more begins.
    pub(crate) fn operate(&self) -> Result<TaskTrackerToken, Error> {
        clock::tokio_runtime().map_err(|error| error.of(&self.name))?;
        // First the token: a shutdown that does not see it has closed before.
        let token = self.operations.token();
        if self.lease.is_closed() { Err(self.shutting_down()) } else { Ok(token) }
    }

    /// The same for work that may take any time: a shutdown does not wait for it, but ends it.
    pub(crate) async fn operating<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let _token = self.operate()?;
        tokio::select! {
            biased;
            done = work => done,
            () = self.closing.cancelled() => Err(self.shutting_down()),
        }
    }

    /// Resolves when a shutdown begins.
    pub(crate) async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// Whether a shutdown has begun.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Runs something beside the caller, on the runtime of tokio that the library was started in.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let work = self.beside.track_future(work);
        self.tasks.spawn_on(work, &self.handle);
    }
}
