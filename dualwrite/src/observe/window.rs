//! The figures of the last hour, in slices of time that each belong to one epoch: what `status` shows and
//! guards judge, without anything to scrape. Bounded: old slices are merged, then dropped.

use std::collections::VecDeque;
use std::time::Duration;

use super::figures::Figures;
use crate::stages::position::Epoch;

/// The longest time back that is kept.
pub(crate) const KEPT: Duration = Duration::from_secs(60 * 60);
/// Slices are kept as they are for this long, and as minutes from then on.
const FINE: Duration = Duration::from_secs(5 * 60);
const FINE_SLICES_MAX: usize = 300;
const COARSE: Duration = Duration::from_secs(60);
const COARSE_SLICES_MAX: usize = 120;

/// A look at the counters. What it says of epochs holds only if its parts were taken in this order.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// Nothing below this epoch was in flight any more.
    pub(crate) drained: Epoch,
    /// Then: everything counted so far.
    pub(crate) totals: Figures,
    /// Then: the epoch in force.
    pub(crate) epoch: Epoch,
    /// Nanoseconds.
    pub(crate) now: u64,
}

/// When a slice ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// When it is long enough.
    WhenDue,
    /// Now, because somebody wants to know. Short slices are joined again.
    Now,
}

#[derive(Clone, Debug)]
struct Slice {
    start: u64,
    end: u64,
    /// The epoch that all of its calls belong to; `None` where there are several.
    epoch: Option<Epoch>,
    figures: Figures,
}

impl Slice {
    fn length(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Takes the next slice in, where together they are no longer than this and of one epoch.
    fn absorb(&mut self, next: &Self, length_max: u64) -> bool {
        let joins = self.epoch == next.epoch && next.end.saturating_sub(self.start) <= length_max;
        if joins {
            self.end = next.end;
            self.figures.add(&next.figures);
        }
        joins
    }
}

/// Figures of some time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) figures: Figures,
    /// How much time they cover.
    pub(crate) covered: Duration,
}

/// The last hour.
#[derive(Debug, Default)]
pub(crate) struct Window {
    coarse: VecDeque<Slice>,
    fine: VecDeque<Slice>,
    open: Option<Snapshot>,
}

impl Window {
    /// Begins with what this snapshot saw.
    pub(crate) fn begin(&mut self, snapshot: Snapshot) {
        self.open = Some(snapshot);
    }

    /// Takes a snapshot in. A slice ends when it is as long as `length`, and when the epoch changes. Returns
    /// whether one ended.
    pub(crate) fn take(&mut self, snapshot: Snapshot, length: Duration, cut: Cut) -> bool {
        let Some(open) = &self.open else {
            self.open = Some(snapshot);
            return false;
        };
        // Calls of before are over since the look it began with, and none of after was counted yet.
        let is_pure = open.drained == open.epoch && open.epoch == snapshot.epoch;
        let is_over = cut == Cut::Now || snapshot.now.saturating_sub(open.now) >= nanos(length);
        if is_pure && !is_over {
            return false;
        }
        let slice = Slice {
            start: open.now,
            end: snapshot.now,
            epoch: is_pure.then_some(snapshot.epoch),
            figures: snapshot.totals.since(&open.totals).pruned(),
        };
        let joined = self.fine.back_mut().is_some_and(|last| last.absorb(&slice, nanos(length)));
        if !joined {
            self.fine.push_back(slice);
        }
        self.open = Some(snapshot);
        self.forget();
        true
    }

    /// Merges and drops what is old.
    fn forget(&mut self) {
        let now = self.open.as_ref().map_or(0, |open| open.now);
        let is_old = |slice: &Slice, age: Duration| slice.end.saturating_add(nanos(age)) <= now;
        while self.fine.len() > FINE_SLICES_MAX
            || self.fine.front().is_some_and(|slice| is_old(slice, FINE))
        {
            let Some(slice) = self.fine.pop_front() else { break };
            let joined =
                self.coarse.back_mut().is_some_and(|last| last.absorb(&slice, nanos(COARSE)));
            if !joined {
                self.coarse.push_back(slice);
            }
        }
        while self.coarse.len() > COARSE_SLICES_MAX
            || self.coarse.front().is_some_and(|slice| is_old(slice, KEPT))
        {
            self.coarse.pop_front();
        }
    }

    /// The figures of so long, as of the last slice; of one epoch, or of all.
    pub(crate) fn sum(&self, length: Duration, epoch: Option<Epoch>) -> Sum {
        let end = self.fine.back().map_or(0, |slice| slice.end);
        let from = end.checked_sub(nanos(length));
        let mut sum = Sum::default();
        for slice in self.coarse.iter().chain(&self.fine) {
            if from.is_none_or(|from| slice.end > from) && (epoch.is_none() || slice.epoch == epoch)
            {
                sum.figures.add(&slice.figures);
                sum.covered += Duration::from_nanos(slice.length());
            }
        }
        sum
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PERIOD: Duration = Duration::from_secs(10);

    fn snapshot(seconds: u64, total: u64, drained: u64, epoch: u64) -> Snapshot {
        let mut totals = Figures::default();
        totals.counters.shadow_equal = total;
        Snapshot {
            drained: Epoch(drained),
            totals,
            epoch: Epoch(epoch),
            now: seconds * 1_000_000_000,
        }
    }

    fn equal(window: &Window, seconds: u64, epoch: Option<u64>) -> (u64, u64) {
        let sum = window.sum(Duration::from_secs(seconds), epoch.map(Epoch));
        (sum.figures.counters.shadow_equal, sum.covered.as_secs())
    }

    #[test]
    fn a_slice_lasts_a_period() {
        let mut window = Window::default();
        for second in 0..=30 {
            assert_eq!(
                window.take(snapshot(second, second * 2, 1, 1), PERIOD, Cut::WhenDue),
                second > 0 && second % 10 == 0
            );
        }
        assert_eq!(equal(&window, 10, Some(1)), (20, 10));
        assert_eq!(equal(&window, 20, Some(1)), (40, 20));
        assert_eq!(equal(&window, 300, Some(1)), (60, 30));
    }

    #[test]
    fn what_was_counted_around_a_change_belongs_to_neither_epoch() {
        let mut window = Window::default();
        window.take(snapshot(0, 0, 1, 1), PERIOD, Cut::WhenDue);
        window.take(snapshot(10, 10, 1, 1), PERIOD, Cut::WhenDue);
        // In force since some moment, and not drained for a while.
        assert!(window.take(snapshot(15, 15, 1, 2), PERIOD, Cut::WhenDue));
        assert!(window.take(snapshot(16, 16, 1, 2), PERIOD, Cut::WhenDue));
        assert!(window.take(snapshot(17, 17, 2, 2), PERIOD, Cut::WhenDue));
        assert!(!window.take(snapshot(18, 19, 2, 2), PERIOD, Cut::WhenDue));
        assert!(window.take(snapshot(27, 30, 2, 2), PERIOD, Cut::WhenDue));
        assert_eq!(equal(&window, 300, Some(1)), (10, 10));
        assert_eq!(equal(&window, 300, Some(2)), (13, 10));
        assert_eq!(equal(&window, 300, None), (30, 27));
    }

    #[test]
    fn whoever_looks_often_does_not_lengthen_it() {
        let mut window = Window::default();
        for second in 0..200 {
            window.take(snapshot(second, second, 1, 1), PERIOD, Cut::WhenDue);
            window.take(snapshot(second, second, 1, 1), PERIOD, Cut::Now);
        }
        assert!(window.fine.len() <= 20, "{}", window.fine.len());
        assert_eq!(equal(&window, 300, Some(1)).0, 199);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_counted_twice_or_kept_without_bound(
            steps in prop::collection::vec((1_u64..20, 0_u64..50, 0_u64..12), 1..700),
        ) {
            let (mut window, mut now, mut total, mut epoch) = (Window::default(), 0, 0, 1);
            let mut history = vec![(0, 0)];
            window.take(snapshot(0, 0, 1, 1), PERIOD, Cut::WhenDue);
            for (seconds, more, change) in steps {
                now += seconds;
                total += more;
                let drained = epoch;
                epoch += u64::from(change == 0);
                window.take(snapshot(now, total, drained, epoch), PERIOD, Cut::WhenDue);
                history.push((now, total));
            }
            window.take(snapshot(now, total, epoch, epoch), PERIOD, Cut::Now);
            prop_assert!(window.fine.len() <= FINE_SLICES_MAX);
            prop_assert!(window.coarse.len() <= COARSE_SLICES_MAX);
            let (all, covered) = equal(&window, KEPT.as_secs(), None);
            prop_assert!(all <= total && covered <= KEPT.as_secs() + 80);
            if now < FINE.as_secs() {
                prop_assert_eq!((all, covered), (total, now));
            }
        }
    }
}
