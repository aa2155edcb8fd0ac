//! Exact mode: one key, writers that put and delete, relays that are late, hand-overs there and back by whoever looked at
//! the rows before, readers of both databases. Nothing spans the two databases.

mod checks;

use stateright::{Model, Property};

use crate::stages::exact::{
    Authority, Found, Seen, Step, copies, is_late, may_read, may_write, next_step, takes,
};
use crate::stages::stage::Side;

const RELAYS: usize = 2;
const MOVERS: usize = 2;
const COPIERS: usize = 2;
/// Steps of hand-overs at most: there and back.
const CHANGES: u8 = 6;

/// A guard that is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    Nothing,
    /// The mirror takes whatever comes.
    Version,
    /// A delete leaves no version on the mirror.
    Tombstone,
    /// A delete forgets the counter of the primary.
    CounterOutlivesDelete,
    /// The authority is given up with records in the outbox.
    Drain,
    /// Readers do not look at the row.
    ReadersAuthority,
    /// Readers look at the row after they have read, in another snapshot.
    ReadersSnapshot,
    /// A closing does not wait for writes in flight.
    FenceOfClosing,
    /// The start of recording does not.
    FenceOfRecording,
    /// The new primary opens while the old one is closed and still the side of record.
    GivingUp,
    /// A step does not compare the row with the one that was seen.
    CompareAndSet,
    /// Writers do not look at the row.
    WritersAuthority,
    /// A hand-over does not wait until all was copied.
    Copied,
    /// A page of the copy is written over whatever the mirror has.
    CopiedVersion,
    /// A page of the copy that was read before the recording was stopped and begun again is written after one that was read
    /// then.
    CopiedEpoch,
    /// A copy passes over keys that neither side has a record of.
    CopiedTombstone,
}

type Value = Option<u8>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Database {
    row: Authority,
    value: Value,
    /// The version of the key: its counter on the primary, what was applied last on the mirror. It outlives deletes.
    version: Option<u64>,
    outbox: Vec<(u64, Value)>,
    /// The epoch at which the latest page of a copy was read that was written here.
    copied_epoch: u64,
}

/// A page of the copy on its way: what the primary had in one snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Page {
    seen: Authority,
    value: Value,
    version: u64,
    written: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Relay {
    Idle,
    Read(Side, u64, Value),
    Applied(Side, u64),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    databases: [Database; 2],
    /// A write in flight: where, and whether it leaves a record.
    writer: Option<(Side, bool)>,
    writes: u8,
    /// What was committed last, whoever did it.
    truth: Value,
    relays: [Relay; RELAYS],
    /// Two instances copy.
    pages: [Option<Page>; COPIERS],
    /// The rows as they were seen.
    movers: [Option<[Authority; 2]>; MOVERS],
    changes: u8,
    /// Whether the recording was stopped; once is enough.
    stopped: bool,
    /// A read under way, where readers look in two steps: where, what it saw, what was true since it began (a set of bits).
    reader: Option<(Side, Value, u8)>,
    stale_read: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    BeginWrite(Side),
    CommitWrite,
    AbortWrite,
    Record,
    Stop,
    CopyReads(usize),
    CopyWrites(usize),
    CopyEnds(usize),
    RelayReads(usize, Side),
    RelayApplies(usize),
    RelayRemoves(usize),
    RelayDies(usize),
    Look(usize),
    Act(usize, Side),
    Read(Side),
    ReadAnswers,
}

/// A small world: how many writes there are at most, of which the second deletes, relays and movers.
#[derive(Clone, Copy)]
struct World {
    without: Without,
    writes: u8,
    relays: usize,
    movers: usize,
    /// Whether the recording may be stopped, and begun again.
    stops: bool,
    copiers: usize,
}

/// Late relays, and writes enough for a key that comes again after a delete.
const LATE: World =
    World { without: Without::Nothing, writes: 3, relays: 2, movers: 1, stops: false, copiers: 1 };
/// Two who move it at once, and not in the same direction.
const MOVED: World =
    World { without: Without::Nothing, writes: 2, relays: 1, movers: 2, stops: true, copiers: 1 };
/// Two who copy, one of them late, while the recording is stopped and begun again.
const COPIED: World =
    World { without: Without::Nothing, writes: 3, relays: 1, movers: 1, stops: true, copiers: 2 };

fn bit(value: Value) -> u8 {
    1 << value.unwrap_or(7)
}

impl State {
    fn at(&self, side: Side) -> &Database {
        &self.databases[side as usize]
    }

    fn at_mut(&mut self, side: Side) -> &mut Database {
        &mut self.databases[side as usize]
    }

    fn rows(&self) -> [Authority; 2] {
        [self.databases[0].row, self.databases[1].row]
    }

    fn is_quiet(&self) -> bool {
        let idle = |relay: &Relay| matches!(relay, Relay::Idle);
        self.writer.is_none()
            && self.relays.iter().all(idle)
            && self.databases.iter().all(|database| database.outbox.is_empty())
    }
}

impl Database {
    fn write(&mut self, value: Value, records: bool, without: Without) {
        self.value = value;
        if records {
            self.record(value);
        }
        if value.is_none() && without == Without::CounterOutlivesDelete {
            self.version = None;
        }
    }

    fn record(&mut self, value: Value) {
        let version = self.version.unwrap_or_default() + 1;
        self.version = Some(version);
        self.outbox.push((version, value));
    }

    fn apply(&mut self, version: u64, value: Value, without: Without) {
        if takes(self.version.unwrap_or_default(), version) || without == Without::Version {
            self.value = value;
            self.version = match (value, without) {
                (None, Without::Tombstone) => None,
                _ => Some(version),
            };
        }
    }
}

impl Database {
    fn write_page(&mut self, page: Page, without: Without) {
        let applied = self.version.unwrap_or_default();
        if copies(applied, page.version) || without == Without::CopiedVersion {
            self.value = page.value;
            self.version = (page.version > 0).then_some(page.version);
        }
    }
}

/// What the third write puts is another value than the first's.
fn value(number: u8) -> Value {
    (number != 1).then_some(number)
}

impl World {
    fn act(&self, state: &mut State, mover: usize, to: Side) -> Option<()> {
        let without = self.without;
        let seen = state.movers[mover].take()?;
        let [old, new] = seen.map(|row| match without {
            Without::Copied => Authority { copied: true, ..row },
            _ => row,
        });
        // Whether the outbox is empty is judged in the transaction.
        let mut step = next_step(old, new, to, true);
        if without == Without::GivingUp && matches!(step, Step::GiveUp(_)) {
            step = Step::Open(to);
        }
        let (Step::Close(side) | Step::GiveUp(side) | Step::Open(side) | Step::Reopen(side)) = step
        else {
            return None;
        };
        let is_held = state.writer.is_some_and(|(held, _)| held == side);
        if is_held && without != Without::FenceOfClosing {
            return None;
        }
        if state.at(side).row != seen[side as usize] && without != Without::CompareAndSet {
            return None;
        }
        let empty = state.at(side).outbox.is_empty() || without == Without::Drain;
        if matches!(step, Step::GiveUp(_)) && !empty {
            return None;
        }
        let other = seen[side.other() as usize];
        let token = state.changes.into();
        state.at_mut(side).row = seen[side as usize].after(step, other, token);
        state.changes += 1;
        Some(())
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let database = |side| Database {
            row: Authority::first(side, 0),
            value: (side == Side::Old).then_some(3),
            version: None,
            outbox: Vec::new(),
            copied_epoch: 0,
        };
        vec![State {
            databases: [Side::Old, Side::New].map(database),
            writer: None,
            writes: 0,
            truth: Some(3),
            relays: [Relay::Idle; RELAYS],
            pages: [None; COPIERS],
            movers: [None; MOVERS],
            changes: 0,
            stopped: false,
            reader: None,
            stale_read: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let without = self.without;
        for side in [Side::Old, Side::New] {
            match state.writer {
                None if state.writes < self.writes => actions.push(Action::BeginWrite(side)),
                _ => {}
            }
            actions.push(Action::Read(side));
            for (number, relay) in state.relays.iter().take(self.relays).enumerate() {
                if *relay == Relay::Idle && !state.at(side).outbox.is_empty() {
                    actions.push(Action::RelayReads(number, side));
                }
            }
        }
        actions.extend(
            state
                .writer
                .is_some()
                .then_some([Action::CommitWrite, Action::AbortWrite])
                .into_iter()
                .flatten(),
        );
        for (number, relay) in state.relays.iter().enumerate() {
            match relay {
                Relay::Idle => {}
                Relay::Read(..) => {
                    actions.extend([Action::RelayApplies(number), Action::RelayDies(number)]);
                }
                Relay::Applied(..) => {
                    actions.extend([Action::RelayRemoves(number), Action::RelayDies(number)]);
                }
            }
        }
        actions.push(Action::Record);
        for (number, page) in state.pages.iter().take(self.copiers).enumerate() {
            actions.push(match page {
                None => Action::CopyReads(number),
                Some(page) if page.written => Action::CopyEnds(number),
                Some(_) => Action::CopyWrites(number),
            });
        }
        actions.extend((self.stops && !state.stopped).then_some(Action::Stop));
        if state.changes < CHANGES {
            for (number, mover) in state.movers.iter().take(self.movers).enumerate() {
                match mover {
                    None => actions.push(Action::Look(number)),
                    Some(_) => {
                        actions.extend([Side::Old, Side::New].map(|side| Action::Act(number, side)))
                    }
                }
            }
        }
        actions.extend(
            (without == Without::ReadersSnapshot && state.reader.is_some())
                .then_some(Action::ReadAnswers),
        );
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let without = self.without;
        if last.stale_read {
            return None;
        }
        let mut state = last.clone();
        match action {
            Action::BeginWrite(side) => {
                let row = state.at(side).row;
                if may_write(row, Seen::default()) != Found::Here
                    && without != Without::WritersAuthority
                {
                    return None;
                }
                state.writer = Some((side, row.recording));
            }
            Action::CommitWrite => {
                let (side, records) = state.writer.take()?;
                let value = value(state.writes);
                state.writes += 1;
                state.at_mut(side).write(value, records, without);
                state.truth = value;
                if let Some((_, _, since)) = &mut state.reader {
                    *since |= bit(value);
                }
            }
            Action::AbortWrite => state.writer = None,
            Action::Record => {
                let row = state.at(Side::Old).row;
                if !row.primary || !row.open || row.recording {
                    return None;
                }
                if state.writer.is_some() && without != Without::FenceOfRecording {
                    return None;
                }
                state.at_mut(Side::Old).row = row.with_recording(true, 1);
            }
            Action::Stop => {
                let row = state.at(Side::Old).row;
                if !row.primary || !row.open || !row.recording || state.writer.is_some() {
                    return None;
                }
                let database = state.at_mut(Side::Old);
                database.row = row.with_recording(false, 1);
                database.outbox.clear();
                state.stopped = true;
            }
            Action::CopyReads(number) => {
                let database = state.at(Side::Old);
                let seen = database.row;
                if !seen.primary || !seen.open || !seen.recording || seen.copied {
                    return None;
                }
                let (value, version) = (database.value, database.version.unwrap_or_default());
                state.pages[number] = Some(Page { seen, value, version, written: false });
            }
            Action::CopyWrites(number) => {
                let page = state.pages[number].as_mut()?;
                page.written = true;
                let page = *page;
                let mirror = state.at_mut(Side::New);
                let late = is_late(mirror.copied_epoch, page.seen.epoch);
                if mirror.row.primary || (late && without != Without::CopiedEpoch) {
                    state.pages[number] = None;
                } else {
                    mirror.copied_epoch = page.seen.epoch;
                    let listed = page.value.is_some() || mirror.value.is_some();
                    if listed || without != Without::CopiedTombstone {
                        mirror.write_page(page, without);
                    }
                }
            }
            Action::CopyEnds(number) => {
                let page = state.pages[number].take()?;
                if state.at(Side::Old).row == page.seen {
                    let copied =
                        Authority { copied: true, epoch: page.seen.epoch + 1, ..page.seen };
                    state.at_mut(Side::Old).row = copied;
                }
            }
            Action::RelayReads(number, side) => {
                let (version, value) = *state.at(side).outbox.first()?;
                state.relays[number] = Relay::Read(side, version, value);
            }
            Action::RelayApplies(number) => {
                let Relay::Read(side, version, value) = state.relays[number] else { return None };
                state.at_mut(side.other()).apply(version, value, without);
                state.relays[number] = Relay::Applied(side, version);
            }
            Action::RelayRemoves(number) => {
                let Relay::Applied(side, version) = state.relays[number] else { return None };
                state.at_mut(side).outbox.retain(|(one, _)| *one != version);
                state.relays[number] = Relay::Idle;
            }
            Action::RelayDies(number) => state.relays[number] = Relay::Idle,
            Action::Look(number) => state.movers[number] = Some(state.rows()),
            Action::Act(number, to) => self.act(&mut state, number, to)?,
            Action::Read(side) if without == Without::ReadersSnapshot => {
                state.reader = Some((side, state.at(side).value, bit(state.truth)));
            }
            Action::Read(side) => {
                let found = may_read(state.at(side).row, Seen::default());
                if found != Found::Here && without != Without::ReadersAuthority {
                    return None;
                }
                state.stale_read = state.at(side).value != state.truth;
            }
            Action::ReadAnswers => {
                let (side, value, since) = state.reader.take()?;
                if may_read(state.at(side).row, Seen::default()) != Found::Here {
                    return None;
                }
                state.stale_read = since & bit(value) == 0;
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(FRESH, |_, state: &State| !state.stale_read),
            Property::always(ALONE, |_, state: &State| {
                !state.databases.iter().all(|database| database.row.primary)
            }),
            Property::always(KEEPS, |_, state: &State| {
                let kept =
                    |database: &Database| !database.row.primary || database.value == state.truth;
                state.databases.iter().all(kept)
            }),
            Property::always(AGREES, |_, state: &State| {
                let copied = |database: &Database| database.row.primary && database.row.copied;
                let copied = state.databases.iter().any(copied);
                !copied || !state.is_quiet() || state.databases[0].value == state.databases[1].value
            }),
            Property::sometimes("there and back, with writes on both sides", |_, state: &State| {
                let [old, new] = state.rows();
                old.primary && old.epoch > new.epoch && new.epoch > 3 && state.writes > 1
            }),
        ]
    }
}

const FRESH: &str = "a read sees what was committed last";
const ALONE: &str = "one database at a time is the side of record";
const KEEPS: &str = "the side of record has what was committed last";
const AGREES: &str = "both sides agree when all is quiet";
