//! The reverse copy, part by part and page by page: what new alone got, back to old.

use super::copying::Outcome;
use super::locks::Who;
use super::state::{ABSENT, Copying, Part, State, Worker};
use super::world::{Guard, World};
use crate::backfill::decide::check_stage;
use crate::stages::position::Generation;
use crate::stages::readiness::drained;
use crate::stages::stage::Side;

impl World {
    /// Waits for the acknowledgements, and begins with what old alone has.
    pub(super) fn begin_reversing(&self, state: &mut State) -> Option<()> {
        let control = &state.control;
        let idle = state.worker == Worker::Idle && self.reverse;
        (idle && !control.is_old_whole()).then_some(())?;
        self.begin_part(state, Part::Orphans)
    }

    /// One part has ended; perhaps the worker waits, and the generation is another one by then. Before the
    /// rest it takes the fence alone, and gives it back.
    pub(super) fn go_on_reversing(
        &self,
        state: &mut State,
        generation: Generation,
        part: Part,
    ) -> Option<()> {
        let next = if part == Part::Orphans { Part::Back } else { Part::Rest };
        if next == Part::Rest && !self.lacks(Guard::Barrier) && !self.is_unfenced(state) {
            return None;
        }
        let passed = generation != state.control.old_generation;
        if passed && !self.lacks(Guard::GenerationOfParts)
            || check_stage(state.control.position, Side::Old, "").is_err()
        {
            state.worker = Worker::Idle;
            return Some(());
        }
        self.begin_part(state, next)
    }

    fn begin_part(&self, state: &mut State, part: Part) -> Option<()> {
        check_stage(state.control.position, Side::Old, "").ok()?;
        drained(&self.facts(state)).is_empty().then_some(())?;
        let generation = state.control.old_generation;
        let last = (0..self.keys).rev().find(|key| is_in(state, *key, part));
        let end = last.map_or(0, |key| key as u8 + 1);
        state.control.reverse(generation, part).end.get_or_insert(end);
        state.worker = Worker::Back(generation, part, None);
        Some(())
    }

    /// The next step of a part: a page, one of its statements, or the end.
    pub(super) fn copy_back(
        &self,
        state: &mut State,
        generation: Generation,
        part: Part,
        page: Option<Copying>,
    ) -> Option<()> {
        let Some(copying) = page else {
            return self.next_page_back(state, generation, part);
        };
        let page = match self.go_on_copying(state, Who::Worker, copying)? {
            Outcome::Step(copying) => Some(copying),
            Outcome::Done => {
                state.control.reverse(generation, part).cursor = copying.key as u8 + 1;
                None
            }
            Outcome::Stale | Outcome::Born => None,
        };
        state.worker = Worker::Back(generation, part, page);
        Some(())
    }

    fn next_page_back(&self, state: &mut State, generation: Generation, part: Part) -> Option<()> {
        let passed = state.control.old_generation != generation;
        if check_stage(state.control.position, Side::Old, "").is_err()
            || passed && !self.lacks(Guard::GenerationOfPage)
        {
            state.worker = Worker::Idle;
            return Some(());
        }
        let ledger = *state.control.reverse(generation, part);
        let keys = (ledger.cursor..ledger.end.unwrap_or(0)).map(usize::from);
        let next = keys.filter(|_| !ledger.complete).find(|key| is_in(state, *key, part));
        // Without the rest, the end of the keys of new is taken for the proof.
        let last = self.lacks(Guard::ReverseRest) && part == Part::Back;
        let part = if last && next.is_none() { Part::Rest } else { part };
        state.worker = match (next, part) {
            (Some(key), _) => {
                let copying = self.begin_copy(state, Who::Worker, key, Side::Old)?;
                Worker::Back(generation, part, Some(copying))
            }
            (None, Part::Rest) => Worker::Idle,
            (None, _) => Worker::Between(generation, part),
        };
        state.control.reverse(generation, part).complete |= next.is_none();
        Some(())
    }
}

/// Whether a part has this key, as committed.
fn is_in(state: &State, key: usize, part: Part) -> bool {
    let [old, new] = state.rows[key].sides;
    match part {
        Part::Orphans | Part::Rest => old != ABSENT && new == ABSENT,
        Part::Back => new != ABSENT,
    }
}
