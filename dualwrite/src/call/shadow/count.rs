//! Where comparisons count: in the migration, its method, its fields, and the cohort of the caller.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use crate::copier::joined::Joined;
use crate::observe::outcome::{Outcome, Outcomes};
use crate::observe::tally::is_within;
use crate::observe::{MethodStats, count};
use crate::shadow::samples::Stored;
use crate::stages::position::Percent;

impl Joined {
    /// Counts what came of a comparison.
    pub(crate) fn count_compared(&self, method: &MethodStats, outcome: Outcome) {
        method.compared.count(outcome);
        count(self.counters.compared(outcome));
    }

    /// Where the present task wants a comparison counted besides.
    pub(crate) fn cohort(&self) -> Option<Arc<Outcomes>> {
        let counted = self.compared.cohorts.current()?;
        if !counted.is_named {
            count(&self.counters.cohorts_beyond);
        }
        Some(counted.outcomes)
    }

    /// Counts the fields of a comparison whose differences stay.
    pub(crate) fn count_fields(&self, method: &MethodStats, fields: &BTreeSet<String>) {
        let mut is_critical = false;
        for field in fields {
            if !method.fields.count(field) {
                count(&self.counters.fields_beyond);
            }
            is_critical |= self.is_critical(field);
        }
        if is_critical {
            count(&self.counters.critical_different);
        }
    }

    /// The fields of a method whose differences are noise at present; never a critical one.
    pub(crate) fn noise(&self, method: &str) -> BTreeSet<String> {
        if self.options.rules.noise == Percent::ZERO {
            return BTreeSet::new();
        }
        let mut noise = self.compared.baseline.noise(method);
        noise.retain(|field| !self.is_critical(field));
        noise
    }

    /// Whether a difference there is one in a critical field: that field, what lies within it, or what it
    /// lies in, such as a list that lacks an element.
    fn is_critical(&self, field: &str) -> bool {
        let meets = |critical: &String| is_within(field, critical) || is_within(critical, field);
        self.options.critical.iter().any(meets)
    }

    /// Whether this process may store one more sample of a mismatch in this field.
    pub(crate) fn may_sample(&self, field: &str) -> bool {
        self.compared.stored.lock().unwrap_or_else(PoisonError::into_inner).admit(field)
    }

    /// The sample that had its place was not stored.
    pub(crate) fn may_sample_again(&self, field: &str) {
        self.compared.stored.lock().unwrap_or_else(PoisonError::into_inner).give_back(field);
    }

    /// The samples are gone.
    pub(crate) fn forget_samples(&self) {
        *self.compared.stored.lock().unwrap_or_else(PoisonError::into_inner) = Stored::default();
        #[cfg(feature = "testing")]
        {
            let now = self.counters.report();
            *self.for_tests.forgotten.lock().unwrap_or_else(PoisonError::into_inner) = now;
        }
    }
}
