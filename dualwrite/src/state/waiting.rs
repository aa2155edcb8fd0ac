//! Patience with closed gates.

use std::time::Duration;

use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::state::Shared;

/// How long a move, or the start of a backfill, waits for gates that open by themselves.
pub const MOVE_TIMEOUT: Duration = Duration::from_secs(5);
const RETRY_PAUSE: Duration = Duration::from_millis(25);

/// Patience with closed gates.
pub(crate) struct Waiting<'m> {
    shared: &'m Shared,
    start: u64,
    within: Option<Duration>,
}

impl<'m> Waiting<'m> {
    pub(crate) fn new(shared: &'m Shared, within: Option<Duration>) -> Self {
        Self { shared, start: shared.clock.now(), within }
    }

    /// Whether to try again after this error.
    pub(crate) fn goes_on(&self, error: &Error) -> bool {
        let waited = Duration::from_nanos(self.shared.clock.now().saturating_sub(self.start));
        let hopeful = match self.within {
            Some(_) => true,
            None => error.blockers().iter().all(|blocker| blocker.gate.opens_by_itself()),
        };
        error.kind() == ErrorKind::Blocked
            && !error.blockers().is_empty()
            && hopeful
            && waited < self.within.unwrap_or(MOVE_TIMEOUT)
    }

    /// Fails where a shutdown has begun.
    pub(crate) async fn pause(&self) -> Result<(), Error> {
        // What this instance has drained must be known, or it waits for itself.
        self.shared.wake.notify_one();
        tokio::select! {
            () = clock::sleep(RETRY_PAUSE) => Ok(()),
            () = self.shared.closing() => Err(self.shared.shutting_down()),
        }
    }
}
