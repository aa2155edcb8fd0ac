//! Converging mode: two writers of one key, a copy, instances that die or are taken for dead, and moves of the primary,
//! in every order. The stores are two values, and nothing spans them.

use stateright::{Checker as _, Model, Property};

use crate::stages::bucket::Bucket;
use crate::stages::converging::{Around, Ending, changes_writes, leaves_unsettled, settles};
use crate::stages::position::Position;
use crate::stages::route::{Operation, Route, route};
use crate::stages::stage::{Side, Stage};

const WRITERS: usize = 2;

/// A guard that is taken out, or a promise of the world that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    Nothing,
    /// A write that ends does not look for others.
    Overlap,
    /// A write that ends does not look for a copy.
    Copies,
    /// A copy that ends does not look for writes in flight.
    WritesInFlight,
    /// A copy that ends does not look for another reason to copy.
    Version,
    /// The mark comes after the primary.
    MarkFirst,
    /// A move does not wait for writes in flight and keys to be copied.
    Drain,
    /// An instance that was taken for dead writes its mirror.
    Lease,
    /// The same, and its write does not look for its own mark when it ends.
    LeaseAndOwnMark,
    /// A request may arrive after everybody has given up on it.
    TimelyArrival,
    /// A reader may believe in the position before.
    FreshReader,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Idle,
    Marked,
    /// On its way to the primary.
    PrimarySent,
    PrimaryDone,
    /// On its way to the mirror.
    MirrorSent,
    /// What is left is its mark.
    Ending(Ending),
    Over,
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Writer {
    phase: Phase,
    route: Option<(Side, Side)>,
    marked: bool,
    /// Others take its instance for dead.
    lapsed: bool,
    acknowledged: bool,
    /// Writes that were over, or acknowledged, before this one began.
    after: [bool; WRITERS],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Copy {
    Idle,
    Claimed { version: u8, to: Side },
    Read { version: u8, to: Side, value: u8 },
    Wrote { version: u8 },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    live: bool,
    moves: u8,
    stores: [u8; 2],
    writers: [Writer; WRITERS],
    /// A reason to copy, by its version.
    unsettled: Option<u8>,
    versions: u8,
    copy: Copy,
    /// A read that began after an acknowledgement answered what was there before it.
    stale_read: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrives {
    Answered,
    DoneAndFailed,
    NotDone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Mark(usize),
    SendPrimary(usize),
    PrimaryArrives(usize, Arrives),
    SendMirror(usize),
    MirrorArrives(usize, Arrives),
    End(usize),
    Die(usize),
    Lapse(usize),
    Adopt(usize),
    Claim,
    CopyReads,
    CopyWrites,
    CopyFails,
    Settle,
    Move,
    ReadAsBefore,
}

struct World(Without);

fn position(live: bool) -> Position {
    Position::start().with_stage(if live { Stage::Live } else { Stage::Shadow })
}

impl State {
    fn route(&self) -> Route {
        route(position(self.live), Operation::Write, Bucket::FIRST)
    }

    fn unsettle(&mut self) {
        self.versions += 1;
        self.unsettled = Some(self.versions);
    }

    fn marks(&self) -> u64 {
        self.writers.iter().filter(|writer| writer.marked).count() as u64
    }

    fn is_quiet(&self) -> bool {
        let over =
            |writer: &Writer| matches!(writer.phase, Phase::Idle | Phase::Over | Phase::Dead);
        self.writers.iter().all(over)
            && self.marks() == 0
            && self.unsettled.is_none()
            && self.copy == Copy::Idle
    }

    /// Whether an acknowledged write is neither there nor overwritten by one that may have come after it.
    fn has_lost(&self) -> bool {
        let there = self.stores[self.route().primary as usize];
        self.writers.iter().enumerate().any(|(number, writer)| {
            let is_it = usize::from(there) == number + 1;
            let is_before = there == 0 || writer.after[usize::from(there) - 1];
            writer.acknowledged && !is_it && is_before
        })
    }
}

fn value(number: usize) -> u8 {
    number as u8 + 1
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let writer = Writer {
            phase: Phase::Idle,
            route: None,
            marked: false,
            lapsed: false,
            acknowledged: false,
            after: [false; WRITERS],
        };
        vec![State {
            live: false,
            moves: 0,
            stores: [0, 0],
            writers: [writer; WRITERS],
            unsettled: None,
            versions: 0,
            copy: Copy::Idle,
            stale_read: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let Self(without) = self;
        for (number, writer) in state.writers.iter().enumerate() {
            match writer.phase {
                Phase::Idle => actions.push(Action::Mark(number)),
                Phase::Marked => actions.push(Action::SendPrimary(number)),
                Phase::PrimarySent => actions.extend(
                    [Arrives::Answered, Arrives::DoneAndFailed, Arrives::NotDone]
                        .map(|arrives| Action::PrimaryArrives(number, arrives)),
                ),
                Phase::PrimaryDone => actions.push(Action::SendMirror(number)),
                Phase::MirrorSent => actions.extend(
                    [Arrives::Answered, Arrives::DoneAndFailed, Arrives::NotDone]
                        .map(|arrives| Action::MirrorArrives(number, arrives)),
                ),
                Phase::Ending(_) => actions.push(Action::End(number)),
                Phase::Over | Phase::Dead => {}
            }
            let in_flight = matches!(writer.phase, Phase::PrimarySent | Phase::MirrorSent);
            if !matches!(writer.phase, Phase::Idle | Phase::Over | Phase::Dead) {
                // What was sent by then has arrived, or never does.
                actions.extend((!in_flight).then_some(Action::Die(number)));
                actions.extend((!writer.lapsed).then_some(Action::Lapse(number)));
            }
            let gone = writer.lapsed || writer.phase == Phase::Dead;
            // Marks are taken over so late that nothing is on its way any more.
            let waits = in_flight && *without != Without::TimelyArrival;
            actions.extend((gone && writer.marked && !waits).then_some(Action::Adopt(number)));
        }
        match state.copy {
            Copy::Idle => actions.extend(state.unsettled.map(|_| Action::Claim)),
            Copy::Claimed { .. } => actions.extend([Action::CopyReads, Action::CopyFails]),
            Copy::Read { .. } => actions.extend([Action::CopyWrites, Action::CopyFails]),
            Copy::Wrote { .. } => actions.push(Action::Settle),
        }
        let drained = state.marks() == 0 && state.unsettled.is_none();
        let changes = changes_writes(position(state.live), position(!state.live));
        let may = !changes || drained || *without == Without::Drain;
        actions.extend((state.moves < 2 && may).then_some(Action::Move));
        let acknowledged = state.writers.iter().any(|writer| writer.acknowledged);
        let reads = *without == Without::FreshReader && state.moves > 0 && acknowledged;
        actions.extend(reads.then_some(Action::ReadAsBefore));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let Self(without) = *self;
        let mut state = last.clone();
        match action {
            Action::Mark(number) => {
                let route = state.route();
                let after = state.writers.map(|other| {
                    other.acknowledged || matches!(other.phase, Phase::Over | Phase::Dead)
                });
                let writer = &mut state.writers[number];
                writer.route = route.mirror.map(|mirror| (route.primary, mirror));
                writer.marked = without != Without::MarkFirst;
                (writer.phase, writer.after) = (Phase::Marked, after);
            }
            Action::SendPrimary(number) => {
                let writer = &mut state.writers[number];
                writer.phase = match writer.lapsed {
                    true => Phase::Ending(Ending::NotWritten),
                    false => Phase::PrimarySent,
                };
            }
            Action::PrimaryArrives(number, arrives) => {
                let (primary, _) = state.writers[number].route?;
                if arrives != Arrives::NotDone {
                    state.stores[primary as usize] = value(number);
                }
                let writer = &mut state.writers[number];
                writer.acknowledged = arrives == Arrives::Answered;
                writer.phase = match arrives {
                    Arrives::Answered => Phase::PrimaryDone,
                    _ => Phase::Ending(Ending::Unknown),
                };
            }
            Action::SendMirror(number) => {
                let checks = !matches!(without, Without::Lease | Without::LeaseAndOwnMark);
                let writer = &mut state.writers[number];
                writer.marked |= without == Without::MarkFirst;
                writer.phase = match writer.lapsed && checks {
                    true => Phase::Ending(Ending::Unknown),
                    false => Phase::MirrorSent,
                };
            }
            Action::MirrorArrives(number, arrives) => {
                let (_, mirror) = state.writers[number].route?;
                if arrives != Arrives::NotDone {
                    state.stores[mirror as usize] = value(number);
                }
                state.writers[number].phase = Phase::Ending(match arrives {
                    Arrives::Answered => Ending::Both,
                    _ => Ending::Unknown,
                });
            }
            Action::End(number) => {
                let Phase::Ending(ending) = state.writers[number].phase else { return None };
                let others = (0..WRITERS).filter(|other| *other != number);
                let around = Around {
                    own_mark: state.writers[number].marked || without == Without::LeaseAndOwnMark,
                    other_writes: others.into_iter().any(|other| state.writers[other].marked)
                        && without != Without::Overlap,
                    unsettled: state.unsettled.is_some() && without != Without::Copies,
                };
                if leaves_unsettled(ending, around) {
                    state.unsettle();
                }
                state.writers[number].marked = false;
                state.writers[number].phase = Phase::Over;
            }
            Action::Die(number) => state.writers[number].phase = Phase::Dead,
            Action::Lapse(number) => state.writers[number].lapsed = true,
            Action::Adopt(number) => {
                state.writers[number].marked = false;
                state.unsettle();
            }
            Action::Claim => {
                let to = state.route().mirror?;
                state.copy = Copy::Claimed { version: state.unsettled?, to };
            }
            Action::CopyReads => {
                let Copy::Claimed { version, to } = state.copy else { return None };
                state.copy = Copy::Read { version, to, value: state.stores[to.other() as usize] };
            }
            Action::CopyWrites => {
                let Copy::Read { version, to, value } = state.copy else { return None };
                state.stores[to as usize] = value;
                state.copy = Copy::Wrote { version };
            }
            Action::CopyFails => state.copy = Copy::Idle,
            Action::Settle => {
                let Copy::Wrote { version } = state.copy else { return None };
                let same = state.unsettled == Some(version) || without == Without::Version;
                let writes = if without == Without::WritesInFlight { 0 } else { state.marks() };
                if settles(same, writes) {
                    state.unsettled = None;
                }
                state.copy = Copy::Idle;
            }
            Action::Move => (state.live, state.moves) = (!state.live, state.moves + 1),
            Action::ReadAsBefore => {
                let seen = state.stores[position(!state.live).stage.reads() as usize];
                let acknowledged = |number: usize| {
                    let writer = state.writers[number];
                    let is_before = seen == 0 || writer.after[usize::from(seen) - 1];
                    writer.acknowledged && usize::from(seen) != number + 1 && is_before
                };
                state.stale_read = (0..WRITERS).any(acknowledged);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(CONVERGES, |_, state: &State| {
                !state.is_quiet() || state.stores[0] == state.stores[1]
            }),
            Property::always(KEEPS, |_, state: &State| !state.is_quiet() || !state.has_lost()),
            Property::always(FRESH, |_, state: &State| !state.stale_read),
            Property::sometimes(
                "both writes are kept in turn, and the primary moved",
                |_, state: &State| {
                    state.is_quiet()
                        && state.moves > 0
                        && state.writers.iter().all(|w| w.acknowledged)
                },
            ),
        ]
    }
}

const CONVERGES: &str = "both stores agree when all is quiet";
const KEEPS: &str = "an acknowledged write is there";
const FRESH: &str = "a read sees what was acknowledged before it";

/// The steps to a state in which a property does not hold.
fn counterexample(without: Without, property: &'static str) -> Option<Vec<Action>> {
    let checker = World(without).checker().threads(2).spawn_bfs().join();
    checker.discovery(property).map(|path| path.into_actions())
}

#[test]
fn it_converges_and_keeps_what_was_acknowledged() {
    let checker = World(Without::Nothing).checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    assert!(checker.unique_state_count() > 10_000, "{}", checker.unique_state_count());
}

#[test]
fn each_guard_is_needed() {
    for (without, property) in [
        (Without::Overlap, CONVERGES),
        (Without::Copies, CONVERGES),
        (Without::WritesInFlight, CONVERGES),
        (Without::Version, CONVERGES),
        (Without::MarkFirst, CONVERGES),
        (Without::Drain, KEEPS),
        (Without::Lease, KEEPS),
        (Without::LeaseAndOwnMark, CONVERGES),
    ] {
        assert!(counterexample(without, property).is_some(), "without {without:?}");
    }
}

/// What the guide says is not promised, with these very steps.
#[test]
fn what_is_not_promised_has_counterexamples() {
    use Action::*;
    use Arrives::Answered;
    assert!(counterexample(Without::FreshReader, FRESH).is_some());
    let world = World(Without::FreshReader);
    let mut state = world.init_states().remove(0);
    for step in [Move, Mark(0), SendPrimary(0), PrimaryArrives(0, Answered), ReadAsBefore] {
        let mut possible = Vec::new();
        world.actions(&state, &mut possible);
        assert!(possible.contains(&step), "{step:?}");
        state = world.next_state(&state, step).unwrap();
    }
    assert!(state.stale_read);
    assert!(counterexample(Without::TimelyArrival, KEEPS).is_some());
    // It notices that its mark is gone, unless it dies before that: then a verification finds the difference.
    assert!(counterexample(Without::TimelyArrival, CONVERGES).is_some());
}
