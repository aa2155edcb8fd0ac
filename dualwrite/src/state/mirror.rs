//! What this process knows of the writes to the side that does not answer.

use std::sync::PoisonError;
use std::time::Duration;

use crate::observe::count;
use crate::observe::mirror::{Cause, MIRROR_WINDOW, MirrorReport};
use crate::observe::window::Cut;
use crate::stages::mirror::MirrorError;
use crate::stages::stage::Side;
use crate::state::Shared;

impl Shared {
    /// The mirror writes of the last five minutes in this process.
    pub(crate) fn mirror(&self) -> MirrorReport {
        let snapshot = self.snapshot();
        let window = &mut *self.measured.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.take(snapshot, MIRROR_WINDOW, Cut::Now);
        let counters = window.sum(MIRROR_WINDOW, None).figures.counters;
        let last_error = self.mirror_failures.last();
        MirrorReport::new(counters.mirror_written, counters.mirror_failed, last_error)
    }

    /// Counts a mirror write that failed while the caller's write went on, and logs it, though not each time.
    pub(crate) fn mirror_failed(&self, method: &str, side: Side, cause: Cause) {
        count(&self.counters.mirror_failed);
        let cause = cause.to_string();
        let error = MirrorError { method: method.to_owned(), side, cause: cause.clone() };
        if let Some(failures) = self.mirror_failures.note(error, self.clock.now()) {
            tracing::warn!(
                migration = &*self.name,
                %side,
                method,
                cause,
                failures,
                "mirror writes failed; their keys are marked dirty and will be copied again"
            );
        }
    }

    /// The limit on one call of a method, by its name.
    pub(crate) fn limit_of(&self, method: &str) -> Duration {
        let methods = self.methods.lock().unwrap_or_else(PoisonError::into_inner);
        let found = methods.iter().find(|known| &*known.name == method);
        found.and_then(|found| found.limit()).unwrap_or(self.options.shadow_timeout)
    }
}
