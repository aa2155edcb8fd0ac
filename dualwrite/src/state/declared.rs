//! What this process declares of a migration, for the gates, and the kill switch that operators set.

use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use crate::error::Error;
use crate::stages::position::Percent;
use crate::stages::sample::OrderedSample;
use crate::stages::stage::Stage;
use crate::stages::terms::Terms;
use crate::state::Shared;
use crate::state::preflight::Catalogue;

impl Shared {
    pub(crate) fn set_killed(&self, by: Option<&str>) {
        let mut killed = self.killed.lock().unwrap_or_else(PoisonError::into_inner);
        if killed.as_deref() != by {
            *killed = by.map(str::to_owned);
        }
    }

    /// What operators want compared.
    #[inline]
    pub(crate) fn ordered_sample(&self) -> OrderedSample {
        OrderedSample::of_bits(self.sample.load(Relaxed))
    }

    /// The share of dual writes that is compared.
    pub(crate) fn write_sample(&self) -> Percent {
        self.ordered_sample().writes.unwrap_or(self.options.compare_writes)
    }

    /// The kill switch in the control tables, if it is set.
    pub(crate) fn killed(&self) -> Option<String> {
        let killed = self.killed.lock().unwrap_or_else(PoisonError::into_inner);
        // The names of the audit are longer than what an acknowledgement has room for.
        killed
            .as_ref()
            .map(|by| format!("in the control tables, by {by}").chars().take(60).collect())
    }

    /// What this release declares, with what the catalogue said when it was read last.
    pub(crate) fn terms(&self) -> Terms {
        let Catalogue { needed_columns, unexpanded, rejecting } =
            self.catalogue().unwrap_or_default();
        Terms {
            lazy: self.options.lazy,
            soak: self.options.soak,
            copies: self.copier.is_some(),
            sees_new: self.copier.as_ref().is_some_and(|copier| copier.sees_new()),
            can_copy_back: self.copier.as_ref().is_some_and(|copier| copier.can_run_back()),
            approvals: self.options.approvals.clone(),
            unaware_window: self.options.unaware_window,
            needed_columns,
            refused: self.preflight().refusals().map(ToString::to_string).collect(),
            unexpanded,
            rejecting,
            mirror_failing: self.mirror().failing(),
            mirror: None,
        }
    }

    /// The same for others, who cannot read the catalogue themselves: before it was read here, every move forward is
    /// refused.
    pub(crate) fn declared(&self) -> Terms {
        let mut terms = self.terms();
        terms.mirror = self.mirror().note(self.mirror_failures.shown());
        if let (Some(note), true) = (&terms.mirror, terms.mirror_failing.is_some()) {
            let message = format!(
                "too many writes to the new side fail on instance {}: {note}; fix the new side: at live each of these \
                 writes would fail for its caller",
                self.instance
            );
            terms.mirror_failing = Some(message);
        }
        match self.catalogue() {
            Some(_) => terms,
            None => terms.unread(&self.instance),
        }
    }

    /// The same with what the catalogue says now, for a move.
    pub(crate) async fn terms_now(&self) -> Result<Terms, Error> {
        let position = self.position();
        let waits = position.reaches() == Stage::Off && self.options.expand.is_some();
        if waits || position.stage >= Stage::RampDown {
            self.read_catalogue().await?;
        }
        Ok(self.terms())
    }
}
