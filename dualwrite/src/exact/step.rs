//! Places where a test lets an instance die.

use std::sync::atomic::AtomicBool;
#[cfg(feature = "testing")]
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::error::Error;

/// A place in exact mode at which a test lets an instance die, with
/// [`Exact::die_at`](crate::exact::Exact::die_at). It comes after what it names.
///
/// ```
/// assert!(dualwrite::exact::ExactStep::ALL.contains(&dualwrite::exact::ExactStep::GivenUp));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExactStep {
    /// A write, its record, and not yet its commit.
    Written,
    /// The commit of a write, and not yet the answer to its caller.
    Committed,
    /// The relay has read records.
    RelayRead,
    /// The mirror has them, and they are still in the outbox.
    RelayApplied,
    /// They are gone from the outbox.
    RelayRemoved,
    /// Writes are recorded from now on, or no more.
    Recording,
    /// A page of the copy.
    Copied,
    /// The old primary takes no more writes.
    Closed,
    /// The outbox is empty.
    Drained,
    /// The old primary is no longer the side of record.
    GivenUp,
    /// The new primary takes writes.
    Opened,
}

impl ExactStep {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Written,
        Self::Committed,
        Self::RelayRead,
        Self::RelayApplied,
        Self::RelayRemoved,
        Self::Recording,
        Self::Copied,
        Self::Closed,
        Self::Drained,
        Self::GivenUp,
        Self::Opened,
    ];
}

/// Where this instance dies.
#[derive(Debug, Default)]
pub(crate) struct Death {
    /// The place and how often it is passed before; zero for nowhere.
    #[cfg(feature = "testing")]
    at: AtomicU64,
    dead: AtomicBool,
}

impl Death {
    #[cfg(feature = "testing")]
    pub(crate) fn at(&self, step: ExactStep, passes: u32) {
        self.at.store((u64::from(passes) << 8) | (step as u64 + 1), SeqCst);
    }

    /// Fails at the place where the instance dies, and everywhere after that.
    #[cfg(feature = "testing")]
    pub(crate) fn pass(&self, step: ExactStep) -> Result<(), Error> {
        let passed = self.at.fetch_update(SeqCst, SeqCst, |at| match (at & 0xff, at >> 8) {
            (place, _) if place != step as u64 + 1 => None,
            (_, 0) => Some(0),
            (place, passes) => Some(((passes - 1) << 8) | place),
        });
        if passed.is_ok_and(|at| at >> 8 == 0) {
            self.dead.store(true, SeqCst);
        }
        if self.is_dead() { Err(Error::shutting_down()) } else { Ok(()) }
    }

    #[cfg(not(feature = "testing"))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "tests alone let instances die"
    )]
    pub(crate) fn pass(&self, _: ExactStep) -> Result<(), Error> {
        Ok(())
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(std::sync::atomic::Ordering::SeqCst)
    }
}
