//! What this process declares of a migration, for the gates.

use crate::copier::joined::Joined;
use crate::error::Error;
use crate::stages::stage::Stage;
use crate::stages::terms::Terms;
use crate::state::kept::Catalogue;

impl Joined {
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
