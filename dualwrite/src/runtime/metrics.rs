//! Publishes what was counted through the facade of the crate `metrics`. Called by the runtime's
//! background task with what is new since the last time: calls themselves never touch the facade.
//!
//! The table of names for readers is `docs/metrics.md`; a test keeps the two and what is really emitted
//! together.

use std::sync::Arc;

use metrics::{Label, Unit};

use crate::control::BackfillProgress;
use crate::gate::{Blocker, Gate};
use crate::observe::CounterReport;
use crate::observe::figures::{Figures, MethodFigures, SideFigures};
use crate::observe::outcome::Outcome;
use crate::stages::facts::Facts;
use crate::stages::position::{Generation, Percent, Position};

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

const CALLS: &str = "dualwrite_calls_total";
const CALL_ERRORS: &str = "dualwrite_call_errors_total";
const CALL_DURATION: &str = "dualwrite_call_duration_seconds";
const CALLS_ABANDONED: &str = "dualwrite_calls_abandoned_total";
const ABANDONED_DURATION: &str = "dualwrite_abandoned_call_duration_seconds";
const ANSWERS: &str = "dualwrite_answers_total";
const SHADOW_READS: &str = "dualwrite_shadow_reads_total";
const ASKED_AGAIN: &str = "dualwrite_shadow_repeated_calls_total";
const COHORTS: &str = "dualwrite_cohort_comparisons_total";
const DIFFERENCES: &str = "dualwrite_differences_total";
const CRITICAL: &str = "dualwrite_critical_mismatches_total";
const LAZY_COPIES: &str = "dualwrite_lazy_copies_total";
const COPY_FAILURES: &str = "dualwrite_copy_failures_total";
const MIRROR_FAILURES: &str = "dualwrite_mirror_write_failures_total";
const MIRROR_WRITES: &str = "dualwrite_mirror_writes_total";
const DIFFERENT_ANSWERS: &str = "dualwrite_different_answers_total";
const REPAIRED: &str = "dualwrite_repaired_keys_total";
const CONTROL_ERRORS: &str = "dualwrite_control_errors_total";
const ROLLBACKS: &str = "dualwrite_rollbacks_total";
const ROLLBACKS_FAILED: &str = "dualwrite_guard_rollbacks_failed_total";
const EVALUATIONS: &str = "dualwrite_guard_evaluations_total";
const BREACHES: &str = "dualwrite_guard_breaches_total";
const BOUNDS: &str = "dualwrite_bounds_hit_total";
const REFUSED: &str = "dualwrite_refused_calls_total";
const STAGE: &str = "dualwrite_stage";
const RAMP: &str = "dualwrite_ramp_ratio";
const EPOCH: &str = "dualwrite_epoch";
const CLOSED: &str = "dualwrite_closed";
const GENERATION: &str = "dualwrite_generation";
const INSTANCES: &str = "dualwrite_instances";
const DEAD_LETTERS: &str = "dualwrite_dead_letters";
const WAIVED: &str = "dualwrite_waived_keys";
const DIRTY: &str = "dualwrite_dirty_keys";
const UNSETTLED: &str = "dualwrite_unsettled_keys";
const IN_FLIGHT: &str = "dualwrite_converging_writes_in_flight";
const CONVERGING: &str = "dualwrite_converging_writes_total";
const GATES: &str = "dualwrite_gate_closed";
const BACKFILL_KEYS: &str = "dualwrite_backfill_keys";
const BACKFILL_RATE: &str = "dualwrite_backfill_keys_per_second";
const BACKFILL_COMPLETE: &str = "dualwrite_backfill_complete";

const TABLE: &[(&str, Kind, Unit, &str)] = &[
    (CALLS, Kind::Counter, Unit::Count, "Calls that a side took part in"),
    (CALL_ERRORS, Kind::Counter, Unit::Count, "Of these, those that ended with an error"),
    (CALL_DURATION, Kind::Histogram, Unit::Seconds, "Time that a side took for a call"),
    (
        CALLS_ABANDONED,
        Kind::Counter,
        Unit::Count,
        "Calls dropped by their callers before a side answered",
    ),
    (ABANDONED_DURATION, Kind::Histogram, Unit::Seconds, "Time that abandoned calls had lasted"),
    (ANSWERS, Kind::Counter, Unit::Count, "Calls whose answer the caller got from a side"),
    (SHADOW_READS, Kind::Counter, Unit::Count, "Shadow reads by what they found"),
    (COHORTS, Kind::Counter, Unit::Count, "Comparisons by cohort, by what they found"),
    (DIFFERENCES, Kind::Counter, Unit::Count, "Differences that stay, by method and field"),
    (ASKED_AGAIN, Kind::Counter, Unit::Count, "Calls by which shadow reads looked again"),
    (CRITICAL, Kind::Counter, Unit::Count, "Shadow reads that differ in a critical field"),
    (LAZY_COPIES, Kind::Counter, Unit::Count, "Keys copied, or not, because a read missed them"),
    (COPY_FAILURES, Kind::Counter, Unit::Count, "Keys that could not be copied"),
    (
        MIRROR_WRITES,
        Kind::Counter,
        Unit::Count,
        "Mirror writes beside a write that went on, by outcome",
    ),
    (
        DIFFERENT_ANSWERS,
        Kind::Counter,
        Unit::Count,
        "Writes that the two sides answered differently",
    ),
    (MIRROR_FAILURES, Kind::Counter, Unit::Count, "Mirror writes that left a key dirty"),
    (REPAIRED, Kind::Counter, Unit::Count, "Dirty keys copied again"),
    (CONVERGING, Kind::Counter, Unit::Count, "Writes to two stores by what became of them"),
    (CONTROL_ERRORS, Kind::Counter, Unit::Count, "Failures of the control tables"),
    (ROLLBACKS, Kind::Counter, Unit::Count, "Rollbacks made by this process"),
    (
        ROLLBACKS_FAILED,
        Kind::Counter,
        Unit::Count,
        "Rollbacks a guard asked for that were refused or failed",
    ),
    (EVALUATIONS, Kind::Counter, Unit::Count, "Evaluations of the guards by verdict"),
    (BREACHES, Kind::Counter, Unit::Count, "Breaches by guard"),
    (BOUNDS, Kind::Counter, Unit::Count, "Times that a bound was hit"),
    (REFUSED, Kind::Counter, Unit::Count, "Calls refused because they are closed for maintenance"),
    (STAGE, Kind::Gauge, Unit::Count, "Stage, 0 (off) to 5 (complete)"),
    (RAMP, Kind::Gauge, Unit::Count, "Share of keys that behave as the next stage, 0 to 1"),
    (EPOCH, Kind::Gauge, Unit::Count, "Epoch of the position that this process follows"),
    (CLOSED, Kind::Gauge, Unit::Count, "Calls closed for maintenance: 0 none, 1 writes, 2 all"),
    (GENERATION, Kind::Gauge, Unit::Count, "Generation"),
    (INSTANCES, Kind::Gauge, Unit::Count, "Live instances"),
    (UNSETTLED, Kind::Gauge, Unit::Count, "Keys of two stores that wait to be copied again"),
    (IN_FLIGHT, Kind::Gauge, Unit::Count, "Writes to two stores in flight, of all instances"),
    (
        DEAD_LETTERS,
        Kind::Gauge,
        Unit::Count,
        "Keys that could not be copied to a side, the waived left out",
    ),
    (WAIVED, Kind::Gauge, Unit::Count, "Keys that need not be copied to a side"),
    (DIRTY, Kind::Gauge, Unit::Count, "Keys that wait to be copied to a side again"),
    (GATES, Kind::Gauge, Unit::Count, "Whether a gate before the next stage is closed, 0 or 1"),
    (BACKFILL_KEYS, Kind::Gauge, Unit::Count, "Keys of the newest backfill"),
    (BACKFILL_RATE, Kind::Gauge, Unit::CountPerSecond, "Keys a second since its start"),
    (BACKFILL_COMPLETE, Kind::Gauge, Unit::Count, "Whether it is complete, 0 or 1"),
];

/// Tells the recorder what the names mean.
pub(crate) fn describe() {
    for (name, kind, unit, help) in TABLE {
        match kind {
            Kind::Counter => metrics::describe_counter!(*name, *unit, *help),
            Kind::Gauge => metrics::describe_gauge!(*name, *unit, *help),
            Kind::Histogram => metrics::describe_histogram!(*name, *unit, *help),
        }
    }
}

/// The series of one migration.
pub(crate) struct Series<'m>(pub(crate) &'m Arc<str>);

impl Series<'_> {
    fn labels<const N: usize>(&self, more: [(&'static str, &str); N]) -> Vec<Label> {
        let own = Label::new("migration", Arc::clone(self.0));
        let more = more.into_iter().map(|(name, value)| Label::new(name, value.to_owned()));
        std::iter::once(own).chain(more).collect()
    }

    /// Also by nothing: then the series is there, and a rate over it is zero instead of unknown.
    fn count<const N: usize>(
        &self,
        name: &'static str,
        by: u64,
        labels: [(&'static str, &str); N],
    ) {
        metrics::counter!(name, self.labels(labels)).increment(by);
    }

    fn set<const N: usize>(&self, name: &'static str, to: f64, labels: [(&'static str, &str); N]) {
        metrics::gauge!(name, self.labels(labels)).set(to);
    }

    /// What was counted since the last time.
    pub(crate) fn news(&self, news: &Figures) {
        self.compared(news);
        for (guard, by) in &news.breaches {
            self.count(BREACHES, *by, [("guard", guard)]);
        }
        self.outcomes(&news.counters);
        self.totals(&news.counters);
        self.bounds(&news.counters);
    }

    fn compared(&self, news: &Figures) {
        for method in &news.methods {
            self.side(method, "old", &method.old);
            self.side(method, "new", &method.new);
            for outcome in Outcome::ALL {
                let labels = [("method", &*method.name), ("outcome", outcome.as_str())];
                self.count(SHADOW_READS, method.compared.of(*outcome), labels);
            }
            for (field, by) in &method.fields {
                self.count(DIFFERENCES, *by, [("method", &*method.name), ("field", field)]);
            }
        }
        for (cohort, compared) in &news.cohorts {
            for outcome in Outcome::ALL {
                let labels = [("cohort", &**cohort), ("outcome", outcome.as_str())];
                self.count(COHORTS, compared.of(*outcome), labels);
            }
        }
    }

    fn outcomes(&self, counted: &CounterReport) {
        let by_others = counted.rollbacks.saturating_sub(counted.guard_rollbacks);
        for (name, label, outcome, by) in [
            (LAZY_COPIES, "outcome", "copied", counted.lazy_copied),
            (LAZY_COPIES, "outcome", "failed", counted.lazy_failed),
            (MIRROR_WRITES, "outcome", "written", counted.mirror_written),
            (MIRROR_WRITES, "outcome", "failed", counted.mirror_failed),
            (CONVERGING, "outcome", "begun", counted.converging_writes),
            (CONVERGING, "outcome", "refused", counted.converging_refused),
            (CONVERGING, "outcome", "unsettled", counted.converging_unsettled),
            (CONVERGING, "outcome", "adopted", counted.converging_adopted),
            (ROLLBACKS, "by", "caller", by_others),
            (ROLLBACKS, "by", "guard", counted.guard_rollbacks),
            (EVALUATIONS, "verdict", "healthy", counted.guard_healthy),
            (EVALUATIONS, "verdict", "breached", counted.guard_breached),
            (EVALUATIONS, "verdict", "not_enough_data", counted.guard_without_data),
        ] {
            self.count(name, by, [(label, outcome)]);
        }
    }

    fn totals(&self, counted: &CounterReport) {
        for (name, by) in [
            (ASKED_AGAIN, counted.shadow_asked_again),
            (CRITICAL, counted.critical_different),
            (COPY_FAILURES, counted.copies_failed),
            (MIRROR_FAILURES, counted.mirror_failed),
            (DIFFERENT_ANSWERS, counted.answers_different),
            (REPAIRED, counted.dirty_repaired),
            (REFUSED, counted.closed_refused),
            (CONTROL_ERRORS, counted.control_failed),
            (ROLLBACKS_FAILED, counted.guard_rollbacks_failed),
        ] {
            self.count(name, by, []);
        }
    }

    /// How often what is bounded was refused, dropped or given up.
    fn bounds(&self, counted: &CounterReport) {
        for (bound, by) in [
            ("shadow_concurrency", counted.shadow_dropped),
            ("shadow_timeout", counted.shadow_timed_out),
            ("fields", counted.fields_beyond),
            ("samples", counted.samples_dropped),
            ("reports", counted.reports_dropped),
            ("cohorts", counted.cohorts_beyond),
            ("events", counted.events_dropped),
            ("fence_alone", counted.fence_refused),
            ("control_turn", counted.turns_timed_out),
            ("converging_in_flight", counted.converging_refused),
        ] {
            self.count(BOUNDS, by, [("bound", bound)]);
        }
    }

    fn side(&self, method: &MethodFigures, side: &str, figures: &SideFigures) {
        let labels = [("method", &*method.name), ("side", side)];
        self.count(CALLS, figures.calls(), labels);
        self.count(CALL_ERRORS, figures.errors, labels);
        self.count(CALLS_ABANDONED, figures.abandoned.total(), labels);
        self.count(ANSWERS, figures.answered(), labels);
        for (name, counts) in
            [(CALL_DURATION, &figures.latency), (ABANDONED_DURATION, &figures.abandoned)]
        {
            let durations = metrics::histogram!(name, self.labels(labels));
            for (nanos, count) in counts.buckets() {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                durations.record_many(nanos as f64 / 1e9, count);
            }
        }
    }

    pub(crate) fn position(&self, position: Position, generation: Generation) {
        let ramp = f64::from(position.ramp.basis_points()) / f64::from(Percent::SCALE);
        self.set(STAGE, f64::from(position.stage.code()), []);
        self.set(RAMP, ramp, []);
        self.set(EPOCH, position.epoch.0 as f64, []);
        self.set(CLOSED, f64::from(position.closed.code()), []);
        self.set(GENERATION, generation.0 as f64, []);
    }

    /// What the control tables say.
    pub(crate) fn facts(&self, facts: &Facts, closed: &[Blocker]) {
        self.set(INSTANCES, facts.live() as f64, []);
        self.set(DEAD_LETTERS, facts.old.dead_letters as f64, [("side", "old")]);
        self.set(DEAD_LETTERS, facts.new.dead_letters as f64, [("side", "new")]);
        self.set(WAIVED, facts.old.waived as f64, [("side", "old")]);
        self.set(WAIVED, facts.new.waived as f64, [("side", "new")]);
        self.set(DIRTY, facts.old.dirty as f64, [("side", "old")]);
        self.set(DIRTY, facts.new.dirty as f64, [("side", "new")]);
        self.set(UNSETTLED, facts.converging.keys as f64, []);
        self.set(IN_FLIGHT, facts.converging.writes as f64, []);
        for gate in Gate::ALL {
            let is_closed = closed.iter().any(|blocker| blocker.gate == gate);
            self.set(GATES, f64::from(u8::from(is_closed)), [("gate", gate.as_str())]);
        }
    }

    pub(crate) fn backfill(&self, progress: &BackfillProgress) {
        for (part, keys) in [
            ("total", progress.total),
            ("migrated", progress.migrated),
            ("skipped", progress.skipped),
            ("failed", progress.failed),
        ] {
            self.set(BACKFILL_KEYS, keys as f64, [("part", part)]);
        }
        self.set(BACKFILL_RATE, progress.keys_per_second(), []);
        self.set(BACKFILL_COMPLETE, f64::from(u8::from(progress.complete)), []);
    }
}
