//! What is counted in the process: calls, errors and latency for each method and side, and what the background work
//! did. Calls count without locks or allocation.

pub(crate) mod figures;
pub(crate) mod histogram;
pub(crate) mod methods;
pub(crate) mod mirror;
pub(crate) mod outcome;
pub(crate) mod rarely;
pub(crate) mod slots;
pub(crate) mod tally;
pub(crate) mod traffic;
pub(crate) mod window;

pub use crate::observe::mirror::MirrorReport;
pub use crate::stages::mirror::{MirrorError, MirrorNote};

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use crate::observe::outcome::Outcome;

pub use methods::{CallReport, MethodReport};
pub(crate) use methods::{MethodStats, Timed};

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

        impl CounterReport {
            /// What was counted since `earlier`.
            pub(crate) fn since(&self, earlier: &Self) -> Self {
                Self { $($name: self.$name.saturating_sub(earlier.$name)),* }
            }

            pub(crate) fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
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
    /// Shadow reads whose differences or errors are to be ignored, or are noise.
    shadow_ignored,
    /// Shadow reads of which the mirror alone failed.
    shadow_mirror_failed,
    /// Shadow reads of which the side that answers alone failed.
    shadow_primary_failed,
    /// Shadow reads of which both sides failed, with errors of one kind.
    shadow_failed_alike,
    /// Shadow reads of which both sides failed, with errors of different kinds.
    shadow_failed_differently,
    /// Shadow reads that took longer than the limit.
    shadow_timed_out,
    /// Transactions on SQLite that waited for the control tables to be written until the time was up; see
    /// [`CONTROL_TURN_WAIT`](crate::defaults::CONTROL_TURN_WAIT).
    turns_timed_out,
    /// Shadow reads whose comparison panicked: in `Clone` of the answer or of an argument, in `Compare` or
    /// `PartialEq`, or in `Drop`.
    shadow_panicked,
    /// Shadow reads not made because the bound on concurrent ones was reached.
    shadow_dropped,
    /// Calls of a side by which a comparison looked again: four each time it looks whether a difference stays, one
    /// or two where it looks for noise. They count among the calls of the side, too.
    shadow_asked_again,
    /// Of `shadow_different`, those that differed in a field marked as critical.
    critical_different,
    /// Differences in fields beyond those that are counted by name; see
    /// [`FIELDS_MAX`](crate::defaults::FIELDS_MAX).
    fields_beyond,
    /// Comparisons of cohorts beyond those that are counted by name; see
    /// [`COHORTS_MAX`](crate::defaults::COHORTS_MAX).
    cohorts_beyond,
    /// Mismatches of which no sample was kept: for want of room (see [`SAMPLES_MAX`](crate::defaults::SAMPLES_MAX) and
    /// [`SAMPLES_PER_FIELD_MAX`](crate::defaults::SAMPLES_PER_FIELD_MAX)), since too many comparisons were under way,
    /// or since they could not be stored, or not in time.
    samples_dropped,
    /// Reports of comparisons that no hook got, because too many waited; see
    /// [`SHADOW_REPORTS_MAX`](crate::defaults::SHADOW_REPORTS_MAX).
    reports_dropped,
    /// Keys copied because a read missed them in new.
    lazy_copied,
    /// Lazy copies that failed; the answer came from old.
    lazy_failed,
    /// Keys that the copy function failed for and that went to the dead letters, by whatever way.
    copies_failed,
    /// Mirror writes that succeeded, as part of a write that did.
    mirror_written,
    /// Mirror writes that failed and left a key dirty, while the caller's write went on.
    mirror_failed,
    /// Writes that the two sides answered differently; see
    /// [`AnswerPolicy`](crate::AnswerPolicy).
    answers_different,
    /// Writes whose answers could not be compared, because the comparison panicked.
    answers_uncompared,
    /// Dirty keys copied again.
    dirty_repaired,
    /// Writes in converging mode that were begun.
    converging_writes,
    /// Of these, those that were refused because too many were in flight.
    converging_refused,
    /// Keys that a write in converging mode left to be copied again.
    converging_unsettled,
    /// Writes in converging mode of instances that were gone, whose keys are copied again.
    converging_adopted,
    /// Times that writes in flight did not end in time for a copy to old; see
    /// [`FENCE_REFUSALS_MAX`](crate::defaults::FENCE_REFUSALS_MAX).
    fence_refused,
    /// Calls that were refused because they are closed for maintenance.
    closed_refused,
    /// Times that the control tables did not answer, or answered with an error.
    control_failed,
    /// Rollbacks made here, by whomever.
    rollbacks,
    /// Of these, those made by a guard.
    guard_rollbacks,
    /// Rollbacks that a guard asked for in vain.
    guard_rollbacks_failed,
    /// Evaluations of the guards that found everything in order.
    guard_healthy,
    /// Evaluations that found a guard breached.
    guard_breached,
    /// Evaluations that had too little to judge by.
    guard_without_data,
    /// Events that the hook did not get because too many were waiting; see
    /// [`EVENTS_WAITING_MAX`](crate::defaults::EVENTS_WAITING_MAX).
    events_dropped,
}

impl Counters {
    pub(crate) fn compared(&self, outcome: Outcome) -> &AtomicU64 {
        match outcome {
            Outcome::Equal => &self.shadow_equal,
            Outcome::Different => &self.shadow_different,
            Outcome::Transient => &self.shadow_transient,
            Outcome::Ignored => &self.shadow_ignored,
            Outcome::MirrorFailed => &self.shadow_mirror_failed,
            Outcome::PrimaryFailed => &self.shadow_primary_failed,
            Outcome::FailedAlike => &self.shadow_failed_alike,
            Outcome::FailedDifferently => &self.shadow_failed_differently,
            Outcome::TimedOut => &self.shadow_timed_out,
            Outcome::Panicked => &self.shadow_panicked,
            Outcome::Dropped => &self.shadow_dropped,
        }
    }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// Adds so many.
pub(crate) fn count_by(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Relaxed);
}
