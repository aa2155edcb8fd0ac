//! A standby that lags by the last change of the position takes over: the change is lost, and its epoch is made
//! again. What an instance does that has seen the lost one.

use super::state::{Control, Instance, ReadStep, Standby, State, Worker, WriteStep};
use super::world::{Guard, World};
use crate::stages::lineage::{Lineage, Mark, lineage};
use crate::stages::position::Epoch;

impl World {
    /// From now on the standby lags: it does not get the change that is made.
    pub(super) fn lag(&self, state: &mut State) {
        state.standby = (state.left.failovers > 0).then(|| Standby {
            control: state.control,
            acknowledged: state.instances.map(|instance| (instance.seen, instance.drained)),
        });
    }

    /// Whatever else is committed reaches the standby, and the change before it.
    pub(super) fn replicate(&self, before: &State, after: &mut State) {
        let moved = before.control.position != after.control.position;
        if before.rows != after.rows || !moved && before.control != after.control {
            after.standby = None;
        }
    }

    pub(super) fn fail_over(&self, state: &mut State) -> Option<()> {
        let standby = state.standby.take()?;
        state.left.failovers = state.left.failovers.checked_sub(1)?;
        state.failovers += 1;
        state.control = standby.control;
        // What was in flight there is rolled back.
        (state.repair, state.worker, state.verification) = (None, Worker::Idle, None);
        for (instance, (seen, drained)) in state.instances.iter_mut().zip(standby.acknowledged) {
            (instance.seen, instance.drained, instance.here) = (seen, drained, false);
            instance.write = instance.write.filter(|write| write.step == WriteStep::Committed);
            instance.read = instance.read.filter(|read| !matches!(read.step, ReadStep::Copying(_)));
        }
        Some(())
    }

    /// What an instance makes of the position in force.
    pub(super) fn adopt(&self, instance: &mut Instance, control: &Control) {
        let found = control.at();
        if self.lacks(Guard::Token) {
            if instance.cached.epoch <= found.epoch {
                (instance.cached, instance.token) = (control.position, found.token);
            }
        } else {
            let lost = match lineage(instance.at(), found, control.parent()) {
                Lineage::Same | Lineage::Next => false,
                Lineage::Later => !control.knows(instance.at()),
                Lineage::Earlier | Lineage::Other => true,
            };
            (instance.cached, instance.token) = (control.position, found.token);
            if lost {
                (instance.valid, instance.beaten) = (false, false);
                if let Some(read) = &mut instance.read {
                    read.gap = true;
                }
            }
        }
        if instance.beaten {
            (instance.valid, instance.beaten) = (true, false);
        }
    }

    /// What counts of what an instance has acknowledged.
    pub(super) fn said(&self, state: &State, instance: &Instance, epoch: Epoch) -> Epoch {
        match instance.here || self.lacks(Guard::SameServer) || self.lacks(Guard::Token) {
            true => self.of_this_history(state, instance.seen, epoch),
            false => Epoch(0),
        }
    }

    /// What was acknowledged with a mark of another history counts as nothing.
    pub(super) fn of_this_history(&self, state: &State, mark: Mark, epoch: Epoch) -> Epoch {
        match state.control.knows(mark) || self.lacks(Guard::Token) {
            true => epoch,
            false => Epoch(0),
        }
    }
}
