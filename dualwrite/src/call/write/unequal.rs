//! Answers of the two sides of one write that are not the same.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::call::write::answer::unequal_answers;
use crate::call::write::decide::Unequal;
use crate::call::write::route::Planned;
use crate::compare::Pair;
use crate::copier::joined::Joined;
use crate::error::Error;
use crate::observe::count;
use crate::stages::stage::Side;

/// Whether both sides answered, and not the same. A comparison that panics says nothing.
pub(super) fn are_unequal<T>(
    shared: &Joined,
    planned: &Planned,
    answers: &[Option<T>; 2],
    differ: impl Fn(Pair<'_, T, T>) -> bool,
) -> bool {
    let ([Some(primary), Some(mirror)], false) = (answers, planned.unequal == Unequal::Passed)
    else {
        return false;
    };
    let (old, new) = match planned.route.primary {
        Side::Old => (primary, mirror),
        Side::New => (mirror, primary),
    };
    let compared = catch_unwind(AssertUnwindSafe(|| differ(Pair::of(old, new))));
    compared.unwrap_or_else(|_| {
        count(&shared.counters.answers_uncompared);
        false
    })
}

/// Counts answers that differ, and logs them once in a while. Returns whether the keys are to be marked.
///
/// # Errors
/// `MirrorFailed` where such a write is to fail.
#[cold]
pub(super) fn note_unequal(
    shared: &Joined,
    planned: &Planned,
    method: &str,
) -> Result<bool, Error> {
    count(&shared.counters.answers_different);
    if planned.unequal == Unequal::Refused {
        return Err(unequal_answers(method));
    }
    let is_marked = planned.unequal == Unequal::Marked;
    if let Some(writes) = shared.different_answers.note(shared.clock.now()) {
        tracing::warn!(
            migration = &*shared.name,
            method,
            is_marked,
            writes,
            "the old and the new side answered a write differently; so many writes since the last line"
        );
    }
    Ok(is_marked)
}
