//! For how long the positions that this process knows may be trusted.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

/// While it is held, the others wait for what this instance has in flight, so its position can be at most
/// one stage behind.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    /// Held without a gap since then, in our clock's ticks.
    since: AtomicU64,
    until: AtomicU64,
    /// Calls that begin after that are refused; zero: none.
    closed: AtomicU64,
}

impl Lease {
    /// A call that began before a gap must not answer after it, although the lease is held again: in
    /// the gap nobody waited for it.
    #[inline]
    pub(crate) fn was_held(&self, start: u64, end: u64) -> bool {
        // In this order: whoever sees the new end sees the new beginning too.
        end <= self.until.load(Acquire)
            && start >= self.since.load(Relaxed)
            && (self.closed.load(Relaxed) == 0 || start < self.closed.load(Relaxed))
    }

    /// Extends it after a heartbeat that was sent and acknowledged at these times. By `now` the
    /// positions have been read again. All in ticks.
    pub(crate) fn extend(&self, sent: u64, acknowledged: u64, now: u64, lease: u64) {
        if acknowledged > self.until.load(Relaxed) {
            self.since.fetch_max(now, Relaxed);
        }
        self.until.fetch_max(sent.saturating_add(lease), Release);
    }

    /// What begins from now on is refused.
    pub(crate) fn close(&self, now: u64) {
        let _ = self.closed.compare_exchange(0, now.max(1), SeqCst, SeqCst); // the first time counts
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(SeqCst) != 0
    }

    /// It is not held any more, until the next heartbeat that is acknowledged.
    pub(crate) fn end(&self) {
        self.until.store(0, Release);
    }
}
