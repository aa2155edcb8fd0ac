//! The fenced transactions of this process that are open: a change of the stage waits for them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Those of one migration.
#[derive(Debug, Default)]
pub(crate) struct OpenTransactions {
    next: AtomicU64,
    /// When each began, in nanoseconds of the clock; the first is among the oldest.
    began: Mutex<BTreeMap<u64, u64>>,
}

/// One that is open until this is dropped.
#[derive(Debug)]
pub(crate) struct OpenTransaction {
    among: Arc<OpenTransactions>,
    number: u64,
}

impl OpenTransactions {
    pub(crate) fn enter(self: &Arc<Self>, now: u64) -> OpenTransaction {
        let number = self.next.fetch_add(1, Relaxed);
        self.began().insert(number, now);
        OpenTransaction { among: Arc::clone(self), number }
    }

    /// For how long the oldest has been open.
    pub(crate) fn oldest(&self, now: u64) -> Option<Duration> {
        let began = *self.began().first_key_value()?.1;
        Some(Duration::from_nanos(now.saturating_sub(began)))
    }

    fn began(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, u64>> {
        self.began.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenTransaction {
    fn drop(&mut self) {
        self.among.began().remove(&self.number);
    }
}

/// What an instance reports of a transaction that has been open for so long: the largest power of two of seconds, so
/// that it does not write its acknowledgement again with each heartbeat; 0 below one second.
pub(crate) fn reported_seconds(open: Option<Duration>) -> u64 {
    let seconds = open.map_or(0, |open| open.as_secs());
    seconds.checked_ilog2().map_or(0, |power| 1 << power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_is_still_open_counts() {
        let open = Arc::new(OpenTransactions::default());
        assert_eq!(open.oldest(5), None);
        let first = open.enter(1_000);
        let second = open.enter(3_000);
        assert_eq!(open.oldest(4_000), Some(Duration::from_nanos(3_000)));
        drop(first);
        assert_eq!(open.oldest(4_000), Some(Duration::from_nanos(1_000)));
        drop(second);
        assert_eq!(open.oldest(4_000), None);
    }

    #[test]
    fn what_is_reported_changes_seldom() {
        let reported = |millis| reported_seconds(Some(Duration::from_millis(millis)));
        assert_eq!([0, 999, 1_000, 1_999].map(reported), [0, 0, 1, 1]);
        assert_eq!([2_000, 3_999, 4_000, 70_000].map(reported), [2, 2, 4, 64]);
        assert_eq!(reported_seconds(None), 0);
    }
}
