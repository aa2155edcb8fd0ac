//! A read in its steps, with the lazy copy of a key that new misses.

use super::copying::Outcome;
use super::locks::Who;
use super::state::{ABSENT, Read, ReadStep, State, Version, bucket};
use super::world::{Guard, World};
use crate::call::lazy::decide::{before_all_is_copied, may_copy};
use crate::stages::route::{Operation, Route, route};
use crate::stages::stage::{Side, Stage};

impl World {
    fn read_route(&self, read: &Read) -> Route {
        let operation = if read.scan { Operation::Scan } else { Operation::Read };
        let mut route = route(read.pin, operation, bucket(read.key));
        if self.lacks(Guard::LazyEnd) && route.stage == Stage::RampDown {
            route.stage = Stage::Live;
        }
        let missing = self.lazy && !read.copied && !self.lacks(Guard::LazyScans);
        match read.scan && missing {
            true => before_all_is_copied(route),
            false => route,
        }
    }

    /// Loads the position, after a look at the lease.
    pub(super) fn begin_read(
        &self,
        state: &mut State,
        number: usize,
        key: usize,
        scan: bool,
    ) -> Option<()> {
        let row = state.rows[key];
        let instance = &mut state.instances[number];
        instance.valid.then_some(())?;
        instance.read = Some(Read {
            key,
            scan,
            pin: instance.cached,
            copied: instance.copied,
            acked: row.acked,
            seen: row.seen,
            gap: false,
            step: ReadStep::Planned,
        });
        Some(())
    }

    pub(super) fn go_on_reading(&self, state: &mut State, number: usize) -> Option<()> {
        let read = state.instances[number].read?;
        let row = state.rows[read.key];
        match read.step {
            ReadStep::Planned => {
                let route = self.read_route(&read);
                let value = row.side(route.primary);
                let lazy = self.lazy && !read.scan && !read.copied && may_copy(route);
                match lazy && value == ABSENT {
                    true => self.set_step(state, number, ReadStep::Missed),
                    false => self.answer(state, number, route.primary, value),
                }
            }
            ReadStep::Missed if self.may_copy_to(state, read.key, Side::New) => {
                let copying = self.begin_copy(state, Who::Read(number), read.key, Side::New)?;
                self.set_step(state, number, ReadStep::Copying(copying));
            }
            // The copy was not allowed: somebody else has brought the key since.
            ReadStep::Missed => self.set_step(state, number, ReadStep::Again(Side::New)),
            ReadStep::Copying(copying) => {
                match self.go_on_copying(state, Who::Read(number), copying)? {
                    Outcome::Step(copying) => {
                        self.set_step(state, number, ReadStep::Copying(copying));
                    }
                    Outcome::Done | Outcome::Stale => {
                        self.set_step(state, number, ReadStep::Again(Side::New));
                    }
                    Outcome::Born => self.set_step(state, number, ReadStep::Missed),
                }
            }
            ReadStep::Again(side) => self.answer(state, number, side, row.side(side)),
        }
        Some(())
    }

    fn set_step(&self, state: &mut State, number: usize, step: ReadStep) {
        if let Some(read) = &mut state.instances[number].read {
            read.step = step;
        }
    }

    /// The database fails under the copy, or (`fails`) the copy function does: old answers.
    pub(super) fn fail_lazily(&self, state: &mut State, number: usize, fails: bool) -> Option<()> {
        let read = state.instances[number].read?;
        // The database may fail before the position is pinned, the copy function only after that.
        let copying = matches!(read.step, ReadStep::Copying(_));
        (copying || read.step == ReadStep::Missed && !fails).then_some(())?;
        let left = if fails { &mut state.left.failed_copies } else { &mut state.left.crashes };
        *left = left.checked_sub(1)?;
        state.rows[read.key].has_dead_letter |= fails;
        self.set_step(state, number, ReadStep::Again(Side::Old));
        Some(())
    }

    /// The caller has its answer. May it be this one?
    fn answer(&self, state: &mut State, number: usize, side: Side, value: Version) {
        let instance = &mut state.instances[number];
        let Some(read) = instance.read.take() else { return };
        if read.gap || !instance.valid {
            return; // `StageUnknown`
        }
        let row = &mut state.rows[read.key];
        let meant = row.meaning(value, read.acked.max(read.seen));
        state.wrong.superseded |= !row.damaged && row.meaning(value, read.acked).is_none();
        state.wrong.backwards |= !row.damaged && row.meaning(value, read.seen).is_none();
        if self.late_acks {
            row.seen = row.seen.max(meant.unwrap_or(ABSENT));
        }
        let writes = route(state.control.position, Operation::Write, bucket(read.key));
        state.wrong.given_up |= writes.primary != side && writes.mirror != Some(side);
    }
}
