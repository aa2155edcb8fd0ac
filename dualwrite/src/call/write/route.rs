//! What is known of a write before it is made: its keys, where it goes, and whether its mirror may fall behind.

use crate::call::repository::{Entry, Repository};
use crate::call::write::decide::{self, Mirror, Unequal};
use crate::call::write::together::without_keys;
use crate::copier::joined::Joined;
use crate::database::Backend;
use crate::error::{Error, ErrorKind};
use crate::key::{EncodedKey, Key};
use crate::shadow::sampling::is_sampled;
use crate::stages::position::{Percent, Position};
use crate::stages::route::{Operation, Route, is_read, stage_of};
use crate::stages::stage::{Side, Stage};
use crate::transaction::Tx;

/// What is known of a write before its first side.
pub(crate) struct Planned {
    pub(crate) position: Position,
    pub(crate) route: Route,
    pub(crate) mirror: Mirror,
    /// What follows where the sides answer differently.
    pub(crate) unequal: Unequal,
    /// Those of its keys that are marked where the mirror falls behind, or compared.
    pub(crate) keys: Vec<EncodedKey>,
    /// One of its keys cannot be recorded: where it is to be marked, the table is.
    pub(crate) is_unrecorded: bool,
    /// The same of `ahead`.
    pub(crate) is_ahead_unrecorded: bool,
    /// Keys of which new gets a row although their own stage writes old alone: they are marked at the end, so
    /// that what old alone gets from now on is copied to new once both are written.
    pub(crate) ahead: Vec<EncodedKey>,
    /// Whether the sides are read back and compared.
    pub(crate) compare: bool,
    /// The side that is written first makes the key.
    pub(crate) makes_key: bool,
}

impl Planned {
    pub(crate) fn of(position: Position, route: Route, mirror: Mirror) -> Self {
        Self {
            position,
            route,
            mirror,
            unequal: Unequal::Passed,
            keys: Vec::new(),
            is_unrecorded: false,
            is_ahead_unrecorded: false,
            ahead: Vec::new(),
            compare: false,
            makes_key: false,
        }
    }

    /// Records the keys, where somebody may ask for them. One that cannot be recorded hurts nobody: where the mirror
    /// falls behind by it, the table is marked, which keeps new from being read. A mirror that is read, or that a
    /// rollback goes back to, cannot fall behind by it.
    pub(crate) fn record_keys(&mut self, keys: impl Iterator<Item = Result<EncodedKey, Error>>) {
        let forgives = self.mirror == Mirror::Forgiving;
        if !forgives && self.unequal != Unequal::Marked && !self.compare {
            return;
        }
        self.is_unrecorded |= recorded(keys, &mut self.keys);
        if self.is_unrecorded
            && (self.route.mirror != Some(Side::New) || is_read(self.position, Side::New))
        {
            self.mirror = Mirror::Strict;
        }
    }

    /// Records the keys of which new gets a row before their stage says so.
    pub(crate) fn record_ahead(&mut self, keys: impl Iterator<Item = Result<EncodedKey, Error>>) {
        self.is_ahead_unrecorded = recorded(keys, &mut self.ahead);
    }

    /// What could not be planned goes nowhere.
    pub(crate) fn nowhere() -> Self {
        Self::of(Position::start(), Route::of(Stage::Off, Operation::Write), Mirror::Strict)
    }
}

/// Keeps those that can be recorded. Returns whether one cannot.
fn recorded(
    keys: impl Iterator<Item = Result<EncodedKey, Error>>,
    kept: &mut Vec<EncodedKey>,
) -> bool {
    let mut is_unrecorded = false;
    for key in keys {
        match key {
            Ok(key) => kept.push(key),
            Err(_) => is_unrecorded = true,
        }
    }
    is_unrecorded
}

#[cold]
pub(crate) fn not_pinned(shared: &Joined) -> Error {
    let message = "the transaction was not begun for it; use `migration.begin(&pool)`, or \
                   `Tx::begin_for(&pool, &[…])` for several migrations";
    Error::new(ErrorKind::NotPinned, message).of(&shared.name)
}

/// What a route is made from.
pub(crate) struct Context<'r> {
    pub(crate) repository: &'r Repository,
    pub(crate) shared: &'r Joined,
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

    pub(crate) fn stage_of<K: Key + ?Sized>(&self, key: &K) -> Result<Stage, Error> {
        Ok(match self.position.ramp == Percent::ZERO {
            true => self.position.stage,
            false => {
                let bucket = self.shared.bucket(key)?;
                stage_of(self.position, bucket)
            }
        })
    }

    pub(crate) fn without_keys(&self) -> Result<Planned, Error> {
        let route = without_keys(self.position).route;
        let unequal = self.unequal(route, true);
        Ok(Planned { unequal, ..Planned::of(self.position, route, Mirror::Strict) })
    }

    pub(crate) fn mirror(&self, route: Route, split: bool) -> Mirror {
        let Some(side) = route.mirror.filter(|_| !split) else {
            return Mirror::Strict;
        };
        self.forgives(side)
    }

    /// What a failure of this side does, where it is the mirror.
    pub(crate) fn forgives(&self, side: Side) -> Mirror {
        let shared = self.shared;
        // Where another spelling of this key may have another bucket, it may be read on the side that failed.
        let elsewhere = shared.is_ramped_by_other_keys() || shared.is_loose();
        if elsewhere && is_read(self.position, side) {
            return Mirror::Strict;
        }
        decide::mirror(self.position, side, self.method.mirror(shared), self.is_repairable(side))
    }

    /// What follows where the sides answer differently. `split`: neither side may then fall behind.
    pub(crate) fn unequal(&self, route: Route, split: bool) -> Unequal {
        match route.mirror {
            Some(side) => {
                let policy = self.method.on_difference(self.shared);
                decide::unequal(policy, !split && self.is_repairable(side))
            }
            None => Unequal::Passed,
        }
    }

    /// Whether a copy function exists in the direction of this side, and nothing is copied in the other one.
    fn is_repairable(&self, side: Side) -> bool {
        let shared = self.shared;
        shared.copier.as_ref().is_some_and(|copier| copier.can_copy_to(side))
            && decide::is_repairable(side, shared.is_copied(), shared.options.lazy)
    }

    pub(crate) fn compares(&self, route: Route) -> bool {
        route.mirror.is_some() && is_sampled(self.shared.write_sample(), self.shared.clock.ticks())
    }

    /// A row that a filter brought to new, of a key that is written to old alone, may be deleted from old
    /// without new. That is found out only where the rows of new can be listed, by a verification that must
    /// come first.
    pub(crate) fn check_rows_that_only_new_has(&self) -> Result<(), Error> {
        let shared = self.shared;
        let sees_new = shared.copier.as_ref().is_some_and(|copier| copier.sees_new());
        if sees_new && !shared.options.lazy {
            return Ok(());
        }
        let message = "a write without a key cannot be made while `off` is ramped: step the ramp back to 0, \
                       or advance to `dual_write` in one step; rows that it brings to the new side alone \
                       could not be found again";
        Err(Error::new(ErrorKind::Unsupported, message))
    }
}
