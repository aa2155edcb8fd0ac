//! The bounds of a world, and the guard that it may lack.

pub(super) use super::budget::Budget;
use super::state::{ABSENT, Control, Instance, KEYS, Row, State, Version, Worker, Wrong};
use crate::stages::lineage::{Mark, Token};
use crate::stages::moves::Move;
use crate::stages::position::{Generation, Position};
use crate::stages::stage::Stage;

/// What must be reachable, or the search proves nothing.
pub(super) type Goal = (&'static str, fn(&World, &State) -> bool);

/// A guard of the library that a world may lack.
#[rustfmt::skip]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    Fence,                // a write pins the position in force and holds it
    Drained,              // acknowledged is what nothing earlier is in flight of, not what was seen
    OverwritingCopy,      // a copy overwrites, and does not only insert
    UpsertingWrite,       // a dual write brings a row that is missing, and does not only update
    LockedCopy,           // the backfill locks the row that it copies
    Generation,           // old-only writes raise the generation
    AcknowledgedComplete, // on the way to `Complete` every instance has drained the stage before
    AcknowledgedOff,      // on the way to `Off` likewise
    CleanRollback,        // old does not answer again while keys wait to be copied back to it
    CleanAdvance,         // new does not answer while keys wait to be copied to it
    ProvenAdvance,        // new does not answer before it is backfilled and verified
    WithdrawnProof,       // a difference that is found withdraws the proof, until a later clean verification
    LaterProof,           // a verification that began before the finding does not bring it back
    VerifiedNew,          // a verification looks at rows that new alone has
    SeenForgiveness,      // a failed mirror write is forgiven only when all have seen the position,
    UnscannedForgiveness, // and only where no scan reads the mirror,
    RepairableForgiveness,// and in old only when nothing is copied from there any more
    StaleSource,          // a key that waits to be copied to old is not copied from it
    MarkFirst,            // a mark is deleted before its key is copied
    Births,               // after the copy of a key that was not there: was it born meanwhile?
    StageOfCopy,          // a key is copied only while every write goes to both sides
    GenerationOfPage,     // a page is copied only in the worker's own generation
    LazyScans,            // scans of a lazy migration ask old until all is copied
    LazyInFlight,         // a lazy read is in flight until its last answer
    LazyEnd,              // a lazy migration leaves `Live` when all is copied; no read copies then
    DeadLetters,           // with a key in the dead letters, all is not copied
    LeaseWithoutGap,      // a read that began before a gap in the lease does not answer after it
    OldGeneration,        // writes to new alone raise the generation of old
    ProvenReturn,         // old does not answer again before it is copied back and verified
    WholeSource,          // nothing is copied from old before it is copied back
    LockedReverse,        // the reverse copy locks the row that it writes
    ReverseRest,          // what old alone has is removed once more when all is copied back,
    Barrier,              // and no write is in flight that began before all was copied back
    DeletedInserts,       // a page that deleted what it had not seen looks whether new has it by now
    LoneInserts,          // a single row that old lacks is copied back while no write is in flight
    Token,                // an epoch that was lost and made again is told from itself
    SameServer,           // an instance counts by what it said to the server that there is now
    GenerationOfParts,    // all parts of a reverse copy are of one generation
}

/// A bounded world.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) keys: usize,
    pub(super) instances: usize,
    /// How many of the instances read, and how many write.
    pub(super) readers: usize,
    pub(super) writers: usize,
    pub(super) stage: Stage,
    /// The versions in old and new at the beginning.
    pub(super) rows: [[Version; 2]; KEYS],
    /// New is backfilled and verified at the beginning.
    pub(super) ready: bool,
    /// New alone was written before, so that old is stale; and what it got can be copied back.
    pub(super) stale: bool,
    pub(super) reverse: bool,
    /// It is the second generation, and a worker of the first has slept since before its first page.
    pub(super) sleeper: bool,
    pub(super) moves: Vec<Move>,
    pub(super) budget: Budget,
    pub(super) lazy: bool,
    pub(super) scans: bool,
    /// A commit and its acknowledgement are two steps.
    pub(super) late_acks: bool,
    pub(super) goals: &'static [Goal],
    pub(super) without: Option<Guard>,
}

impl World {
    pub(super) fn lacks(&self, guard: Guard) -> bool {
        self.without == Some(guard)
    }

    pub(super) fn start(&self) -> State {
        let position = Position::start().with_stage(self.stage);
        let generation = Generation(1 + u64::from(self.sleeper));
        let row = |[old, new]: [Version; 2]| {
            // New alone was written: what it lacks was deleted.
            let deleted = self.stale && new == ABSENT && old != ABSENT;
            let latest = old.max(new) + u8::from(deleted);
            Row {
                sides: [old, new],
                dirty: [false; 2],
                has_dead_letter: false,
                damaged: false,
                found: false,
                latest,
                acked: latest,
                seen: ABSENT,
                deletions: match deleted {
                    true => 1 << latest,
                    false => u8::from(latest == ABSENT),
                },
            }
        };
        let generations = [Generation(1 + u64::from(self.stale)), generation];
        let mut control = Control::new(position, generations, self.ready);
        control.ledger(generation).complete = self.ready;
        if self.sleeper {
            control.ledger(Generation::FIRST).end = Some(1);
        }
        let instance = |number| Instance {
            cached: position,
            token: Token::default(),
            copied: self.ready,
            valid: number < self.instances,
            beaten: false,
            listed: number < self.instances,
            here: true,
            seen: Mark { epoch: position.epoch, token: Token::default() },
            drained: position.epoch,
            read: None,
            write: None,
        };
        State {
            control,
            rows: self.rows.map(row),
            instances: [instance(0), instance(1)],
            repair: None,
            worker: if self.sleeper { Worker::Ready(Generation::FIRST) } else { Worker::Idle },
            verification: None,
            left: self.budget,
            wrong: Wrong::default(),
            standby: None,
            failovers: 0,
        }
    }
}
