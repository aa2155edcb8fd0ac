//! Hands reports of comparisons to the hooks of the service: beside the caller and beside the comparison, one
//! after the other, on a thread that may block.

use std::sync::Arc;

use crate::control::Sample;
use crate::copier::joined::Joined;
use crate::observe::count;
use crate::shadow::report::{FieldMismatch, Pushed, ShadowFinding, ShadowReport};

/// Reports, if anybody listens.
pub(crate) fn report(shared: &Arc<Joined>, report: impl FnOnce() -> ShadowReport) {
    if !shared.options.rules.hooks.hear() {
        return;
    }
    match shared.compared.reports.push(report()) {
        Pushed::First => {}
        Pushed::Behind => return,
        Pushed::Dropped => return count(&shared.counters.reports_dropped),
    }
    let own = Arc::clone(shared);
    shared.spawn(async move {
        let serve = move || {
            while let Some(report) = own.compared.reports.next() {
                own.options.rules.hooks.call(&report);
            }
        };
        // Where the runtime of tokio ends meanwhile, nobody is left to hear of it.
        let _ = tokio::task::spawn_blocking(serve).await;
    });
}

/// The differences, as they are kept.
pub(crate) fn different(samples: &[Sample]) -> ShadowFinding {
    let field = |sample: &Sample| FieldMismatch {
        field: sample.field.clone(),
        old: sample.old.clone(),
        new: sample.new.clone(),
    };
    ShadowFinding::Different(samples.iter().map(field).collect())
}
