//! Durations, counted per thread without locks: what every call pays for.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::observe::slots::{SLOTS, Slot};

/// Histogram of durations: eight buckets per doubling, so that a quantile is at most 12.5 % too high.
/// Each thread that records has its own counts, 2.6 kB.
#[derive(Debug)]
pub(crate) struct Histogram([OnceLock<Cells>; SLOTS]);

type Cells = Box<[AtomicU64; BUCKETS]>;

/// Sub-buckets of a doubling, as a power of two.
const FINE: u32 = 3;
const BUCKETS: usize = 40 << FINE; // up to 2^40 ns, about 18 minutes

impl Histogram {
    pub(crate) fn new() -> Self {
        Self([const { OnceLock::new() }; SLOTS])
    }

    #[inline]
    pub(crate) fn record(&self, nanos: u64) {
        let slot = Slot::current();
        let counts = &self.0[slot.index()];
        let counts = counts.get().unwrap_or_else(|| Self::first(counts));
        slot.add(&counts[bucket(nanos)], 1);
    }

    #[cold]
    fn first(counts: &OnceLock<Cells>) -> &Cells {
        counts.get_or_init(|| Box::new([const { AtomicU64::new(0) }; BUCKETS]))
    }

    /// The counts of all threads.
    pub(crate) fn sum(&self) -> Counts {
        let mut sums = vec![0; BUCKETS];
        for counts in self.0.iter().filter_map(OnceLock::get) {
            for (sum, count) in sums.iter_mut().zip(counts.iter()) {
                *sum += count.load(Relaxed);
            }
        }
        let held = sums.into_iter().enumerate().filter(|(_, count)| *count > 0);
        Counts(held.map(|(index, count)| (index as u16, count)).collect())
    }
}

#[inline]
fn bucket(nanos: u64) -> usize {
    let nanos = nanos.max(1 << FINE);
    let doubling = 63 - nanos.leading_zeros();
    let part = (nanos >> (doubling - FINE)) as usize & ((1 << FINE) - 1);
    (((doubling as usize) << FINE) + part).min(BUCKETS - 1)
}

/// The lower edge of a bucket, in nanoseconds.
fn lower_edge(bucket: usize) -> u64 {
    let (doubling, part) = ((bucket >> FINE) as u32, bucket as u64 & ((1 << FINE) - 1));
    ((1 << FINE) + part) << doubling.saturating_sub(FINE)
}

/// The upper edge of a bucket, in nanoseconds.
fn upper_edge(bucket: usize) -> u64 {
    let (doubling, part) = ((bucket >> FINE) as u32, bucket as u64 & ((1 << FINE) - 1));
    ((1 << FINE) + part + 1) << doubling.saturating_sub(FINE)
}

/// How many durations fell into which bucket: those buckets alone that hold any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts(Vec<(u16, u64)>);

impl Counts {
    /// As if these durations had been recorded, in nanoseconds and how often each.
    #[cfg(test)]
    pub(crate) fn of(durations: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut counts = Self::default();
        for (nanos, times) in durations {
            counts.add(&Self(vec![(bucket(nanos) as u16, times)]));
        }
        counts
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// What was counted since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut before = earlier.0.iter().peekable();
        let mut more = Vec::new();
        for &(bucket, count) in &self.0 {
            while before.next_if(|(earlier, _)| *earlier < bucket).is_some() {}
            let known = before.next_if(|(same, _)| *same == bucket).map_or(0, |(_, count)| *count);
            if count > known {
                more.push((bucket, count - known));
            }
        }
        Self(more)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for &(bucket, count) in &other.0 {
            match self.0.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
                Ok(at) => self.0[at].1 += count,
                Err(at) => self.0.insert(at, (bucket, count)),
            }
        }
    }

    /// How many were certainly slower than this.
    pub(crate) fn slower_than(&self, nanos: u64) -> u64 {
        let slower = self.0.iter().filter(|(bucket, _)| lower_edge(usize::from(*bucket)) >= nanos);
        slower.map(|(_, count)| count).sum()
    }

    /// Upper edges of the buckets in nanoseconds, ascending, and how many durations each holds.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(bucket, count)| (upper_edge(usize::from(*bucket)), *count))
    }

    /// The duration that this share of all kept within, at most 13 % too long; zero where there is none.
    pub(crate) fn quantiles<const N: usize>(&self, shares: [f64; N]) -> [Duration; N] {
        // Two digits: the buckets are coarser than that. The bounds are right for every edge.
        let Ok(mut sums) = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1 << 41, 2) else {
            return [Duration::ZERO; N];
        };
        for (nanos, count) in self.buckets() {
            sums.saturating_record_n(nanos, count);
        }
        let longest = self.buckets().last().map_or(0, |(nanos, _)| nanos);
        shares.map(|share| Duration::from_nanos(sums.value_at_quantile(share).min(longest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_are_never_too_low_and_hardly_too_high() {
        for nanos in [9, 100, 1_000, 123_456, 200_000_000, 3_000_000_000] {
            let counts = Counts::of([(nanos, 100)]);
            let [found] = counts.quantiles([0.99]).map(|found| found.as_nanos() as f64);
            assert!(found >= nanos as f64 && found <= nanos as f64 * 1.14, "{nanos}: {found}");
        }
    }

    #[test]
    fn quantiles_of_nothing_are_zero() {
        assert_eq!(Counts::default().quantiles([0.5, 0.99]), [Duration::ZERO; 2]);
    }

    #[test]
    fn quantiles_lie_where_they_should() {
        let counts = Counts::of([(1_000, 50), (10_000, 45), (100_000, 4), (1_000_000, 1)]);
        let found = counts.quantiles([0.5, 0.95, 0.99, 1.0]).map(|found| found.as_nanos() as u64);
        for (found, exact) in found.into_iter().zip([1_000, 10_000, 100_000, 1_000_000]) {
            assert!((exact..exact * 114 / 100).contains(&found), "{exact}: {found}");
        }
    }

    proptest! {
        #[test]
        fn a_duration_lies_between_the_edges_of_its_bucket(nanos in 8_u64..1 << 40) {
            let found = bucket(nanos);
            prop_assert!(lower_edge(found) <= nanos && nanos < upper_edge(found));
        }

        #[test]
        fn what_was_counted_since_and_before_is_all(
            before in prop::collection::vec((8_u64..1 << 41, 1_u64..9), 0..20),
            after in prop::collection::vec((8_u64..1 << 41, 1_u64..9), 0..20),
        ) {
            let earlier = Counts::of(before.iter().copied());
            let later = Counts::of(before.into_iter().chain(after.clone()));
            prop_assert_eq!(later.since(&earlier), Counts::of(after));
            let mut sum = earlier.clone();
            sum.add(&later.since(&earlier));
            prop_assert_eq!(sum, later);
        }

        #[test]
        fn nothing_is_called_slower_that_was_not(nanos in 8_u64..1 << 41, limit in 0_u64..1 << 41) {
            let slower = Counts::of([(nanos, 1)]).slower_than(limit);
            prop_assert!(slower == 0 || nanos >= limit || nanos >= 1 << 40);
        }
    }
}
