//! The verification, key by key, the sample of one key, and damage that they may find.

use super::locks::Who;
use super::properties::reads_new;
use super::state::{ABSENT, Mark, State, Verification, index};
use super::world::{Guard, World};
use crate::stages::stage::Side;
use crate::stages::stale::StaleKind;

impl World {
    /// The next step of a verification: start, or compare one key.
    pub(super) fn go_on_verifying(&self, state: &mut State) -> Option<()> {
        let control = state.control;
        let both = control.position.stage.writes_both();
        let generations = [control.old_generation, control.generation];
        let Some(Verification { generation, old_generation, key }) = state.verification else {
            let [old_generation, generation] = generations;
            // Earlier it would prove nothing; where somebody damages new, it runs at any time.
            let useful = self.budget.damages > 0
                || control.is_backfilled() && control.verified() != Some(generation)
                || self.reverse && control.old_verified() != Some(old_generation);
            state.verification = Some(Verification { generation, old_generation, key: 0 });
            if let Some(mark) = &mut state.control.mark {
                mark.stamped = true;
            }
            return (useful && both).then_some(());
        };
        let equal = self.compare(state, key)?;
        let next = Verification { generation, old_generation, key: key + 1 };
        state.verification = (equal && both && next.key < self.keys).then_some(next);
        let found_since = state.control.mark.is_some_and(|mark| !mark.stamped);
        let later = !found_since || self.lacks(Guard::LaterProof);
        if equal && both && next.key == self.keys && generations == [old_generation, generation] {
            if !later {
                return Some(()); // it proves nothing
            }
            state.control.prove(generations);
        }
        Some(())
    }

    /// A verification of a sample: one key.
    pub(super) fn sample(&self, state: &mut State, key: usize) -> Option<()> {
        let both = state.control.position.stage.writes_both();
        let equal = self.compare(state, key)?;
        (both && !equal).then_some(())
    }

    /// Compares a key under its lock, and withdraws the proof where it differs. `None` where somebody holds the lock.
    fn compare(&self, state: &mut State, key: usize) -> Option<bool> {
        let row = state.rows[key];
        let waits =
            |side| row.side(side) != ABSENT && self.is_locked(state, Who::Verification, key, side);
        if waits(Side::Old) || waits(Side::New) {
            return None;
        }
        let [old, new] = row.sides;
        let equal = old == new || self.lacks(Guard::VerifiedNew) && old == ABSENT;
        if !equal && state.control.position.stage.writes_both() {
            let missing = new == ABSENT
                && state.control.mark.is_none_or(|mark| mark.kind == StaleKind::Missing);
            let kind = if missing { StaleKind::Missing } else { StaleKind::Difference };
            state.control.mark = Some(Mark { kind, stamped: false });
            state.rows[key].found |= row.damaged && !reads_new(state, key);
        }
        Some(equal)
    }

    /// Somebody removes a row of new, which does not answer yet, behind everyone's back.
    pub(super) fn damage(&self, state: &mut State, key: usize) -> Option<()> {
        let row = state.rows[key];
        let there = row.side(Side::New) != ABSENT && row.side(Side::Old) != ABSENT;
        (there && !reads_new(state, key) && !self.is_busy(state, key)).then_some(())?;
        state.left.damages = state.left.damages.checked_sub(1)?;
        state.rows[key].sides[index(Side::New)] = ABSENT;
        state.rows[key].damaged = true;
        Some(())
    }
}
