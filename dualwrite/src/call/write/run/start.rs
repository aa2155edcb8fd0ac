//! Plans a write: where it goes, and what a mirror that fails or answers differently does to it.

use std::marker::PhantomData;

use crate::call::repository::Repository;
use crate::call::write::decide::{self, Mirror, Turn, Unequal};
use crate::call::write::run::{Progress, Write};
use crate::database::Backend;
use crate::error::{Error, ErrorKind};
use crate::key::{EncodedKey, Key};
use crate::shadow::sampling::is_sampled;
use crate::stages::route::{Operation, route};
use crate::stages::stage::Side;
use crate::state::Shared;
use crate::transaction::Tx;

/// Plans a write inside a transaction.
///
/// # Errors
/// `NotPinned` where the transaction was not begun for the migration, `WrongKey`.
pub fn write<'r, DB: Backend, K: Key + ?Sized, T, E>(
    repository: &'r Repository,
    method: usize,
    tx: &Tx<'_, DB>,
    key: &K,
) -> Result<Write<'r, T, E>, Error> {
    let shared = repository.shared();
    let position = tx.pinned(&shared.name).ok_or_else(|| not_pinned(shared))?;
    shared.check_kind(K::KIND)?;
    let bucket = shared.options.rule.bucket(key, shared.salt)?;
    let plan = route(position, Operation::Write, bucket);
    let method = repository.method(method);
    let repairable = plan.mirror.is_some_and(|side| is_repairable(shared, side));
    let mirror = match plan.mirror {
        Some(side) => decide::mirror(position, side, method.mirror(shared), repairable),
        None => Mirror::Strict,
    };
    let unequal = match plan.mirror {
        Some(_) => decide::unequal(method.on_difference(shared), repairable),
        None => Unequal::Passed,
    };
    let share = shared.options.compare_writes;
    let compare = plan.mirror.is_some() && is_sampled(share, shared.clock.ticks());
    let key = match (mirror, unequal) {
        (Mirror::Forgiving, _) => {
            Some(EncodedKey::new(key).map_err(|error| error.of(&shared.name))?)
        }
        (Mirror::Strict, Unequal::Marked) => EncodedKey::new(key).ok(),
        (Mirror::Strict, _) if compare => EncodedKey::new(key).ok(),
        (Mirror::Strict, _) => None,
    };
    Ok(Write {
        shared,
        method,
        compare,
        plan,
        mirror,
        unequal,
        key,
        spoiled_before: tx.is_spoiled(),
        turn: Turn::Old,
        is_alone: plan.mirror.is_none(),
        undoes_both: false,
        start: shared.clock.now(),
        progress: Progress::Between,
        is_counted: false,
        answers: [None, None],
        forgiven: None,
        error: PhantomData,
    })
}

/// Whether a copy function exists in the direction of this side, and nothing is copied in the other one.
fn is_repairable(shared: &Shared, side: Side) -> bool {
    shared.copier.as_ref().is_some_and(|copier| copier.can_copy_to(side))
        && decide::is_repairable(side, shared.is_copied(), shared.options.lazy)
}

#[cold]
pub(crate) fn not_pinned(shared: &Shared) -> Error {
    let message = "the transaction was not begun for it; use `migration.begin(&pool)`, or \
                   `Tx::begin_for(&pool, &[…])` for several migrations";
    Error::new(ErrorKind::NotPinned, message).of(&shared.name)
}
