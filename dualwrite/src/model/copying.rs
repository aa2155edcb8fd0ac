//! A transaction that copies one key, for a lazy read, a repair or by hand: step by step what
//! `copy/run.rs` does.

use super::locks::Who;
use super::state::{ABSENT, CopyStep, Copying, Row, State, Version, bucket, index};
use super::world::{Guard, World};
use crate::copy::run::may_copy_to;
use crate::stages::stage::Side;

pub(super) enum Outcome {
    Step(Copying),
    /// Committed.
    Done,
    /// Rolled back: the side copied from is the stale one.
    Stale,
    /// Rolled back, to be tried again: the row was born meanwhile.
    Born,
}

impl World {
    pub(super) fn may_copy_to(&self, state: &State, key: usize, to: Side) -> bool {
        may_copy_to(state.control.position, bucket(key), to) || self.lacks(Guard::StageOfCopy)
    }

    /// Locks the row in old where it is there, and deletes the mark. `None`: it has to wait.
    pub(super) fn begin_copy(
        &self,
        state: &State,
        who: Who,
        key: usize,
        to: Side,
    ) -> Option<Copying> {
        let row = state.rows[key];
        let there = row.side(Side::Old) != ABSENT;
        if there && self.is_locked(state, who, key, Side::Old) {
            return None;
        }
        let unmarked = row.dirty[index(to)] && !self.lacks(Guard::MarkFirst);
        if unmarked && self.is_mark_locked(state, who, key, to) {
            return None;
        }
        let alone = who == Who::Repair && to == Side::Old && !self.lacks(Guard::LoneInserts);
        let step = match there {
            true => CopyStep::Locked,
            false if alone => {
                return Some(Copying {
                    key,
                    to,
                    unmarked: false,
                    target: None,
                    step: CopyStep::Alone,
                });
            }
            false => CopyStep::Free,
        };
        Some(Copying { key, to, unmarked, target: None, step })
    }

    /// The next statement. `None`: it has to wait.
    pub(super) fn go_on_copying(
        &self,
        state: &mut State,
        who: Who,
        copying: Copying,
    ) -> Option<Outcome> {
        let Copying { key, to, target, .. } = copying;
        let row = state.rows[key];
        let step = |step| Some(Outcome::Step(Copying { step, ..copying }));
        let saw = |locked| CopyStep::Saw {
            locked,
            source: row.side(to.other()),
            target: target.unwrap_or(row.side(to)),
        };
        match copying.step {
            CopyStep::Free => step(saw(false)),
            // What is locked stands still.
            CopyStep::Locked if to == Side::New => {
                Some(self.end_copy(state, copying, Some(row.side(Side::Old))))
            }
            CopyStep::Locked => step(saw(true)),
            CopyStep::Saw { locked: true, source, .. } => {
                Some(self.end_copy(state, copying, Some(source)))
            }
            // It writes what it has seen, whatever is there by now; a row that it has not seen is deleted.
            CopyStep::Saw { locked: false, source, .. } => {
                if self.is_locked(state, who, key, to) {
                    return None;
                }
                let target = Some(source);
                Some(Outcome::Step(Copying { step: CopyStep::Written, target, ..copying }))
            }
            CopyStep::Alone => self.copy_exclusive(state, copying),
            CopyStep::Written => {
                let own = target.filter(|_| to == Side::Old);
                let there = own.unwrap_or(row.side(Side::Old)) != ABSENT;
                // A page looks into new as well.
                let again = to == Side::Old
                    && who == Who::Worker
                    && row.side(Side::New) != ABSENT
                    && !self.lacks(Guard::DeletedInserts);
                match to {
                    _ if !there && again && self.is_locked(state, who, key, Side::New) => None,
                    _ if !there && again => step(CopyStep::Locked),
                    _ if !there || self.lacks(Guard::Births) => {
                        Some(self.end_copy(state, copying, target))
                    }
                    Side::New => Some(Outcome::Born),
                    Side::Old if self.is_locked(state, who, key, Side::Old) => None,
                    Side::Old => step(CopyStep::Locked),
                }
            }
        }
    }

    /// With the fence held alone, the whole copy is one step.
    fn copy_exclusive(&self, state: &mut State, copying: Copying) -> Option<Outcome> {
        let Copying { key, to, .. } = copying;
        self.is_unfenced(state).then_some(())?;
        if !self.may_copy_to(state, key, to) {
            return Some(Outcome::Stale);
        }
        let source = state.rows[key].side(to.other());
        Some(self.end_copy(state, Copying { unmarked: true, ..copying }, Some(source)))
    }

    fn end_copy(&self, state: &mut State, copying: Copying, value: Option<Version>) -> Outcome {
        let Copying { key, to, unmarked, .. } = copying;
        let (position, whole) = (state.control.position, state.control.is_old_whole());
        let row = &mut state.rows[key];
        let may_be_stale = to == Side::New && position.stage.reads() == Side::New;
        let marked = row.dirty[index(Side::Old)] && !self.lacks(Guard::StaleSource);
        if may_be_stale && (marked || !whole && !self.lacks(Guard::WholeSource)) {
            return Outcome::Stale;
        }
        if let Some(value) = value {
            self.copy_onto(row, to, value);
        }
        if unmarked || self.lacks(Guard::MarkFirst) {
            row.dirty[index(to)] = false;
        }
        Outcome::Done
    }

    /// What the user's copy function does to the target.
    pub(super) fn copy_onto(&self, row: &mut Row, to: Side, value: Version) {
        let inserts = self.lacks(Guard::OverwritingCopy);
        if !inserts || row.side(to) == ABSENT {
            row.sides[index(to)] = value;
        }
    }

    /// A repair of a dirty key, or a copy by hand.
    pub(super) fn begin_repair(&self, state: &mut State, key: usize, to: Side) -> Option<()> {
        self.may_copy_to(state, key, to).then_some(())?;
        if !state.rows[key].dirty[index(to)] {
            (to == Side::New).then_some(())?;
            state.left.copies = state.left.copies.checked_sub(1)?;
        }
        state.repair = Some(self.begin_copy(state, Who::Repair, key, to)?);
        Some(())
    }

    pub(super) fn go_on_repairing(&self, state: &mut State) -> Option<()> {
        let copying = state.repair?;
        state.repair = match self.go_on_copying(state, Who::Repair, copying)? {
            Outcome::Step(copying) => Some(copying),
            Outcome::Born if copying.to == Side::Old => {
                let step = CopyStep::Alone;
                Some(Copying { unmarked: false, target: None, step, ..copying })
            }
            Outcome::Done | Outcome::Stale | Outcome::Born => None,
        };
        Some(())
    }

    pub(super) fn cancel_repair(&self, state: &mut State) -> Option<()> {
        state.left.crashes = state.left.crashes.checked_sub(1)?;
        state.repair.take().map(drop)
    }
}
