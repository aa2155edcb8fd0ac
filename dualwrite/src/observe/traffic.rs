//! The calls of one side in short, as instances tell them to the control tables: counts that can be added up. Pure.

use std::time::Duration;

use crate::observe::figures::MethodFigures;
use crate::stages::stage::Side;

/// How many classes of durations there are.
pub(crate) const CLASSES: usize = 40;
/// The longest duration of the first class, in nanoseconds.
const FIRST_NS: f64 = 32_000.0;

/// Calls of one side, and how many took how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SideTraffic {
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    /// By class.
    pub(crate) durations: [u64; CLASSES],
}

impl Default for SideTraffic {
    fn default() -> Self {
        Self { calls: 0, errors: 0, durations: [0; CLASSES] }
    }
}

/// The class of a duration: each is 1.41 times as long as the one before, and the last one has no end.
fn class(nanos: u64) -> usize {
    let doublings = (nanos as f64 / FIRST_NS).log2();
    ((doublings * 2.0).ceil().max(0.0) as usize).min(CLASSES - 1)
}

/// The longest duration of a class, in microseconds.
fn upper_us(class: usize) -> f64 {
    FIRST_NS / 1_000.0 * 2_f64.powf(class as f64 / 2.0)
}

impl SideTraffic {
    /// All calls of one side so far.
    pub(crate) fn of(methods: &[MethodFigures], side: Side) -> Self {
        let mut traffic = Self::default();
        for method in methods {
            let figures = if side == Side::Old { &method.old } else { &method.new };
            traffic.calls += figures.calls();
            traffic.errors += figures.errors;
            for (nanos, count) in figures.latency.buckets() {
                traffic.durations[class(nanos)] += count;
            }
        }
        traffic
    }

    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut durations = self.durations;
        for (now, before) in durations.iter_mut().zip(earlier.durations) {
            *now = now.saturating_sub(before);
        }
        Self {
            calls: self.calls.saturating_sub(earlier.calls),
            errors: self.errors.saturating_sub(earlier.errors),
            durations,
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.errors += other.errors;
        for (sum, more) in self.durations.iter_mut().zip(other.durations) {
            *sum += more;
        }
    }

    /// The duration that this share of the calls kept within, in microseconds; zero without calls. Too long by at most
    /// a half: it is that of its class.
    pub(crate) fn quantile_us(&self, share: f64) -> f64 {
        let total: u64 = self.durations.iter().sum();
        let wanted = ((total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (class, count) in self.durations.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper_us(class);
            }
        }
        0.0
    }
}

/// How often an instance tells.
const EVERY: Duration = Duration::from_secs(60);
/// After so many times, what is too old is removed.
const FORGET_EVERY: u32 = 30;

/// What this process has told so far, of the old and the new side.
#[derive(Debug)]
pub(crate) struct Told {
    at: u64,
    times: u32,
    totals: [SideTraffic; 2],
}

impl Told {
    pub(crate) fn nothing(now: u64) -> Self {
        Self { at: now, times: 0, totals: Default::default() }
    }

    /// Whether it is time to tell, which is noted.
    pub(crate) fn is_due(&mut self, now: u64) -> bool {
        let due = Duration::from_nanos(now.saturating_sub(self.at)) >= EVERY;
        if due {
            self.at = now;
        }
        due
    }

    /// What is new, if anything, and whether to remove what is too old. It counts as told, also where the database does
    /// not answer: better too little than twice.
    pub(crate) fn news(&mut self, totals: [SideTraffic; 2]) -> Option<([SideTraffic; 2], bool)> {
        let news = [0, 1].map(|side| totals[side].since(&self.totals[side]));
        if news.iter().all(|side| side.calls == 0) {
            return None;
        }
        self.totals = totals;
        let forget = self.times.is_multiple_of(FORGET_EVERY);
        self.times = self.times.wrapping_add(1);
        Some((news, forget))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(durations: &[(u64, u64)]) -> SideTraffic {
        let mut traffic = SideTraffic::default();
        for (nanos, count) in durations {
            traffic.durations[class(*nanos)] += count;
            traffic.calls += count;
        }
        traffic
    }

    #[test]
    fn a_quantile_is_never_too_short_and_at_most_a_half_too_long() {
        for nanos in [32_001_u64, 50_000, 1_000_000, 77_000_000, 3_000_000_000] {
            let found = took(&[(nanos, 10)]).quantile_us(0.5) * 1_000.0;
            assert!(found >= nanos as f64 && found <= nanos as f64 * 1.5, "{nanos}: {found}");
        }
        assert_eq!(took(&[(1, 1)]).quantile_us(0.99), 32.0);
        assert_eq!(SideTraffic::default().quantile_us(0.99), 0.0);
    }

    #[test]
    fn those_of_several_instances_add_up() {
        let mut sum = took(&[(1_000_000, 98)]);
        sum.add(&took(&[(50_000_000, 2)]));
        assert_eq!(sum.calls, 100);
        assert!(sum.quantile_us(0.5) < 1_500.0 && sum.quantile_us(0.99) >= 50_000.0);
        assert_eq!(sum.since(&took(&[(1_000_000, 98)])), took(&[(50_000_000, 2)]));
    }

    #[test]
    fn a_minute_is_told_once_and_one_without_calls_not_at_all() {
        let minute = 60_000_000_000;
        let mut told = Told::nothing(5);
        assert!(!told.is_due(minute) && told.is_due(minute + 5) && !told.is_due(minute + 6));
        let calls = |count| [took(&[(1_000_000, count)]), SideTraffic::default()];
        let (news, forget) = told.news(calls(3)).unwrap();
        assert!(news == calls(3) && forget);
        assert_eq!(told.news(calls(3)), None);
        let (news, forget) = told.news(calls(5)).unwrap();
        assert!(news == calls(2) && !forget);
    }

    #[test]
    fn whatever_takes_very_long_has_a_class() {
        assert_eq!(class(u64::MAX), CLASSES - 1);
        assert_eq!(class(0), 0);
    }
}
