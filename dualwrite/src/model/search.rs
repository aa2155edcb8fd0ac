//! All steps together.

use stateright::{Model, Property};

use super::properties;
use super::state::{State, Wrong};
use super::world::World;
use super::writing::Begin;
use crate::stages::moves::{Destination, Move};
use crate::stages::stage::Side;

/// One step of somebody; a number says of which instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    BeginWrite(usize, Begin),
    GoOnWriting(usize, Fails),
    CancelWrite(usize),
    BeginRead(usize, usize, Scan),
    GoOnReading(usize),
    FailLazily(usize, Fails),
    Poll(usize),
    Heartbeat(usize),
    Lapse(usize),
    Change(Move, Destination),
    FailOver,
    GoOnBackfilling,
    BeginReversing,
    FailToBackfill(GivesUp),
    GoOnVerifying,
    Sample(usize),
    Damage(usize),
    BeginRepair(usize, Side),
    GoOnRepairing,
    CancelRepair,
}

type Fails = bool;
type GivesUp = bool;
type Scan = bool;

impl World {
    fn propose_calls(&self, state: &State, number: usize, actions: &mut Vec<Action>) {
        let keys = 0..self.keys;
        let instance = &state.instances[number];
        match instance.write {
            _ if number >= self.writers => {}
            Some(_) => {
                let fails = [false, true].map(|fails| Action::GoOnWriting(number, fails));
                actions.extend(fails);
                actions.push(Action::CancelWrite(number));
            }
            None => actions.extend(keys.clone().flat_map(|key| {
                let kinds = [(false, false), (false, true), (true, false), (true, true)];
                kinds
                    .map(|(delete, fails)| Action::BeginWrite(number, Begin { key, delete, fails }))
            })),
        }
        match instance.read {
            _ if number >= self.readers => {}
            Some(_) => {
                actions.push(Action::GoOnReading(number));
                actions.extend([false, true].map(|fails| Action::FailLazily(number, fails)));
            }
            None => {
                actions.extend(keys.clone().map(|key| Action::BeginRead(number, key, false)));
                if self.scans {
                    actions.extend(keys.map(|key| Action::BeginRead(number, key, true)));
                }
            }
        }
        actions.extend([Action::Poll(number), Action::Heartbeat(number), Action::Lapse(number)]);
    }

    fn propose_copies(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend([Action::GoOnBackfilling, Action::GoOnVerifying]);
        if self.budget.damages > 0 {
            let keys = (0..self.keys).flat_map(|key| [Action::Sample(key), Action::Damage(key)]);
            actions.extend(keys);
        }
        actions.extend(self.reverse.then_some(Action::BeginReversing));
        actions.extend([false, true].map(Action::FailToBackfill));
        match state.repair {
            Some(_) => actions.extend([Action::GoOnRepairing, Action::CancelRepair]),
            None => {
                actions.extend((0..self.keys).flat_map(|key| {
                    [Side::Old, Side::New].map(|side| Action::BeginRepair(key, side))
                }))
            }
        }
    }

    /// `None`: it cannot be taken now, or changes nothing.
    fn step(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::BeginWrite(number, begin) => self.begin_write(state, number, begin),
            Action::GoOnWriting(number, fails) => self.go_on_writing(state, number, fails),
            Action::CancelWrite(number) => self.cancel_write(state, number),
            Action::BeginRead(number, key, scan) => self.begin_read(state, number, key, scan),
            Action::GoOnReading(number) => self.go_on_reading(state, number),
            Action::FailLazily(number, fails) => self.fail_lazily(state, number, fails),
            Action::Poll(number) => self.poll(state, number),
            Action::Heartbeat(number) => self.heartbeat(state, number),
            Action::Lapse(number) => self.lapse(state, number),
            Action::Change(_, to) => self.change(state, to),
            Action::FailOver => self.fail_over(state),
            Action::GoOnBackfilling => self.go_on_backfilling(state),
            Action::BeginReversing => self.begin_reversing(state),
            Action::FailToBackfill(fails) => self.fail_to_backfill(state, fails),
            Action::GoOnVerifying => self.go_on_verifying(state),
            Action::Sample(key) => self.sample(state, key),
            Action::Damage(key) => self.damage(state, key),
            Action::BeginRepair(key, to) => self.begin_repair(state, key, to),
            Action::GoOnRepairing => self.go_on_repairing(state),
            Action::CancelRepair => self.cancel_repair(state),
        }
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.start()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.wrong != Wrong::default() {
            return; // it cannot get worse
        }
        for number in 0..self.instances {
            self.propose_calls(state, number, actions);
        }
        self.propose_copies(state, actions);
        actions.extend(state.standby.is_some().then_some(Action::FailOver));
        if state.left.moves > 0 && self.is_unfenced(state) {
            let decided = |requested: &Move| {
                Some(Action::Change(*requested, self.decide(state, *requested)?))
            };
            actions.extend(self.moves.iter().filter_map(decided));
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        self.step(&mut next, action)?;
        for row in next.rows.iter_mut().filter(|row| row.sides[0] == row.sides[1]) {
            (row.damaged, row.found) = (false, false);
        }
        self.replicate(state, &mut next);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all(self.goals)
    }
}
