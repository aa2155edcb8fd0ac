//! Knows when no operation of an earlier position is in flight any more: what an instance
//! acknowledges as `drained`.
//!
//! Reads are counted in one of two phases. A new position is published first; then the phase flips, and
//! as soon as the phase left behind counts zero, everything that could have seen the earlier position is
//! over. (The scheme of sleepable RCU, McKenney 2006.) Whoever enters late into the phase left behind
//! counts up before it looks at the position, so it sees the new one and merely delays the next flip.
//! Writes need no count: they hold the fence, and no position changes while they do.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Acquire, Ordering::SeqCst};

use crate::observe::slots::{SLOTS, Slot};
use crate::stages::position::Epoch;

/// The counts of one thread, by phase: a cache line, so that threads do not slow each other down. An
/// operation may end on another thread than it began on, so only the sums over all threads say anything.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Counts {
    entered: [AtomicU64; 2],
    left: [AtomicU64; 2],
}

#[derive(Debug)]
pub(crate) struct InFlight {
    threads: [Counts; SLOTS],
    phase: AtomicUsize,
    drain: Mutex<Drain>,
}

#[derive(Debug)]
struct Drain {
    drained: Epoch,
    /// The epoch that will be drained when the phase left behind is empty.
    pending: Option<Epoch>,
}

/// The phase that an operation was counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Even,
    Odd,
}

impl InFlight {
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self {
            threads: Default::default(),
            phase: AtomicUsize::new(0),
            drain: Mutex::new(Drain { drained: epoch, pending: None }),
        }
    }

    /// Counts an operation in; it must [`leave`](Self::leave). The position must be loaded *after* this,
    /// with `SeqCst`.
    #[inline]
    pub(crate) fn enter(&self) -> Phase {
        let phase = if self.phase.load(SeqCst) & 1 == 0 { Phase::Even } else { Phase::Odd };
        // Locked, although only this thread writes it: the load of the position must not overtake it.
        self.threads[Slot::current().index()].entered[phase as usize].fetch_add(1, SeqCst);
        phase
    }

    /// Counts an operation out, once.
    #[inline]
    pub(crate) fn leave(&self, phase: Phase) {
        let slot = Slot::current();
        slot.add(&self.threads[slot.index()].left[phase as usize], 1);
    }

    /// Tells the epoch below which nothing is in flight. `published` is the epoch that everyone who
    /// enters from now on sees. Called again and again; does not wait.
    pub(crate) fn drained(&self, published: Epoch) -> Epoch {
        let mut drain = self.drain.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        loop {
            match drain.pending {
                Some(epoch) if self.is_empty(self.phase.load(SeqCst) ^ 1) => {
                    drain.drained = epoch;
                    drain.pending = None;
                }
                Some(_) => return drain.drained,
                None if drain.drained >= published => return drain.drained,
                None => {
                    // The phase to flip into must be empty, or its stragglers would be taken for new.
                    if !self.is_empty(self.phase.load(SeqCst) ^ 1) {
                        return drain.drained;
                    }
                    self.phase.fetch_xor(1, SeqCst);
                    drain.pending = Some(published);
                }
            }
        }
    }

    /// Whether nothing at all is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_empty(0) && self.is_empty(1)
    }

    /// Forgets what was drained: what is in flight now may have seen any epoch.
    pub(crate) fn restart(&self) {
        let mut drain = self.drain.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        (drain.drained, drain.pending) = (Epoch(0), None);
    }

    /// Whether nothing is in flight in a phase. Those that left are summed up first: each of them is
    /// then found among those that entered, so the sums can only be equal if everyone left.
    fn is_empty(&self, phase: usize) -> bool {
        let left = self.sum(|counts| counts.left[phase & 1].load(Acquire));
        left == self.sum(|counts| counts.entered[phase & 1].load(SeqCst))
    }

    fn sum(&self, of: impl Fn(&Counts) -> u64) -> u64 {
        self.threads.iter().map(of).fold(0, u64::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_of_an_earlier_epoch_holds_the_acknowledgement_back() {
        let flights = InFlight::new(Epoch(1));
        let early = flights.enter();
        assert_eq!(flights.drained(Epoch(2)), Epoch(1));
        let late = flights.enter();
        assert_eq!(flights.drained(Epoch(2)), Epoch(1));
        flights.leave(early);
        assert_eq!(flights.drained(Epoch(2)), Epoch(2), "the late one saw epoch 2");
        assert_eq!(flights.drained(Epoch(3)), Epoch(2), "it has not seen epoch 3");
        flights.leave(late);
        assert_eq!(flights.drained(Epoch(3)), Epoch(3));
    }

    #[test]
    fn epochs_that_pass_while_one_operation_lasts_wait_for_it() {
        let flights = InFlight::new(Epoch(1));
        let slow = flights.enter();
        for epoch in 2..6 {
            assert_eq!(flights.drained(Epoch(epoch)), Epoch(1));
        }
        flights.leave(slow);
        assert_eq!(flights.drained(Epoch(6)), Epoch(6));
    }

    #[test]
    fn after_a_restart_everything_in_flight_is_waited_for() {
        let flights = InFlight::new(Epoch(1));
        assert_eq!(flights.drained(Epoch(6)), Epoch(6));
        let early = flights.enter();
        flights.restart();
        assert_eq!(flights.drained(Epoch(5)), Epoch(0), "it may have seen the lost epoch 6");
        flights.leave(early);
        assert_eq!(flights.drained(Epoch(5)), Epoch(5));
    }

    #[test]
    fn an_operation_may_end_on_another_thread() {
        let flights = InFlight::new(Epoch(1));
        let entered = flights.enter();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let other = flights.enter();
                flights.leave(entered);
                assert_eq!(flights.drained(Epoch(2)), Epoch(1));
                flights.leave(other);
            });
        });
        assert_eq!(flights.drained(Epoch(2)), Epoch(2));
    }
}
