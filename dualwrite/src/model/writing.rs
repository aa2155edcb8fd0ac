//! A write in its steps: fence and first side, last side and commit, acknowledgement.

use super::locks::Who;
use super::state::{ABSENT, State, Write, WriteStep, bucket, index};
use super::world::{Guard, World};
use crate::call::write::decide::{self, Mirror};
use crate::stages::route::{Operation, Route, route};
use crate::stages::stage::Side;
use crate::state::MirrorPolicy;

/// A write that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begin {
    pub(super) key: usize,
    pub(super) delete: bool,
    /// Old is the mirror, and the write to it fails.
    pub(super) fails: bool,
}

fn route_of(write: &Write) -> Route {
    route(write.pin, Operation::Write, bucket(write.key))
}

fn has(route: Route, side: Side) -> bool {
    route.primary == side || route.mirror == Some(side)
}

impl World {
    /// Takes the fence, which pins the position in force, and writes the first side. A write that fails
    /// and is not forgiven has no effect, and so is no step.
    pub(super) fn begin_write(&self, state: &mut State, number: usize, begin: Begin) -> Option<()> {
        let Begin { key, delete, fails } = begin;
        let fenced = !self.lacks(Guard::Fence);
        let instance = &mut state.instances[number];
        let by_epoch =
            self.lacks(Guard::Token) && instance.cached.epoch == state.control.position.epoch;
        let pin = if fenced && !by_epoch { state.control.position } else { instance.cached };
        let write = Write { key, delete, pin, step: WriteStep::Begun };
        if delete && state.rows[key].side(route_of(&write).primary) == ABSENT {
            return None;
        }
        instance.write = Some(write);
        let left = if delete { &mut state.left.deletes } else { &mut state.left.writes };
        *left = left.checked_sub(1)?;
        match fenced {
            true => self.go_on_writing(state, number, fails),
            false => (!fails).then_some(()),
        }
    }

    /// The next side; with the last one, the commit; then the caller learns of it.
    pub(super) fn go_on_writing(
        &self,
        state: &mut State,
        number: usize,
        fails: bool,
    ) -> Option<()> {
        let write = state.instances[number].write?;
        let route = route_of(&write);
        let side = match write.step {
            WriteStep::Begun if has(route, Side::Old) => Side::Old,
            WriteStep::Committed if fails => return None,
            WriteStep::Committed => return self.acknowledge(state, number),
            _ => Side::New,
        };
        let nothing = write.delete && state.rows[write.key].side(side) == ABSENT;
        if nothing && side == Side::Old && has(route, Side::New) && !fails {
            state.instances[number].write = Some(Write { step: WriteStep::OldPassed, ..write });
            return Some(());
        }
        if fails {
            state.left.failures = state.left.failures.checked_sub(1)?;
            self.forgives(state, number, write, side).then_some(())?;
        } else if self.is_locked(state, Who::Write(number), write.key, side) {
            return None;
        }
        if side == Side::Old && has(route, Side::New) {
            let step = if fails { WriteStep::OldForgiven } else { WriteStep::OldWritten };
            state.instances[number].write = Some(Write { step, ..write });
        } else {
            self.commit(state, number, write, fails.then_some(side));
        }
        Some(())
    }

    /// Whether a failed write to the mirror is left for later.
    fn forgives(&self, state: &State, number: usize, write: Write, side: Side) -> bool {
        let own = &state.instances[number];
        let others = state.instances.iter().enumerate();
        let others = others.filter(|(other, instance)| *other != number && instance.listed);
        let own_epoch = self.of_this_history(state, own.at(), own.cached.epoch);
        let seen = others.map(|(_, other)| self.said(state, other, other.seen.epoch));
        let seen = seen.fold(own_epoch, Ord::min);
        let repairable = decide::is_repairable(side, own.copied, self.lazy)
            || self.lacks(Guard::RepairableForgiveness);
        let decided = decide::mirror(write.pin, side, MirrorPolicy::MarkDirty, repairable);
        route_of(&write).mirror == Some(side)
            && (decided == Mirror::Forgiving || self.lacks(Guard::UnscannedForgiveness))
            && (decide::may_forgive(write.pin, seen) || self.lacks(Guard::SeenForgiveness))
            && !self.is_mark_locked(state, Who::Write(number), write.key, side)
    }

    /// `forgiven`: the side that this last step failed to write.
    fn commit(&self, state: &mut State, number: usize, write: Write, forgiven: Option<Side>) {
        let route = route_of(&write);
        let row = &mut state.rows[write.key];
        row.latest += 1;
        row.deletions |= u8::from(write.delete) << row.latest;
        let value = if write.delete { ABSENT } else { row.latest };
        for side in [Side::Old, Side::New].into_iter().filter(|side| has(route, *side)) {
            let failed =
                forgiven == Some(side) || side == Side::Old && write.step == WriteStep::OldForgiven;
            let passed = side == Side::Old && write.step == WriteStep::OldPassed;
            let updates = self.lacks(Guard::UpsertingWrite) && route.mirror == Some(side);
            if failed {
                row.dirty[index(side)] = true;
            } else if !passed && (!updates || row.side(side) != ABSENT) {
                row.sides[index(side)] = value;
            }
        }
        state.instances[number].write = Some(Write { step: WriteStep::Committed, ..write });
        if !self.late_acks {
            self.acknowledge(state, number);
        }
    }

    /// Nobody else writes in a world of late acknowledgements, so the newest is this one's.
    fn acknowledge(&self, state: &mut State, number: usize) -> Option<()> {
        let write = state.instances[number].write.take()?;
        let row = &mut state.rows[write.key];
        row.acked = row.latest;
        Some(())
    }

    /// The future is dropped, or the process dies, before the commit.
    pub(super) fn cancel_write(&self, state: &mut State, number: usize) -> Option<()> {
        (state.instances[number].write?.step != WriteStep::Committed).then_some(())?;
        state.left.crashes = state.left.crashes.checked_sub(1)?;
        state.instances[number].write.take().map(drop)
    }
}
