//! Cohorts: comparisons counted apart by a label of the caller's, such as the size or the region of a
//! tenant. The label is the task's own, and is looked at only where a call is compared: a call that is not
//! pays nothing for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::observe::outcome::{ComparedReport, Outcomes};

/// How many cohorts are counted by name, per migration; the others are counted together, as `other`.
pub const COHORTS_MAX: usize = 50;
/// The most bytes of a label; a longer one counts as `other`.
pub const COHORT_BYTES_MAX: usize = 100;

const OTHER: &str = "other";

tokio::task_local! {
    static COHORT: Arc<str>;
}

/// Counts the comparisons of what is called in here for a cohort too, whichever migration they are of.
/// Within one another, the inner one counts. What is spawned in here is not in it. The label must not say
/// who somebody is: [`Status::cohorts`](crate::Status) and the metrics show it.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// # struct Customers;
/// # impl Customers { async fn find(&self, id: i64) -> i64 { id } }
/// # let customers = Customers;
/// let customer = dualwrite::shadow::cohort("enterprise", customers.find(7)).await;
/// # assert_eq!(customer, 7);
/// # });
/// ```
pub fn cohort<F: Future>(label: &str, call: F) -> impl Future<Output = F::Output> + use<F> {
    COHORT.scope(label.into(), call)
}

/// Comparisons of one cohort.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CohortReport {
    /// Its label.
    pub cohort: String,
    /// What came of its comparisons.
    pub compared: ComparedReport,
}

/// Comparisons by cohort.
#[derive(Debug, Default)]
pub(crate) struct Cohorts(Mutex<BTreeMap<Arc<str>, Arc<Outcomes>>>);

/// Where a comparison counts, and whether it has a name of its own.
pub(crate) struct Counted {
    pub(crate) outcomes: Arc<Outcomes>,
    pub(crate) is_named: bool,
}

/// The label of the present task.
pub(crate) fn label() -> Option<Arc<str>> {
    COHORT.try_with(Arc::clone).ok()
}

impl Cohorts {
    /// That of the present task.
    pub(crate) fn current(&self) -> Option<Counted> {
        COHORT.try_with(|label| self.of(label)).ok()
    }

    fn of(&self, label: &Arc<str>) -> Counted {
        let mut cohorts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outcomes) = cohorts.get(label) {
            return Counted { outcomes: Arc::clone(outcomes), is_named: true };
        }
        let known = cohorts.len() - usize::from(cohorts.contains_key(OTHER));
        let is_named = known < COHORTS_MAX && label.len() <= COHORT_BYTES_MAX;
        let label = if is_named { Arc::clone(label) } else { OTHER.into() };
        Counted { outcomes: Arc::clone(cohorts.entry(label).or_default()), is_named }
    }

    /// All of them, by label.
    pub(crate) fn sum(&self) -> BTreeMap<Arc<str>, ComparedReport> {
        let cohorts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cohorts.iter().map(|(label, outcomes)| (Arc::clone(label), outcomes.report())).collect()
    }

    pub(crate) fn report(&self) -> Vec<CohortReport> {
        let report = |(label, compared): (Arc<str>, ComparedReport)| CohortReport {
            cohort: label.to_string(),
            compared,
        };
        self.sum().into_iter().map(report).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::outcome::Outcome;

    #[test]
    fn labels_are_bounded_and_the_rest_counts_together() {
        let cohorts = Cohorts::default();
        let count = |label: &str| {
            let counted = cohorts.of(&label.into());
            counted.outcomes.count(Outcome::Equal);
            counted.is_named
        };
        assert!((0..COHORTS_MAX).all(|number| count(&format!("cohort {number:03}"))));
        assert!(!count("one more") && !count("and one more"));
        assert!(count("cohort 007"));
        let report = cohorts.report();
        assert_eq!(report.len(), COHORTS_MAX + 1);
        assert_eq!((report[7].compared.equal, report[COHORTS_MAX].compared.equal), (2, 2));
        assert_eq!(report[COHORTS_MAX].cohort, "other");
    }

    #[test]
    fn a_label_that_is_too_long_is_not_kept() {
        let cohorts = Cohorts::default();
        assert!(!cohorts.of(&"x".repeat(COHORT_BYTES_MAX + 1).as_str().into()).is_named);
        assert_eq!(cohorts.report()[0].cohort, "other");
    }

    #[test]
    fn outside_a_cohort_there_is_none() {
        assert!(Cohorts::default().current().is_none());
    }
}
