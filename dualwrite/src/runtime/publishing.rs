//! Publishes the metrics of a migration. A recorder that panics must not keep the guards from their work.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;

use crate::copier::joined::Joined;
use crate::observe::figures::Figures;
use crate::runtime::metrics::{Series, describe};
use crate::stages::facts::Facts;
use crate::stages::moves::{Move, destination};
use crate::stages::readiness::blockers;

/// What was counted since the last time, and the position.
pub(super) fn news(shared: &Joined) {
    guarded(shared, || {
        let mut told = shared.measured.published.lock().unwrap_or_else(PoisonError::into_inner);
        let totals = shared.figures();
        let news = match &*told {
            Some(before) => totals.since(before),
            None => {
                describe();
                totals.since(&Figures::default())
            }
        };
        // Told now, also where the recorder panics halfway: better too little than twice.
        *told = Some(totals);
        let series = Series(&shared.name);
        series.news(&news);
        series.position(shared.position(), shared.generation());
    });
}

/// What the control tables say.
pub(super) fn facts(shared: &Joined, facts: Option<&Facts>) {
    let Some(facts) = facts else { return };
    let backfill = shared.take_gathered();
    let closed = facts.position.stage.next().and_then(|next| {
        let requested = Move::Advance(next);
        let to = destination(facts.position, facts.new.generation, requested).ok()?;
        Some(blockers(facts, requested, to, &shared.terms()))
    });
    guarded(shared, || {
        let series = Series(&shared.name);
        series.facts(facts, &closed.unwrap_or_default());
        if let Some(backfill) = &backfill {
            series.backfill(backfill);
        }
    });
}

fn guarded(shared: &Joined, publish: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(publish)).is_err() {
        tracing::error!(migration = &*shared.name, "the recorder of metrics panicked");
    }
}
