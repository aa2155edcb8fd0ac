//! Begins a write, by what its method says of its records: what cannot be planned becomes the failure of the
//! write.

use crate::call::repository::Repository;
use crate::call::write::decide::Mirror;
use crate::call::write::route::Planned;
use crate::call::write::run::Write;
use crate::call::write::together::{Together, together, without_keys};
use crate::database::Backend;
use crate::key::Key;
use crate::stages::position::{Percent, Position};
use crate::stages::route::{Operation, Route, route};
use crate::stages::stage::Stage;
use crate::transaction::Tx;

/// Plans the write of one record.
pub fn write<'r, DB: Backend, K: Key + ?Sized, T, E>(
    repository: &'r Repository,
    method: usize,
    tx: &mut Tx<'_, DB>,
    key: &K,
) -> Write<'r, T, E> {
    Write::begun(repository, method, tx, |context| {
        context.shared.check_key(key)?;
        let bucket = context.shared.bucket(key)?;
        let route = route(context.position, Operation::Write, bucket);
        let (mirror, unequal) = (context.mirror(route, false), context.unequal(route, false));
        let compare = context.compares(route);
        let mut planned =
            Planned { unequal, compare, ..Planned::of(context.position, route, mirror) };
        planned.record_keys(std::iter::once_with(|| context.shared.encode(key)));
        Ok(planned)
    })
}

/// Plans a write of several records, all of which are named.
pub fn write_keys<'r, DB: Backend, I, T, E>(
    repository: &'r Repository,
    method: usize,
    tx: &mut Tx<'_, DB>,
    keys: I,
) -> Write<'r, T, E>
where
    I: IntoIterator,
    I::Item: Key,
{
    Write::begun(repository, method, tx, |context| {
        context.shared.check_kind(<I::Item as Key>::KIND)?;
        let mut found: Vec<(Stage, I::Item)> = Vec::new();
        for key in keys {
            key.check()?;
            found.push((context.stage_of(&key)?, key));
        }
        if found.is_empty() {
            return context.without_keys();
        }
        let Together { route, split } = together(context.position, found.iter().map(|key| key.0));
        let (mirror, unequal) = (context.mirror(route, split), context.unequal(route, split));
        let compare = context.compares(route);
        let mut planned =
            Planned { unequal, compare, ..Planned::of(context.position, route, mirror) };
        let encoded = |key| context.shared.encode(key);
        planned.record_keys(found.iter().map(|key| encoded(&key.1)));
        if route.mirror.is_some() && context.position.stage == Stage::Off {
            let ahead = found.iter().filter(|key| key.0 == Stage::Off);
            planned.record_ahead(ahead.map(|key| encoded(&key.1)));
        }
        Ok(planned)
    })
}

/// Plans a write that names no keys: what it changes on one side it changes on the other, or it fails.
pub fn write_filter<'r, DB: Backend, T, E>(
    repository: &'r Repository,
    method: usize,
    tx: &mut Tx<'_, DB>,
) -> Write<'r, T, E> {
    Write::begun(repository, method, tx, |context| {
        if context.position.stage == Stage::Off && context.position.ramp > Percent::ZERO {
            context.check_rows_that_only_new_has()?;
        }
        context.without_keys()
    })
}

/// Plans a write that touches no column that is migrated: it is executed once.
pub fn write_once<'r, DB: Backend, T, E>(
    repository: &'r Repository,
    method: usize,
    tx: &mut Tx<'_, DB>,
) -> Write<'r, T, E> {
    Write::begun(repository, method, tx, |context| {
        let route = Route { mirror: None, ..without_keys(context.position).route };
        Ok(Planned::of(context.position, route, Mirror::Strict))
    })
}

/// Plans a write whose key is made by the side that is written first. It follows the stage, for which
/// records the ramp has reached nobody knows before.
pub fn write_made<'r, DB: Backend, T, E>(
    repository: &'r Repository,
    method: usize,
    tx: &mut Tx<'_, DB>,
) -> Write<'r, T, E> {
    Write::begun(repository, method, tx, |context| {
        let route = Route::of(context.position.stage, Operation::Write);
        // A statement that writes both sides makes the key and the rows at once.
        let mirror = match context.repository.is_one_row() {
            true => context.mirror(route, is_split(context.position)),
            false => Mirror::Strict,
        };
        Ok(Planned { makes_key: true, ..Planned::of(context.position, route, mirror) })
    })
}

/// Whether some keys are answered for by another side than the rest.
fn is_split(position: Position) -> bool {
    without_keys(position).split
}
