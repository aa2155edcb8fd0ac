//! Calls of one method, per side.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;

use super::figures::{MethodFigures, SideFigures};
use super::histogram::Histogram;
use super::tally::{FIELDS_MAX, Tally};
use crate::clock::Clock;
use crate::observe::outcome::{ComparedReport, Outcomes};
use crate::stages::stage::Side;

/// Calls of one method on one side.
#[derive(Debug)]
pub(crate) struct SideStats {
    latency: Histogram,
    errors: AtomicU64,
    /// Of the calls, those whose answer nobody got.
    mirrored: AtomicU64,
    /// How long calls had lasted that their callers gave up. None of them is among the calls.
    abandoned: Histogram,
}

impl SideStats {
    fn new() -> Self {
        Self {
            latency: Histogram::new(),
            errors: AtomicU64::new(0),
            mirrored: AtomicU64::new(0),
            abandoned: Histogram::new(),
        }
    }

    #[inline]
    pub(crate) fn record(&self, nanos: u64, ok: bool) {
        self.latency.record(nanos);
        if !ok {
            self.errors.fetch_add(1, Relaxed);
        }
    }

    /// Records a call that was made beside the primary's.
    pub(crate) fn record_mirror(&self, nanos: u64, ok: bool) {
        self.record(nanos, ok);
        self.mirrored.fetch_add(1, Relaxed);
    }

    /// Records a call that its caller gave up before this side had answered.
    pub(crate) fn record_abandoned(&self, nanos: u64) {
        self.abandoned.record(nanos);
    }

    fn figures(&self) -> SideFigures {
        SideFigures {
            abandoned: self.abandoned.sum(),
            errors: self.errors.load(Relaxed),
            mirrored: self.mirrored.load(Relaxed),
            latency: self.latency.sum(),
        }
    }
}

/// Times a read of the mirror, also one that is given up: dropped unfinished, it counts as failed.
pub(crate) struct Timed<'m> {
    method: &'m MethodStats,
    side: Side,
    clock: &'m Clock,
    start: u64,
    ok: bool,
    /// Whether the read still belongs to the position that is judged.
    counts: Option<&'m (dyn Fn() -> bool + Sync)>,
}

impl<'m> Timed<'m> {
    pub(crate) fn start(
        method: &'m MethodStats,
        side: Side,
        clock: &'m Clock,
        counts: &'m (dyn Fn() -> bool + Sync),
    ) -> Self {
        Self { method, side, clock, start: clock.now(), ok: false, counts: Some(counts) }
    }

    pub(crate) fn end(mut self, ok: bool) {
        self.ok = ok;
    }
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        if self.counts.take().is_some_and(|counts| counts()) {
            let nanos = self.clock.now().saturating_sub(self.start);
            self.method.side(self.side).record_mirror(nanos, self.ok);
        }
    }
}

/// Calls and errors of one side since the start of the process. Latencies are in microseconds, zero
/// without calls, and rounded up by at most 13 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CallReport {
    /// Calls that ended.
    pub calls: u64,
    /// Calls that ended with an error.
    pub errors: u64,
    /// Median latency.
    pub p50_us: f64,
    /// The latency that 95 % of the calls kept within.
    pub p95_us: f64,
    /// The latency that 99 % of the calls kept within.
    pub p99_us: f64,
    /// Calls that did not end: the caller dropped them, for example because a request timed out, before
    /// the side had answered. They are not among `calls`.
    pub abandoned: u64,
    /// The time that half of the abandoned calls had lasted at the least.
    pub abandoned_p50_us: f64,
}

impl CallReport {
    pub(crate) fn of(figures: &SideFigures) -> Self {
        let micros = |latency: Duration| latency.as_nanos() as f64 / 1_000.0;
        let [p50_us, p95_us, p99_us] = figures.latency.quantiles([0.50, 0.95, 0.99]).map(micros);
        let [abandoned_p50_us] = figures.abandoned.quantiles([0.50]).map(micros);
        let (calls, errors) = (figures.calls(), figures.errors);
        let abandoned = figures.abandoned.total();
        Self { calls, errors, p50_us, p95_us, p99_us, abandoned, abandoned_p50_us }
    }
}

/// One method of one repository.
#[derive(Debug)]
pub(crate) struct MethodStats {
    pub(crate) repository: &'static str,
    pub(crate) method: &'static str,
    /// Both, for labels and reports.
    pub(crate) name: Arc<str>,
    writes: AtomicBool,
    /// The limit on one call, in nanoseconds; 0 where the method has none of its own.
    limit: AtomicU64,
    old: SideStats,
    new: SideStats,
    pub(crate) compared: Outcomes,
    /// Differences by field.
    pub(crate) fields: Tally,
}

impl MethodStats {
    /// The critical fields have their place among those that are counted by name.
    pub(crate) fn new(repository: &'static str, method: &'static str, critical: &[String]) -> Self {
        Self {
            repository,
            method,
            name: format!("{repository}::{method}").into(),
            writes: AtomicBool::new(false),
            limit: AtomicU64::new(0),
            old: SideStats::new(),
            new: SideStats::new(),
            compared: Outcomes::default(),
            fields: Tally::new(FIELDS_MAX, critical.iter().map(String::as_str)),
        }
    }

    #[inline]
    pub(crate) fn side(&self, side: Side) -> &SideStats {
        match side {
            Side::Old => &self.old,
            Side::New => &self.new,
        }
    }

    /// The method writes.
    pub(crate) fn set_writes(&self) {
        if !self.writes.load(Relaxed) {
            self.writes.store(true, Relaxed);
        }
    }

    /// Records one side of a write. The primary's answer is the caller's.
    pub(crate) fn record_write(&self, side: Side, is_primary: bool, nanos: u64, ok: bool) {
        self.set_writes();
        match is_primary {
            true => self.side(side).record(nanos, ok),
            false => self.side(side).record_mirror(nanos, ok),
        }
    }

    /// The limit on one call, where the method has one of its own.
    pub(crate) fn limit(&self) -> Option<Duration> {
        Some(self.limit.load(Relaxed)).filter(|nanos| *nanos > 0).map(Duration::from_nanos)
    }

    pub(crate) fn set_limit(&self, limit: Duration) {
        self.limit.store(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Everything counted so far.
    pub(crate) fn figures(&self) -> MethodFigures {
        MethodFigures {
            name: Arc::clone(&self.name),
            writes: self.writes.load(Relaxed),
            old: self.old.figures(),
            new: self.new.figures(),
            compared: self.compared.report(),
            fields: self.fields.sum(),
        }
    }

    pub(crate) fn report(&self) -> MethodReport {
        let figures = self.figures();
        MethodReport {
            repository: self.repository.to_owned(),
            method: self.method.to_owned(),
            old: CallReport::of(&figures.old),
            new: CallReport::of(&figures.new),
            compared: figures.compared,
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
    /// What came of its comparisons.
    pub compared: ComparedReport,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_duration_is_too_long_or_too_short_to_count() {
        let stats = SideStats::new();
        stats.record(0, true);
        stats.record(u64::MAX, false);
        let report = CallReport::of(&stats.figures());
        assert_eq!((report.calls, report.errors), (2, 1));
    }

    #[test]
    fn abandoned_calls_count_apart_with_the_time_they_had_lasted() {
        let stats = SideStats::new();
        stats.record_abandoned(1_000_000);
        let report = CallReport::of(&stats.figures());
        assert_eq!((report.calls, report.errors, report.abandoned), (0, 0, 1));
        assert!((1_000.0..1_150.0).contains(&report.abandoned_p50_us), "{report:?}");
    }

    #[test]
    fn a_read_that_is_given_up_counts_as_failed_and_as_long_as_it_lasted() {
        let (clock, hands) = Clock::manual();
        let method = MethodStats::new("Notes", "find", &[]);
        drop(Timed::start(&method, Side::New, &clock, &|| false));
        let given_up = Timed::start(&method, Side::New, &clock, &|| true);
        hands.advance(Duration::from_secs(2));
        drop(given_up);
        Timed::start(&method, Side::New, &clock, &|| true).end(true);
        let new = method.figures().new;
        assert_eq!((new.calls(), new.errors, new.mirrored), (2, 1, 2));
        assert_eq!(new.latency.slower_than(1_500_000_000), 1);
    }
}
