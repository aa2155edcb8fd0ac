//! What must hold in every state, and what must be reachable.

use stateright::Property;

use super::state::{ABSENT, Instance, KEYS, Read, ReadStep, State, bucket};
use super::world::{Goal, World};
use crate::call::lazy::decide::may_copy;
use crate::stages::position::Generation;
use crate::stages::route::{Operation, route, stage_of};
use crate::stages::stage::{Side, Stage};

pub(super) const SUPERSEDED: &str =
    "a read begun after an acknowledgement never returns a superseded value";
pub(super) const BACKWARDS: &str = "reads never go backwards";
pub(super) const GIVEN_UP: &str = "no read answers from a side that writes have left";
pub(super) const LOST: &str = "the side that answers has every acknowledged write";
pub(super) const EQUAL: &str = "old equals new when quiet";

pub(super) const FOUND: &str = "what a verification found different does not begin to answer";

pub(super) const COMPLETE: Goal = ("complete is reached", |_, state| at(state, Stage::Complete));
pub(super) const OFF: Goal = ("off is reached", |_, state| at(state, Stage::Off));
pub(super) const LIVE: Goal = ("live is reached", |_, state| at(state, Stage::Live));
pub(super) const SECOND: Goal = ("the second generation goes live", |_, state| {
    at(state, Stage::Live) && state.control.generation == Generation(2)
});
pub(super) const LAZILY: Goal = ("a lazy read copies a key", |_, state| {
    let asks = |read: Read| read.step == ReadStep::Again(Side::New);
    state.instances.iter().any(|instance| instance.read.is_some_and(asks))
});
pub(super) const RETURNED: Goal = ("the old side answers again", |_, state| {
    state.control.position.stage <= Stage::Shadow
        && state.control.old_generation > Generation::FIRST
});
pub(super) const TWICE: Goal = ("it is complete once more, and comes back", |_, state| {
    at(state, Stage::Live) && state.control.old_generation == Generation(3)
});
pub(super) const TAKEN_OVER: Goal =
    ("an instance has seen an epoch that was lost and made again", |_, state| {
        let lost = |instance: &Instance| {
            instance.cached.epoch == state.control.position.epoch
                && !state.control.knows(instance.at())
        };
        state.instances.iter().any(lost)
    });
pub(super) const REPAIRED: Goal =
    ("a repair deletes a mark", |_, state| state.repair.is_some_and(|copying| copying.unmarked));

pub(super) const PROVEN_AGAIN: Goal =
    ("live is reached after damage was found and repaired", |world, state| {
        at(state, Stage::Live)
            && state.left.damages < world.budget.damages
            && state.rows.iter().all(|row| !row.damaged)
    });

/// Whether reads of this key are answered by new.
pub(super) fn reads_new(state: &State, key: usize) -> bool {
    stage_of(state.control.position, bucket(key)).reads() == Side::New
}

fn at(state: &State, stage: Stage) -> bool {
    state.control.position.stage == stage
}

pub(super) fn all(goals: &[Goal]) -> Vec<Property<World>> {
    let goals = goals.iter().map(|&(name, reached)| Property::sometimes(name, reached));
    let always = [
        Property::always(SUPERSEDED, |_, state: &State| !state.wrong.superseded),
        Property::always(BACKWARDS, |_, state: &State| !state.wrong.backwards),
        Property::always(GIVEN_UP, |_, state: &State| !state.wrong.given_up),
        Property::always(LOST, |world: &World, state: &State| {
            (0..KEYS).all(|key| world.is_kept(state, key))
        }),
        Property::always(FOUND, |_, state: &State| {
            (0..KEYS).all(|key| !state.rows[key].found || !reads_new(state, key))
        }),
        Property::always(EQUAL, |world: &World, state: &State| {
            (0..KEYS).all(|key| world.agrees(state, key))
        }),
    ];
    always.into_iter().chain(goals).collect()
}

impl World {
    /// In a lazy migration old may have it, of a key that is missing in new.
    fn is_kept(&self, state: &State, key: usize) -> bool {
        let row = state.rows[key];
        let plan = route(state.control.position, Operation::Read, bucket(key));
        let has = |side| row.meaning(row.side(side), row.acked).is_some();
        let lazy = self.lazy && may_copy(plan) && row.side(Side::New) == ABSENT;
        row.damaged || has(plan.primary) || lazy && has(Side::Old)
    }

    /// While nothing happens to a key, nothing of it waits to be copied, and writes go to both sides:
    /// what is proven or copied is equal, and before that new is missing rather than stale. Where new
    /// alone was written, they are equal when it is copied back.
    fn agrees(&self, state: &State, key: usize) -> bool {
        let row = state.rows[key];
        let [old, new] = row.sides;
        let stage = stage_of(state.control.position, bucket(key));
        let waits = row.dirty != [false; 2]
            || row.has_dead_letter
            || row.damaged
            || self.is_busy(state, key);
        let proven = state.control.verified() == Some(state.control.generation);
        let copied = state.control.is_backfilled() && old != ABSENT;
        let first = state.control.generation == Generation::FIRST && new != ABSENT;
        let expected = match state.control.old_generation {
            Generation::FIRST => proven || copied || first,
            _ => state.control.is_copied_back(),
        };
        let expected = stage.writes_both() && !waits && expected;
        !expected || old == new
    }
}
