//! Who waits for whom: the locks of the transactions that are open.

use super::state::{CopyStep, Copying, Instance, ReadStep, State, Worker, Write, WriteStep};
use super::world::{Guard, World};
use crate::stages::stage::Side;

/// Who holds a lock, or wants one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Write(usize),
    Read(usize),
    Repair,
    Worker,
    Verification,
}

fn writes(state: &State) -> impl Iterator<Item = (Who, Write)> + '_ {
    let of = |(number, instance): (usize, &Instance)| Some((Who::Write(number), instance.write?));
    state.instances.iter().enumerate().filter_map(of)
}

fn copies(state: &State) -> impl Iterator<Item = (Who, Copying)> + '_ {
    let of = |(number, instance): (usize, &Instance)| match instance.read?.step {
        ReadStep::Copying(copying) => Some((Who::Read(number), copying)),
        _ => None,
    };
    let repair = state.repair.map(|copying| (Who::Repair, copying));
    let page = match state.worker {
        Worker::Back(_, _, Some(copying)) => Some((Who::Worker, copying)),
        _ => None,
    };
    state.instances.iter().enumerate().filter_map(of).chain(repair).chain(page)
}

impl World {
    /// Whether somebody else holds the lock of this row.
    pub(super) fn is_locked(&self, state: &State, who: Who, key: usize, side: Side) -> bool {
        let written = writes(state).any(|(other, write)| {
            let holds = side == Side::Old && write.step == WriteStep::OldWritten;
            other != who && write.key == key && holds
        });
        let copied = copies(state).any(|(other, copying)| {
            let locked =
                matches!(copying.step, CopyStep::Locked | CopyStep::Saw { locked: true, .. });
            let locked = locked && (other != Who::Worker || !self.lacks(Guard::LockedReverse));
            let wrote = copying.target.is_some() && copying.to == side;
            other != who && copying.key == key && (locked && side == Side::Old || wrote)
        });
        let paged = side == Side::Old
            && who != Who::Worker
            && matches!(state.worker, Worker::Page(_, page, _) if page == key)
            && !self.lacks(Guard::LockedCopy);
        written || copied || paged
    }

    /// Whether somebody else holds the lock of this key's dirty mark.
    pub(super) fn is_mark_locked(&self, state: &State, who: Who, key: usize, side: Side) -> bool {
        let written = writes(state).any(|(other, write)| {
            let holds = side == Side::Old && write.step == WriteStep::OldForgiven;
            other != who && write.key == key && holds
        });
        let deleted = copies(state).any(|(other, copying)| {
            let holds = copying.unmarked && copying.to == side;
            other != who && copying.key == key && holds
        });
        written || deleted
    }

    /// Whether a transaction that writes this key is open.
    pub(super) fn is_busy(&self, state: &State, key: usize) -> bool {
        writes(state).any(|(_, write)| write.key == key && write.step != WriteStep::Committed)
            || copies(state).any(|(_, copying)| copying.key == key)
            || matches!(state.worker, Worker::Page(_, page, _) if page == key)
    }
}
