//! What operators set: the kill switch, and the share of calls that is compared.

use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use crate::stages::position::Percent;
use crate::stages::sample::SampleOverride;
use crate::state::Shared;

impl Shared {
    pub(crate) fn set_killed(&self, by: Option<&str>) {
        let mut killed = self.seen.killed.lock().unwrap_or_else(PoisonError::into_inner);
        if killed.as_deref() != by {
            *killed = by.map(str::to_owned);
        }
    }

    /// The kill switch in the control tables, if it is set.
    pub(crate) fn killed(&self) -> Option<String> {
        let killed = self.seen.killed.lock().unwrap_or_else(PoisonError::into_inner);
        // The names of the audit are longer than what an acknowledgement has room for.
        killed
            .as_ref()
            .map(|by| format!("in the control tables, by {by}").chars().take(60).collect())
    }

    /// What operators want compared.
    #[inline]
    pub(crate) fn ordered_sample(&self) -> SampleOverride {
        SampleOverride::of_bits(self.seen.sample.load(Relaxed))
    }

    /// The share of dual writes that is compared.
    pub(crate) fn write_sample(&self) -> Percent {
        self.ordered_sample().writes.unwrap_or(self.options.compare_writes)
    }
}
