//! What there is: control tables, rows, instances and what they have in flight.

use super::budget::Budget;
use crate::stages::bucket::Bucket;
use crate::stages::lineage::{Mark as Place, Token};
use crate::stages::position::{Epoch, Generation, Percent, Position};
use crate::stages::stage::Side;
use crate::stages::stale::StaleKind;

/// A value of a row: which write it is from. 0: the row is not there.
pub(super) type Version = u8;

pub(super) const ABSENT: Version = 0;
pub(super) const KEYS: usize = 2;
pub(super) const INSTANCES: usize = 2;
pub(super) const GENERATIONS: usize = 4;
pub(super) const EPOCHS: usize = 8;

/// The bucket of a key: the first is reached by any ramp, the second by none but the full one.
pub(super) fn bucket(key: usize) -> Bucket {
    Bucket::new([0, 9_999][key]).unwrap()
}

/// A ramp that has reached the first key alone.
pub(super) fn half() -> Percent {
    Percent::new(50).unwrap()
}

/// Where a pair has what belongs to this side.
pub(super) const fn index(side: Side) -> usize {
    match side {
        Side::Old => 0,
        Side::New => 1,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) control: Control,
    pub(super) rows: [Row; KEYS],
    pub(super) instances: [Instance; INSTANCES],
    pub(super) repair: Option<Copying>,
    pub(super) worker: Worker,
    pub(super) verification: Option<Verification>,
    pub(super) left: Budget,
    pub(super) wrong: Wrong,
    /// What a standby has, that lags by the last change of the position.
    pub(super) standby: Option<Standby>,
    /// How often it has taken over.
    pub(super) failovers: u8,
}

/// The control tables before the last change of the position, and what each instance had acknowledged there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Standby {
    pub(super) control: Control,
    pub(super) acknowledged: [(Place, Epoch); INSTANCES],
}

/// What a read must not have answered, and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Wrong {
    pub(super) superseded: bool,
    pub(super) backwards: bool,
    pub(super) given_up: bool,
}

/// One key, as committed, and what is known of its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Row {
    pub(super) sides: [Version; 2],
    pub(super) dirty: [bool; 2],
    pub(super) has_dead_letter: bool,
    /// Somebody changed new behind everyone's back; and a verification found that while old answered.
    pub(super) damaged: bool,
    pub(super) found: bool,
    /// The newest version committed, acknowledged, returned by a read.
    pub(super) latest: Version,
    pub(super) acked: Version,
    pub(super) seen: Version,
    /// Bit by bit, the versions that are a deletion.
    pub(super) deletions: u8,
}

impl Row {
    pub(super) fn side(&self, side: Side) -> Version {
        self.sides[index(side)]
    }

    /// The oldest version, not older than `floor`, that a read may have meant by this answer.
    pub(super) fn meaning(&self, answer: Version, floor: Version) -> Option<Version> {
        match answer {
            ABSENT => (floor..=self.latest).find(|version| self.deletions & (1 << version) != 0),
            version => (version >= floor).then_some(version),
        }
    }
}

/// The control tables, without the instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Control {
    pub(super) position: Position,
    /// Of each epoch, whoever made it: the number of failovers before. The library draws them.
    pub(super) tokens: [Token; EPOCHS],
    pub(super) generation: Generation,
    pub(super) stage_epoch: Epoch,
    verified: Option<Generation>,
    /// What withdraws the proof of both sides.
    pub(super) mark: Option<Mark>,
    /// The backfill of each generation.
    pub(super) ledgers: [Ledger; GENERATIONS],
    /// Of what new alone got.
    pub(super) old_generation: Generation,
    old_verified: Option<Generation>,
    /// The reverse copy of each generation of old, part by part.
    pub(super) reverse: [[Ledger; 3]; GENERATIONS],
}

/// A stale mark, the worst of those that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mark {
    pub(super) kind: StaleKind,
    /// The verification under way found it at its beginning.
    pub(super) stamped: bool,
}

impl Control {
    pub(super) fn at(&self) -> Place {
        let epoch = self.position.epoch;
        Place { epoch, token: self.tokens[epoch.0 as usize] }
    }

    pub(super) fn parent(&self) -> Token {
        self.tokens[self.position.epoch.0.saturating_sub(1) as usize]
    }

    /// Whether it has passed this position, or is there.
    pub(super) fn knows(&self, at: Place) -> bool {
        at.epoch <= self.position.epoch && self.tokens[at.epoch.0 as usize] == at.token
    }

    pub(super) fn new(position: Position, generations: [Generation; 2], ready: bool) -> Self {
        Self {
            position,
            tokens: [Token::default(); EPOCHS],
            generation: generations[1],
            stage_epoch: position.epoch,
            verified: ready.then_some(generations[1]),
            mark: None,
            ledgers: [Ledger::default(); GENERATIONS],
            old_generation: generations[0],
            old_verified: None,
            reverse: [[Ledger::default(); 3]; GENERATIONS],
        }
    }

    pub(super) fn verified(&self) -> Option<Generation> {
        self.verified.filter(|_| self.mark.is_none())
    }

    pub(super) fn old_verified(&self) -> Option<Generation> {
        self.old_verified.filter(|_| self.mark.is_none())
    }

    /// A clean end of a verification of these generations of old and new.
    pub(super) fn prove(&mut self, generations: [Generation; 2]) {
        self.verified = Some(generations[1]);
        self.old_verified = Some(generations[0]);
        self.mark = None;
    }

    pub(super) fn ledger(&mut self, generation: Generation) -> &mut Ledger {
        &mut self.ledgers[generation.0 as usize - 1]
    }

    pub(super) fn is_backfilled(&self) -> bool {
        self.ledgers[self.generation.0 as usize - 1].complete
    }

    pub(super) fn reverse(&mut self, generation: Generation, part: Part) -> &mut Ledger {
        &mut self.reverse[generation.0 as usize - 1][part as usize]
    }

    pub(super) fn is_copied_back(&self) -> bool {
        self.reverse[self.old_generation.0 as usize - 1][Part::Rest as usize].complete
    }

    /// `ledger::is_old_whole`.
    pub(super) fn is_old_whole(&self) -> bool {
        self.old_generation == Generation::FIRST || self.is_copied_back()
    }
}

/// Where a backfill has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Ledger {
    /// Keys from 0 up to here are in its range; fixed at its start.
    pub(super) end: Option<u8>,
    pub(super) cursor: u8,
    pub(super) complete: bool,
}

/// A part of the reverse copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// Keys that old alone has.
    Orphans,
    /// The keys of new.
    Back,
    /// Keys that old alone has by then; its end proves the whole.
    Rest,
}

/// One process of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Instance {
    pub(super) cached: Position,
    /// Of the position that is cached.
    pub(super) token: Token,
    /// It knows that the backfill is complete.
    pub(super) copied: bool,
    /// It holds its lease, by its own clock.
    pub(super) valid: bool,
    /// Since the lease was lost a heartbeat has arrived.
    pub(super) beaten: bool,
    /// The control tables count it as alive.
    pub(super) listed: bool,
    /// It has sent a heartbeat to the server that there is now.
    pub(super) here: bool,
    /// What it acknowledged last.
    pub(super) seen: Place,
    pub(super) drained: Epoch,
    pub(super) read: Option<Read>,
    pub(super) write: Option<Write>,
}

impl Instance {
    pub(super) fn at(&self) -> Place {
        Place { epoch: self.cached.epoch, token: self.token }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Write {
    pub(super) key: usize,
    pub(super) delete: bool,
    pub(super) pin: Position,
    pub(super) step: WriteStep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum WriteStep {
    /// The position is pinned, nothing is written.
    Begun,
    /// Old is written and its row locked.
    OldWritten,
    /// Old had no such row to delete, so none is locked.
    OldPassed,
    /// The write to old failed and was forgiven: the mark is written, no row is locked.
    OldForgiven,
    /// The caller does not know it yet.
    Committed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Read {
    pub(super) key: usize,
    /// Without a key, by the stage alone.
    pub(super) scan: bool,
    pub(super) pin: Position,
    /// The backfill was known to be complete.
    pub(super) copied: bool,
    /// The newest version acknowledged, and returned by some read, when it began.
    pub(super) acked: Version,
    pub(super) seen: Version,
    /// The lease was lost since it began.
    pub(super) gap: bool,
    pub(super) step: ReadStep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ReadStep {
    /// The side is chosen; it counts as in flight.
    Planned,
    /// New has no such row; a copy may bring it.
    Missed,
    Copying(Copying),
    /// Reads this side again.
    Again(Side),
}

/// A transaction that copies one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Copying {
    pub(super) key: usize,
    pub(super) to: Side,
    /// It deleted the mark, and holds the mark's lock.
    pub(super) unmarked: bool,
    /// What the target will say; its row is locked.
    pub(super) target: Option<Version>,
    pub(super) step: CopyStep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum CopyStep {
    /// No row was there to lock.
    Free,
    Locked,
    /// The copy statement began, and saw this.
    Saw {
        locked: bool,
        source: Version,
        target: Version,
    },
    /// The copy statement is done, on a row that was not locked.
    Written,
    /// It brought a row to old, and was rolled back: it waits for the fence alone, to do it again.
    Alone,
}

/// A worker of the backfill, or of the reverse copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Worker {
    Idle,
    Ready(Generation),
    /// A page of one key, which old had as this version.
    Page(Generation, usize, Version),
    /// It copies a part back, with its page of one key.
    Back(Generation, Part, Option<Copying>),
    /// It has ended this part of a reverse copy, and is about to begin the next.
    Between(Generation, Part),
}

/// A verification that has come to this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Verification {
    pub(super) generation: Generation,
    pub(super) old_generation: Generation,
    pub(super) key: usize,
}
