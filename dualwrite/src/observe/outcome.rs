//! What came of a comparison: the classes, and counts of them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

macro_rules! outcomes {
    ($($(#[$doc:meta])* $variant:ident $name:ident),* $(,)?) => {
        /// One class. A call that its caller gave up is in none.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Outcome { $($(#[$doc])* $variant),* }

        impl Outcome {
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name in metrics.
            #[cfg_attr(not(feature = "metrics"), allow(dead_code))]
            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($name)),* }
            }
        }

        /// Comparisons by what came of them, in this process. A call that its caller gave up is in
        /// none.
        ///
        /// ```
        /// let compared = dualwrite::shadow::ComparedReport::default();
        /// assert_eq!(compared.total(), 0);
        /// ```
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        #[non_exhaustive]
        pub struct ComparedReport { $($(#[$doc])* pub $name: u64),* }

        impl ComparedReport {
            /// All of them.
            #[must_use]
            pub fn total(&self) -> u64 {
                0 $(+ self.$name)*
            }

            #[cfg_attr(not(feature = "metrics"), allow(dead_code))]
            pub(crate) fn of(&self, outcome: Outcome) -> u64 {
                match outcome { $(Outcome::$variant => self.$name),* }
            }

            pub(crate) fn since(&self, earlier: &Self) -> Self {
                Self { $($name: self.$name.saturating_sub(earlier.$name)),* }
            }

            pub(crate) fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }

        impl Outcomes {
            pub(crate) fn report(&self) -> ComparedReport {
                let of = |outcome: Outcome| self.0[outcome as usize].load(Relaxed);
                ComparedReport { $($name: of(Outcome::$variant)),* }
            }
        }
    };
}

outcomes! {
    /// Both answered the same.
    Equal equal,
    /// Both answered, otherwise, and still did when they were read again.
    Different different,
    /// They differed at first and agreed, or were in flux, when read again.
    Transient transient,
    /// What differed, or failed, is what the registration says to ignore, or noise.
    Ignored ignored,
    /// The mirror alone failed or panicked.
    MirrorFailed mirror_failed,
    /// The side that answers the caller failed, the mirror did not.
    PrimaryFailed primary_failed,
    /// Both failed, with errors of one kind.
    FailedAlike failed_alike,
    /// Both failed, with errors of different kinds.
    FailedDifferently failed_differently,
    /// It took longer than the limit.
    TimedOut timed_out,
    /// The comparison panicked: `Clone` of the answer or of an argument, `Compare`, `PartialEq`, a rule of
    /// the registration, or `Drop`.
    Panicked panicked,
    /// It was not made, because the bound on concurrent ones was reached.
    Dropped dropped,
}

/// How often each class came.
#[derive(Debug, Default)]
pub(crate) struct Outcomes([AtomicU64; Outcome::ALL.len()]);

impl Outcomes {
    pub(crate) fn count(&self, outcome: Outcome) {
        self.0[outcome as usize].fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_a_count_of_its_own() {
        let outcomes = Outcomes::default();
        for (times, outcome) in (1_u64..).zip(Outcome::ALL) {
            (0..times).for_each(|_| outcomes.count(*outcome));
        }
        let report = outcomes.report();
        for (times, outcome) in (1_u64..).zip(Outcome::ALL) {
            assert_eq!(report.of(*outcome), times, "{outcome:?}");
        }
        assert_eq!(report.total(), 66);
        let mut twice = report;
        twice.add(&report);
        assert_eq!(twice.since(&report), report);
    }
}
