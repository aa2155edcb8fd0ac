//! A slot per thread: counters that only their own thread writes need no locked instruction.
//!
//! Each thread takes the lowest free slot when it first counts, and gives it back when it ends.
//! Threads beyond the last slot share one, and count there with locked instructions.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, Release},
};
use std::sync::{Mutex, PoisonError};

/// Slots that belong to one thread each. Behind them is the shared one.
const OWN: usize = 31;
/// All slots.
pub(crate) const SLOTS: usize = OWN + 1;

/// The slot of the current thread.
#[derive(Clone, Copy)]
pub(crate) struct Slot(usize);

impl Slot {
    /// That of the thread which asks.
    #[inline]
    pub(crate) fn current() -> Self {
        match INDEX.get() {
            UNKNOWN => Self::first(),
            index => Self(index),
        }
    }

    #[cold]
    fn first() -> Self {
        // A thread that is about to end counts in the shared slot.
        let index = OWNED.try_with(|owned| owned.0).unwrap_or(OWN);
        INDEX.set(index);
        Self(index)
    }

    #[inline]
    pub(crate) fn index(self) -> usize {
        self.0 & OWN // it is not greater anyway, and now the compiler knows
    }

    /// Adds to a counter of this slot. What was done before it is seen by whoever acquires the sum.
    #[inline]
    pub(crate) fn add(self, counter: &AtomicU64, amount: u64) {
        if self.0 < OWN {
            counter.store(counter.load(Relaxed).wrapping_add(amount), Release);
        } else {
            counter.fetch_add(amount, Release);
        }
    }
}

struct Owned(usize);

const UNKNOWN: usize = usize::MAX;

thread_local! {
    /// Without a destructor, so that looking at it costs nothing.
    static INDEX: Cell<usize> = const { Cell::new(UNKNOWN) };
    static OWNED: Owned = Owned::take();
}

/// Given back by threads that ended; then those that nobody had yet.
static FREE: Mutex<(BinaryHeap<Reverse<usize>>, usize)> = Mutex::new((BinaryHeap::new(), 0));

impl Owned {
    fn take() -> Self {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Reverse(slot)) = free.0.pop() {
            return Self(slot);
        }
        let slot = free.1;
        free.1 = (slot + 1).min(OWN);
        Self(slot)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        INDEX.set(OWN);
        if self.0 < OWN {
            let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
            free.0.push(Reverse(self.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn nothing_is_lost_with_more_threads_than_slots() {
        let counters: Vec<AtomicU64> = (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        let all = Barrier::new(3 * SLOTS);
        for _ in 0..2 {
            std::thread::scope(|scope| {
                for _ in 0..3 * SLOTS {
                    scope.spawn(|| {
                        let slot = Slot::current();
                        all.wait();
                        for _ in 0..1_000 {
                            slot.add(&counters[slot.index()], 1);
                        }
                    });
                }
            });
        }
        let sum: u64 = counters.iter().map(|counter| counter.load(Relaxed)).sum();
        assert_eq!(sum, 2 * 3 * SLOTS as u64 * 1_000);
    }
}
