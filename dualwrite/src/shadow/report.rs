//! What a service hears of single comparisons: reports of those that differ or fail, and the functions that it gave.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::compare::Shown;
use crate::shadow::context::CallContext;

/// How many reports wait for the hooks of a migration. What comes beyond is dropped, and counts as `reports_dropped`.
pub const SHADOW_REPORTS_MAX: usize = 256;

/// The most bytes of a text of an error or a panic.
const TEXT_BYTES_MAX: usize = 1_000;

/// A call that may be compared, a read or a write, for [`ShadowRules::run_if`](crate::shadow::ShadowRules::run_if).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ShadowCall<'c> {
    /// The trait and the method: `Customers::find`.
    pub method: &'c str,
    /// The key that is read, as JSON; `None` for a read without a key, and for one that is too long.
    pub key: Option<&'c str>,
    /// The [cohort](crate::shadow::cohort()) of the caller.
    pub cohort: Option<&'c str>,
    /// What the caller said by [`with_context`](crate::shadow::with_context).
    pub context: &'c CallContext,
}

/// One comparison that differs or has failed, for [`ShadowRules::on_report`](crate::shadow::ShadowRules::on_report).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ShadowReport {
    /// The migration.
    pub migration: String,
    /// The trait and the method: `Customers::find`.
    pub method: String,
    /// The key, as JSON; `None` for a read without a key.
    pub key: Option<String>,
    /// The [cohort](crate::shadow::cohort()) of the caller.
    pub cohort: Option<String>,
    /// What the caller said by [`with_context`](crate::shadow::with_context).
    pub context: CallContext,
    /// What was found.
    pub found: ShadowFinding,
}

/// What a comparison found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShadowFinding {
    /// The two answers differ, and did when both were read again: the first difference in each field.
    Different(Vec<FieldMismatch>),
    /// The side beside the caller's failed or panicked, and the caller's did not; a write could not be read back.
    MirrorFailed {
        /// What it said, where the rules give a text.
        text: Option<String>,
    },
    /// Both sides failed, with errors of different kinds.
    FailedDifferently {
        /// What the side beside the caller's said, where the rules give a text.
        text: Option<String>,
    },
    /// The comparison itself panicked; see [`ComparedReport::panicked`](crate::shadow::ComparedReport).
    Panicked {
        /// What it said, where the rules ask for the texts of panics.
        text: Option<String>,
    },
}

/// A difference in one field.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldMismatch {
    /// The path of the field, without what stands in brackets; `*` for the whole answer.
    pub field: String,
    /// What old had there, where it had anything; redacted unless the field is revealed.
    pub old: Option<Shown>,
    /// What new had there.
    pub new: Option<Shown>,
}

type Hook = Arc<dyn Fn(&ShadowReport) + Send + Sync>;
type Text = Arc<dyn Fn(&dyn Any) -> Option<String> + Send + Sync>;
type Wanted = Arc<dyn Fn(&ShadowCall<'_>) -> bool + Send + Sync>;

/// The functions of the service.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) reports: Vec<Hook>,
    pub(crate) texts: Vec<Text>,
    pub(crate) panic_texts: bool,
    pub(crate) wanted: Vec<Wanted>,
}

impl Hooks {
    /// Whether there is nobody to ask or to tell.
    pub(crate) fn is_empty(&self) -> bool {
        self.reports.is_empty() && self.wanted.is_empty()
    }

    /// Whether anybody wants reports.
    pub(crate) fn hear(&self) -> bool {
        !self.reports.is_empty()
    }

    /// Whether a call is to be compared.
    pub(crate) fn want(&self, call: &ShadowCall<'_>) -> bool {
        self.wanted.iter().all(|wanted| wanted(call))
    }

    /// Calls each hook, also after one that panicked.
    pub(crate) fn call(&self, report: &ShadowReport) {
        for hook in &self.reports {
            if catch_unwind(AssertUnwindSafe(|| hook(report))).is_err() {
                tracing::error!(migration = report.migration, "a hook for comparisons panicked");
            }
        }
    }

    /// The text of an error, where the service gives one for its type.
    pub(crate) fn text(&self, error: &dyn Any) -> Option<String> {
        let text = || self.texts.iter().find_map(|text| text(error));
        catch_unwind(AssertUnwindSafe(text)).ok().flatten().map(bounded)
    }

    /// The text of a panic, where the service asks for it.
    pub(crate) fn panic_text(&self, panic: &(dyn Any + Send)) -> Option<String> {
        if !self.panic_texts {
            return None;
        }
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| panic.downcast_ref::<String>().cloned()).map(bounded)
    }
}

fn bounded(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

/// Reports that wait for the hooks, in order.
#[derive(Debug, Default)]
pub(crate) struct Reports(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    reports: VecDeque<ShadowReport>,
    /// Somebody hands them on.
    is_served: bool,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// Whoever pushed it must see to it that they are handed on.
    First,
    Behind,
    /// There was no room.
    Dropped,
}

impl Reports {
    pub(crate) fn push(&self, report: ShadowReport) -> Pushed {
        let mut waiting = self.lock();
        if waiting.reports.len() >= SHADOW_REPORTS_MAX {
            return Pushed::Dropped;
        }
        waiting.reports.push_back(report);
        match std::mem::replace(&mut waiting.is_served, true) {
            true => Pushed::Behind,
            false => Pushed::First,
        }
    }

    /// The next one; after `None` the next report is the first again.
    pub(crate) fn next(&self) -> Option<ShadowReport> {
        let mut waiting = self.lock();
        let next = waiting.reports.pop_front();
        waiting.is_served = next.is_some();
        next
    }

    /// Nothing panics while it holds this.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(number: usize) -> ShadowReport {
        ShadowReport {
            migration: "notes".to_owned(),
            method: number.to_string(),
            key: None,
            cohort: None,
            context: CallContext::default(),
            found: ShadowFinding::Panicked { text: None },
        }
    }

    #[test]
    fn reports_wait_in_order_and_no_more_than_there_is_room_for() {
        let reports = Reports::default();
        assert_eq!(reports.push(report(0)), Pushed::First);
        for number in 1..SHADOW_REPORTS_MAX {
            assert_eq!(reports.push(report(number)), Pushed::Behind);
        }
        assert_eq!(reports.push(report(SHADOW_REPORTS_MAX)), Pushed::Dropped);
        for number in 0..SHADOW_REPORTS_MAX {
            assert_eq!(reports.next().unwrap().method, number.to_string());
        }
        assert!(reports.next().is_none());
        assert_eq!(reports.push(report(0)), Pushed::First, "somebody must serve again");
    }

    #[test]
    fn a_text_is_cut_between_two_characters() {
        assert_eq!(bounded("é".repeat(501)).len(), 1_000);
        assert_eq!(bounded(format!("a{}", "é".repeat(500))).len(), 999);
    }
}
