//! What is counted in the process: calls, errors and latency per method and side, and what the
//! background work did. Relaxed atomics without locks or allocation; read by `status`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;

use crate::slots::{SLOTS, Slot};
use crate::stage::Side;

/// Histogram of durations: four buckets per doubling, so a quantile is at most 19 % too high. Each
/// thread that records has its own counts, 1.3 kB.
#[derive(Debug)]
pub(crate) struct Histogram([OnceLock<Counts>; SLOTS]);

type Counts = Box<[AtomicU64; Histogram::BUCKETS]>;

impl Histogram {
    const BUCKETS: usize = 160; // up to 2^40 ns, about 18 minutes

    fn new() -> Self {
        Self([const { OnceLock::new() }; SLOTS])
    }

    #[inline]
    fn index(nanos: u64) -> usize {
        let nanos = nanos.max(4);
        let doubling = 63 - nanos.leading_zeros() as usize;
        let quarter = (nanos >> (doubling - 2)) as usize & 3;
        (doubling * 4 + quarter).min(Self::BUCKETS - 1)
    }

    #[inline]
    fn record(&self, nanos: u64) {
        let slot = Slot::current();
        let counts = &self.0[slot.index()];
        let counts = counts.get().unwrap_or_else(|| Self::first(counts));
        slot.add(&counts[Self::index(nanos)], 1);
    }

    #[cold]
    fn first(counts: &OnceLock<Counts>) -> &Counts {
        counts.get_or_init(|| Box::new([const { AtomicU64::new(0) }; Self::BUCKETS]))
    }

    /// The counts of all threads.
    fn sum(&self) -> Vec<u64> {
        let mut sums = vec![0; Self::BUCKETS];
        for counts in self.0.iter().filter_map(OnceLock::get) {
            for (sum, count) in sums.iter_mut().zip(counts.iter()) {
                *sum += count.load(Relaxed);
            }
        }
        sums
    }

    /// The upper edge of a bucket, in nanoseconds.
    fn edge(index: usize) -> u64 {
        let (doubling, quarter) = (index / 4, index as u64 % 4);
        (5 + quarter) << doubling.saturating_sub(2)
    }

    fn quantile(counts: &[u64], total: u64, share: f64) -> Duration {
        let wanted = (total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(Self::edge(index));
            }
        }
        Duration::ZERO
    }
}

/// Calls of one method on one side.
#[derive(Debug)]
pub(crate) struct SideStats {
    latency: Histogram,
    errors: AtomicU64,
}

impl SideStats {
    fn new() -> Self {
        Self { latency: Histogram::new(), errors: AtomicU64::new(0) }
    }

    #[inline]
    pub(crate) fn record(&self, nanos: u64, ok: bool) {
        self.latency.record(nanos);
        if !ok {
            self.errors.fetch_add(1, Relaxed);
        }
    }

    fn report(&self) -> CallReport {
        let counts = self.latency.sum();
        let calls = counts.iter().sum();
        let at = |share| Histogram::quantile(&counts, calls, share).as_nanos() as f64 / 1_000.0;
        CallReport { calls, errors: self.errors.load(Relaxed), p50_us: at(0.50), p99_us: at(0.99) }
    }
}

/// Calls and errors of one side since the start of the process. Latencies are in microseconds, zero
/// without calls, and rounded up by at most 19 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CallReport {
    /// Calls that ended.
    pub calls: u64,
    /// Calls that ended with an error.
    pub errors: u64,
    /// Median latency.
    pub p50_us: f64,
    /// The latency that 99 % of the calls kept within.
    pub p99_us: f64,
}

/// One method of one repository.
#[derive(Debug)]
pub(crate) struct MethodStats {
    pub(crate) repository: &'static str,
    pub(crate) method: &'static str,
    old: SideStats,
    new: SideStats,
}

impl MethodStats {
    pub(crate) fn new(repository: &'static str, method: &'static str) -> Self {
        Self { repository, method, old: SideStats::new(), new: SideStats::new() }
    }

    #[inline]
    pub(crate) fn side(&self, side: Side) -> &SideStats {
        match side {
            Side::Old => &self.old,
            Side::New => &self.new,
        }
    }

    pub(crate) fn report(&self) -> MethodReport {
        MethodReport {
            repository: self.repository.to_owned(),
            method: self.method.to_owned(),
            old: self.old.report(),
            new: self.new.report(),
        }
    }
}

/// Calls of one method, per side, in this process.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MethodReport {
    /// The trait.
    pub repository: String,
    /// The method.
    pub method: String,
    /// Calls that old answered or took part in.
    pub old: CallReport,
    /// Calls that new answered or took part in.
    pub new: CallReport,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters of a migration in this process.
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: AtomicU64),* }

        /// What the background work of a migration did in this process since its start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        #[non_exhaustive]
        pub struct CounterReport { $($(#[$doc])* pub $name: u64),* }

        impl Counters {
            pub(crate) fn report(&self) -> CounterReport {
                CounterReport { $($name: self.$name.load(Relaxed)),* }
            }
        }
    };
}

counters! {
    /// Shadow reads that agreed.
    shadow_equal,
    /// Shadow reads that differed, and still did when both sides were read again.
    shadow_different,
    /// Shadow reads that differed at first and agreed, or were in flux, when read again.
    shadow_transient,
    /// Shadow reads of which one side failed.
    shadow_failed,
    /// Shadow reads that took longer than the limit.
    shadow_timed_out,
    /// Shadow reads not made because the bound on concurrent ones was reached.
    shadow_dropped,
    /// Keys copied because a read missed them in new.
    lazy_copied,
    /// Lazy copies that failed; the answer came from old.
    lazy_failed,
    /// Mirror writes that failed and left a key dirty.
    mirror_failed,
    /// Dirty keys copied again.
    dirty_repaired,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_never_too_low_and_at_most_a_fifth_too_high() {
        for nanos in [5_u64, 9, 100, 1_000, 123_456, 200_000_000, 3_000_000_000] {
            let stats = SideStats::new();
            for _ in 0..100 {
                stats.record(nanos, true);
            }
            let found = stats.report().p99_us * 1_000.0;
            assert!(found >= nanos as f64 && found <= nanos as f64 * 1.26, "{nanos}: {found}");
        }
    }

    #[test]
    fn no_duration_is_too_long_or_too_short_to_count() {
        let stats = SideStats::new();
        stats.record(0, true);
        stats.record(u64::MAX, false);
        let report = stats.report();
        assert_eq!((report.calls, report.errors), (2, 1));
    }
}
