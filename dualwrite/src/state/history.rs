//! What this process knows of a position, and whether the control tables still have the history that it is from.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{MutexGuard, PoisonError};

use crate::control::Record;
use crate::error::Error;
use crate::stages::lineage::{Lineage, Mark, lineage};
use crate::state::Shared;
use crate::state::kept::Known;

impl Shared {
    /// Takes over what the control tables say where it follows from what is known here by itself. Answers what it
    /// is to that.
    pub(crate) fn apply(&self, record: &Record) -> Lineage {
        let mut known = self.known();
        let found = lineage(known.mark(), record.mark(), record.from_token);
        if matches!(found, Lineage::Same | Lineage::Next) {
            self.publish(&mut known, record);
        }
        found
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, known: &mut Known, record: &Record) {
        *known = Known::of(record);
        // Before the position: whoever finds calls closed finds the reason.
        self.set_maintenance(record.maintenance.as_ref());
        let bits = record.position.to_bits();
        let before = self.position.swap(bits, SeqCst);
        self.publish_position(before, bits);
        self.seen.update(record);
        self.set_killed(record.killed.as_deref());
    }

    /// The same, where the audit may have to be asked. A position of another history is not taken over: the
    /// lease ends, and the instance joins again.
    pub(crate) async fn adopt(&self, record: &Record) -> Result<Lineage, Error> {
        let before = self.mark();
        let found = self.apply(record);
        match found {
            Lineage::Later if self.control.descends(&self.name, before).await? => {
                let mut known = self.known();
                if known.mark() == before {
                    self.publish(&mut known, record);
                }
                return Ok(Lineage::Next);
            }
            Lineage::Later | Lineage::Other => self.lose(),
            Lineage::Same | Lineage::Next | Lineage::Earlier => {}
        }
        Ok(found)
    }

    /// The control tables were set back under this instance: nothing that it knows holds, until it has joined again.
    pub(crate) fn lose(&self) {
        if !self.lost.swap(true, SeqCst) {
            tracing::warn!(
                migration = &*self.name,
                known = %self.position(),
                "the control tables have another history than this instance has seen, as after a failover to a \
                 standby that lagged, or a restore; it joins again"
            );
        }
        self.lease.end();
        self.wake.notify_one();
    }

    /// A fence that was taken with `pinned` was found at `found`: epochs never go back, but with their history.
    pub(crate) fn compare_fence(&self, pinned: Mark, found: Mark) {
        if matches!(lineage(pinned, found, pinned.token), Lineage::Earlier | Lineage::Other) {
            self.lose();
        }
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(SeqCst)
    }

    /// Takes over whatever the control tables say, after the lease has ended: nothing counts as drained.
    pub(crate) fn restart(&self, record: &Record) {
        self.publish(&mut self.known(), record);
        self.in_flight.restart();
        self.lost.store(false, SeqCst);
        // What was counted under a lost epoch says nothing of the one that was made again.
        let snapshot = self.snapshot();
        self.measured.window.lock().unwrap_or_else(PoisonError::into_inner).begin(snapshot);
    }

    /// The position that is known here, in the history of the migration.
    pub(crate) fn mark(&self) -> Mark {
        self.known().mark()
    }
}
