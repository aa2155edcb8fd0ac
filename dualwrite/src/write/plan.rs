//! Plans a write: which keys it changes, where it goes, and whether its mirror may fall behind. What cannot
//! be planned becomes the failure of the write.

use super::decide::{self, Mirror};
use super::run::{Write, not_pinned};
use super::together::{Together, together, without_keys};
use crate::backend::Backend;
use crate::bucket::Bucket;
use crate::error::{Error, ErrorKind};
use crate::key::{EncodedKey, Key};
use crate::position::{Percent, Position};
use crate::repository::{Entry, Repository};
use crate::route::{Operation, Plan, is_read, route, stage_of};
use crate::shadow::sampling::is_sampled;
use crate::shared::Shared;
use crate::stage::{Side, Stage};
use crate::transaction::Tx;

/// What is known of a write before its first side.
pub(crate) struct Planned {
    pub(crate) position: Position,
    pub(crate) plan: Plan,
    pub(crate) mirror: Mirror,
    /// Those of its keys that are marked where the mirror fails, or compared.
    pub(crate) keys: Vec<EncodedKey>,
    /// Keys of which new gets a row although their own stage writes old alone: they are marked at the end, so
    /// that what old alone gets from now on is copied to new once both are written.
    pub(crate) ahead: Vec<EncodedKey>,
    /// Whether the sides are read back and compared.
    pub(crate) compare: bool,
    /// The side that is written first makes the key.
    pub(crate) makes_key: bool,
}

/// Plans the write of one record.
pub fn write<'r, DB: Backend, K: Key + ?Sized, T, E>(
    repository: &'r Repository,
    method: usize,
    tx: &mut Tx<'_, DB>,
    key: &K,
) -> Write<'r, T, E> {
    Write::begun(repository, method, tx, |context| {
        context.shared.check_kind(K::KIND)?;
        let bucket = context.shared.options.rule.bucket(key, context.shared.salt)?;
        let plan = route(context.position, Operation::Write, bucket);
        let mirror = context.mirror(plan, false);
        let compare = context.compares(plan);
        let keys = match mirror {
            Mirror::Forgiving => vec![EncodedKey::new(key)?],
            Mirror::Strict if compare => EncodedKey::new(key).into_iter().collect(),
            Mirror::Strict => Vec::new(),
        };
        Ok(Planned { keys, compare, ..Planned::of(context.position, plan, mirror) })
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
            found.push((context.stage_of(&key)?, key));
        }
        if found.is_empty() {
            return context.without_keys();
        }
        let Together { plan, split } = together(context.position, found.iter().map(|key| key.0));
        let mirror = context.mirror(plan, split);
        let compare = context.compares(plan);
        let mut planned = Planned { compare, ..Planned::of(context.position, plan, mirror) };
        if mirror == Mirror::Forgiving || compare {
            planned.keys = encoded(found.iter().map(|key| &key.1))?;
        }
        if plan.mirror.is_some() && context.position.stage == Stage::Off {
            let ahead = found.iter().filter(|key| key.0 == Stage::Off);
            planned.ahead = encoded(ahead.map(|key| &key.1))?;
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
        let plan = Plan { mirror: None, ..without_keys(context.position).plan };
        Ok(Planned::of(context.position, plan, Mirror::Strict))
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
        let plan = Plan::of(context.position.stage, Operation::Write);
        // A statement that writes both sides makes the key and the rows at once.
        let mirror = match context.repository.is_one_row() {
            true => context.mirror(plan, is_split(context.position)),
            false => Mirror::Strict,
        };
        Ok(Planned { makes_key: true, ..Planned::of(context.position, plan, mirror) })
    })
}

/// Whether some keys are answered for by another side than the rest.
fn is_split(position: Position) -> bool {
    without_keys(position).split
}

fn encoded<'k, K: Key + 'k>(keys: impl Iterator<Item = &'k K>) -> Result<Vec<EncodedKey>, Error> {
    keys.map(EncodedKey::new).collect()
}

impl Planned {
    fn of(position: Position, plan: Plan, mirror: Mirror) -> Self {
        Self {
            position,
            plan,
            mirror,
            keys: Vec::new(),
            ahead: Vec::new(),
            compare: false,
            makes_key: false,
        }
    }

    /// What could not be planned goes nowhere.
    pub(crate) fn nowhere() -> Self {
        Self::of(Position::start(), Plan::of(Stage::Off, Operation::Write), Mirror::Strict)
    }
}

/// What a plan is made from.
pub(crate) struct Context<'r> {
    pub(crate) repository: &'r Repository,
    pub(crate) shared: &'r Shared,
    pub(crate) method: &'r Entry,
    pub(crate) position: Position,
}

impl<'r> Context<'r> {
    pub(crate) fn of<DB: Backend>(
        repository: &'r Repository,
        method: usize,
        tx: &Tx<'_, DB>,
    ) -> Result<Self, Error> {
        let shared = &**repository.shared();
        let position = tx.pinned(&shared.name).ok_or_else(|| not_pinned(shared))?;
        Ok(Self { repository, shared, method: repository.method(method), position })
    }

    fn stage_of<K: Key + ?Sized>(&self, key: &K) -> Result<Stage, Error> {
        Ok(match self.position.ramp == Percent::ZERO {
            true => self.position.stage,
            false => {
                let bucket: Bucket = self.shared.options.rule.bucket(key, self.shared.salt)?;
                stage_of(self.position, bucket)
            }
        })
    }

    fn without_keys(&self) -> Result<Planned, Error> {
        Ok(Planned::of(self.position, without_keys(self.position).plan, Mirror::Strict))
    }

    fn mirror(&self, plan: Plan, split: bool) -> Mirror {
        let Some(side) = plan.mirror.filter(|_| !split) else {
            return Mirror::Strict;
        };
        self.forgives(side)
    }

    /// What a failure of this side does, where it is the mirror.
    pub(crate) fn forgives(&self, side: Side) -> Mirror {
        let shared = self.shared;
        let copier = shared.copier.as_ref();
        if shared.is_ramped_by_other_keys() && is_read(self.position, side) {
            return Mirror::Strict;
        }
        let repairable = copier.is_some_and(|copier| copier.can_copy_to(side))
            && decide::is_repairable(side, shared.is_copied(), shared.options.lazy);
        decide::mirror(self.position, side, self.method.mirror(shared), repairable)
    }

    fn compares(&self, plan: Plan) -> bool {
        let share = self.shared.options.compare_writes;
        plan.mirror.is_some() && is_sampled(share, self.shared.clock.ticks())
    }

    /// A row that a filter brought to new, of a key that is written to old alone, may be deleted from old
    /// without new. That is found out only where the rows of new can be listed, by a verification that must
    /// come first.
    fn check_rows_that_only_new_has(&self) -> Result<(), Error> {
        let shared = self.shared;
        let sees_new = shared.copier.as_ref().is_some_and(|copier| copier.sees_new());
        if sees_new && !shared.options.lazy {
            return Ok(());
        }
        let message = "a write without a key cannot be made while `off` is ramped: step the ramp back to 0, \
                       or advance to `dual_write` in one step; rows that it brings to new alone could not \
                       be found again";
        Err(Error::new(ErrorKind::Unsupported, message))
    }
}
