//! What this process knows of calls that are closed for maintenance.

use std::sync::PoisonError;
use std::time::SystemTime;

use crate::error::{Closed, Error, Maintenance};
use crate::observe::count;
use crate::stages::position::Position;
use crate::state::Shared;

impl Shared {
    pub(super) fn set_maintenance(&self, maintenance: Option<&Maintenance>) {
        *self.seen.maintenance.lock().unwrap_or_else(PoisonError::into_inner) =
            maintenance.cloned();
    }

    /// Which calls are closed, and why, as far as known here.
    pub(crate) fn maintenance(&self) -> Option<Maintenance> {
        self.seen.maintenance.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fails where reads are closed at this position.
    #[inline(always)]
    pub(crate) fn check_reads(&self, position: Position) -> Result<(), Error> {
        match position.closed {
            Closed::Calls => Err(self.closed(position)),
            _ => Ok(()),
        }
    }

    /// Fails where writes are closed, as far as known here.
    pub(crate) fn check_writes(&self) -> Result<(), Error> {
        let position = self.position();
        match position.closed.is_closed() {
            true => Err(self.closed(position)),
            false => Ok(()),
        }
    }

    /// The refusal of a call at this position. Where it was opened a moment ago, nobody knows the reason any more.
    #[cold]
    fn closed(&self, position: Position) -> Error {
        count(&self.counters.closed_refused);
        let maintenance = self.maintenance().unwrap_or_else(|| Maintenance {
            closed: position.closed,
            actor: "an operator".to_owned(),
            reason: "it has just been opened again".to_owned(),
            until: SystemTime::UNIX_EPOCH,
        });
        Error::closed(maintenance).of(&self.name)
    }
}
