//! An operator who turns the dial wherever the library lets it, and what instances tell of themselves.

use std::time::SystemTime;

use super::state::{CopyStep, Instance, Read, ReadStep, State, Worker, Write, WriteStep};
use super::world::{Guard, World};
use crate::control::Change;
use crate::stages::facts::{
    Facts, InstanceReport, Operated, SideFacts, StageFacts, Unfenced, Unsettled,
};
use crate::stages::lineage::Token;
use crate::stages::moves::{Destination, Move};
use crate::stages::position::{Epoch, Position};
use crate::stages::stage::Stage;
use crate::stages::stale::StaleMark;
use crate::stages::terms::Terms;
use crate::store::sql::change::decide_change;

impl World {
    /// What the control tables know.
    pub(super) fn facts(&self, state: &State) -> Facts {
        let control = &state.control;
        let dirty = |side: usize| state.rows.iter().filter(|row| row.dirty[side]).count() as u64;
        let report = |instance: &Instance| InstanceReport {
            id: String::new(),
            release: String::new(),
            seen: self.said(state, instance, instance.seen.epoch),
            drained: self.said(state, instance, instance.drained),
            min_stage: Stage::Off,
            max_stage: Stage::Complete,
            new_only: false,
            lazy: self.lazy,
            wanted: None,
            killed_by: None,
            mirror: None,
            terms: None,
            alike: 1,
        };
        let new = SideFacts {
            generation: control.generation,
            backfilled: control.is_backfilled(),
            verified: control.verified(),
            dirty: dirty(1),
            dead_letters: state.rows.iter().filter(|row| row.has_dead_letter).count() as u64,
            ..SideFacts::default()
        };
        let old = SideFacts {
            generation: control.old_generation,
            backfilled: control.is_copied_back(),
            verified: control.old_verified(),
            dirty: dirty(0),
            ..SideFacts::default()
        };
        Facts {
            operated: Operated::default(),
            converging: Unsettled::default(),
            position: control.position,
            token: control.at().token,
            stage: StageFacts { epoch: control.stage_epoch, ..StageFacts::default() },
            new,
            old,
            unfenced: Unfenced::default(),
            verification: None,
            hazards: Vec::new(),
            stale: control
                .mark
                .iter()
                .map(|mark| StaleMark { kind: mark.kind, at: SystemTime::UNIX_EPOCH })
                .collect(),
            instances: state.instances.iter().filter(|i| i.listed).map(report).collect(),
        }
    }

    /// Where a move leads, if the library lets it through now.
    pub(super) fn decide(&self, state: &State, requested: Move) -> Option<Destination> {
        let mut facts = self.facts(state);
        self.mislead(&mut facts, requested);
        let change = Change {
            expected: None,
            token: None,
            requested,
            actor: String::new(),
            reason: String::new(),
            overridden: Vec::new(),
            terms: Terms {
                lazy: self.lazy,
                sees_new: true,
                can_copy_back: self.reverse,
                ..Terms::default()
            },
            plan: None,
            flag: None,
        };
        decide_change(&facts, &change).ok().flatten()
    }

    /// A gate is taken out by telling it what it wants to hear.
    fn mislead(&self, facts: &mut Facts, requested: Move) {
        match self.without {
            Some(Guard::CleanRollback) => facts.old.dirty = 0,
            Some(Guard::CleanAdvance) => facts.new.dirty = 0,
            Some(Guard::ProvenAdvance) => {
                facts.new.backfilled = true;
                facts.new.verified = Some(facts.new.generation);
            }
            Some(Guard::ProvenReturn) => {
                facts.old.backfilled = true;
                facts.old.verified = Some(facts.old.generation);
            }
            Some(Guard::WithdrawnProof) if !facts.stale.is_empty() => {
                facts.stale.clear();
                facts.new.verified = Some(facts.new.generation);
            }
            Some(Guard::LazyEnd) if facts.position.stage == Stage::Live => {
                facts.new.backfilled = true
            }
            Some(Guard::AcknowledgedComplete) if facts.position.stage >= Stage::Live => {
                facts.instances.clear();
            }
            Some(Guard::AcknowledgedOff) if requested == Move::StepBack(Stage::Off) => {
                facts.instances.clear();
            }
            _ => {}
        }
    }

    /// Whether nobody holds the fence, so that a change can have it alone.
    pub(super) fn is_unfenced(&self, state: &State) -> bool {
        let open = |write: Write| write.step != WriteStep::Committed;
        let copies = |read: Read| matches!(read.step, ReadStep::Copying(_));
        let busy = |instance: &Instance| {
            instance.write.is_some_and(open) && !self.lacks(Guard::Fence)
                || instance.read.is_some_and(copies)
        };
        let page = matches!(state.worker, Worker::Page(..) | Worker::Back(_, _, Some(_)));
        let repairs = state.repair.is_some_and(|copying| copying.step != CopyStep::Alone);
        !page && !repairs && !state.instances.iter().any(busy)
    }

    /// Makes a change that was let through.
    pub(super) fn change(&self, state: &mut State, to: Destination) -> Option<()> {
        state.left.moves = state.left.moves.checked_sub(1)?;
        self.lag(state);
        let token = Token(u64::from(state.failovers));
        let control = &mut state.control;
        let from = control.position;
        let epoch = Epoch(from.epoch.0 + 1);
        if to.stage != from.stage {
            control.stage_epoch = epoch;
        }
        control.position = Position { stage: to.stage, ramp: to.ramp, epoch, ..control.position };
        control.tokens[epoch.0 as usize] = token;
        if !self.lacks(Guard::OldGeneration) {
            control.old_generation = to.old_generation(from, control.old_generation);
        }
        if !self.lacks(Guard::Generation) {
            control.generation = to.generation;
        }
        Some(())
    }

    /// An instance reads the control tables; after a heartbeat it holds its lease again.
    pub(super) fn poll(&self, state: &mut State, number: usize) -> Option<()> {
        let copied = self.is_copied(state);
        let control = state.control;
        let instance = &mut state.instances[number];
        let before = *instance;
        self.adopt(instance, &control);
        instance.copied = copied;
        (before != *instance).then_some(())
    }

    /// `Record::is_copied`.
    fn is_copied(&self, state: &State) -> bool {
        let has_dead_letter = state.rows.iter().any(|row| row.has_dead_letter);
        state.control.is_backfilled() && (!has_dead_letter || self.lacks(Guard::DeadLetters))
    }

    /// An instance sends a heartbeat, with what it has seen and drained.
    pub(super) fn heartbeat(&self, state: &mut State, number: usize) -> Option<()> {
        let instance = &mut state.instances[number];
        let before = *instance;
        instance.seen = instance.at();
        instance.drained = self.drained(instance);
        (instance.listed, instance.here) = (true, true);
        instance.beaten = !instance.valid;
        (before != *instance).then_some(())
    }

    /// What `InFlight` answers: the epoch below which nothing is in flight.
    fn drained(&self, instance: &Instance) -> Epoch {
        let seen = instance.cached.epoch;
        let ended = |read: &Read| {
            self.lacks(Guard::Drained)
                || self.lacks(Guard::LazyInFlight) && read.step != ReadStep::Planned
        };
        match instance.read {
            Some(read) if !ended(&read) => seen.min(read.pin.epoch),
            _ => seen,
        }
    }

    /// The lease of an instance runs out, for itself and for the others.
    pub(super) fn lapse(&self, state: &mut State, number: usize) -> Option<()> {
        let instance = &mut state.instances[number];
        instance.valid.then_some(())?;
        state.left.lapses = state.left.lapses.checked_sub(1)?;
        (instance.valid, instance.listed) = (false, false);
        if let Some(read) = &mut instance.read {
            read.gap = !self.lacks(Guard::LeaseWithoutGap);
        }
        Some(())
    }
}
