//! The backfill, page by page.

use super::locks::Who;
use super::state::{ABSENT, State, Worker, index};
use super::world::{Guard, World};
use crate::backfill::decide::Next;
use crate::backfill::decide::check_stage;
use crate::backfill::pace::Pace;
use crate::stages::position::Generation;
use crate::stages::readiness::drained;
use crate::stages::stage::Side;

impl World {
    /// The next step of the worker: start, lock a page, copy and commit it, or prove the end.
    pub(super) fn go_on_backfilling(&self, state: &mut State) -> Option<()> {
        match state.worker {
            Worker::Idle => self.start_backfill(state),
            Worker::Ready(generation) => self.next_page(state, generation),
            Worker::Back(generation, part, page) => self.copy_back(state, generation, part, page),
            Worker::Between(generation, part) => self.go_on_reversing(state, generation, part),
            Worker::Page(generation, key, value) => {
                let row = &mut state.rows[key];
                self.copy_onto(row, Side::New, value);
                row.dirty[index(Side::New)] = false;
                self.check_in(state, generation, key);
                Some(())
            }
        }
    }

    fn check_in(&self, state: &mut State, generation: Generation, key: usize) {
        state.control.ledger(generation).cursor = key as u8 + 1;
        state.worker = Worker::Ready(generation);
    }

    /// Waits for the acknowledgements and fixes the range.
    fn start_backfill(&self, state: &mut State) -> Option<()> {
        let generation = state.control.generation;
        check_stage(state.control.position, Side::New, "").ok()?;
        if state.control.is_backfilled() || !drained(&self.facts(state)).is_empty() {
            return None;
        }
        let there = |key: &usize| state.rows[*key].side(Side::Old) != ABSENT;
        let end = (0..self.keys).rev().find(there).map_or(0, |key| key as u8 + 1);
        state.control.ledger(generation).end.get_or_insert(end);
        state.worker = Worker::Ready(generation);
        Some(())
    }

    fn next_page(&self, state: &mut State, generation: Generation) -> Option<()> {
        let control = &mut state.control;
        let passed = control.generation != generation && !self.lacks(Guard::GenerationOfPage);
        let stale = control.position.stage.reads() == Side::New && !control.is_old_whole();
        let stale = stale && !self.lacks(Guard::WholeSource);
        if check_stage(control.position, Side::New, "").is_err() || passed || stale {
            state.worker = Worker::Idle;
            return Some(());
        }
        let ledger = control.ledger(generation);
        let there = |key: &u8| state.rows[usize::from(*key)].side(Side::Old) != ABSENT;
        let next = (ledger.cursor..ledger.end.unwrap_or(0)).find(there).map(usize::from);
        match next {
            Some(key) if self.is_locked(state, Who::Worker, key, Side::Old) => return None,
            Some(key) => {
                state.worker = Worker::Page(generation, key, state.rows[key].side(Side::Old));
            }
            None => {
                state.control.ledger(generation).complete = true;
                state.worker = Worker::Idle;
            }
        }
        Some(())
    }

    /// The worker's database fails, or (`fails`) the copy function does, until the worker gives up.
    pub(super) fn fail_to_backfill(&self, state: &mut State, fails: bool) -> Option<()> {
        let mut pace = Pace::new(1, crate::backfill::decide::BATCH_TIME);
        let end = loop {
            match pace.failed(fails) {
                Next::Retry | Next::Halve => {}
                end => break end,
            }
        };
        match (end, state.worker) {
            (Next::DeadLetter, Worker::Page(generation, key, _)) => {
                state.left.failed_copies = state.left.failed_copies.checked_sub(1)?;
                state.rows[key].has_dead_letter = true;
                self.check_in(state, generation, key);
            }
            (Next::Stop, worker) if worker != Worker::Idle => {
                state.left.crashes = state.left.crashes.checked_sub(1)?;
                state.worker = Worker::Idle;
            }
            _ => return None,
        }
        Some(())
    }
}
