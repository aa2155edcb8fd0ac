//! Exact mode: two SQL databases, of which one at a time has the authority. Who may read and write where, which version
//! wins, and the next step of a hand-over. Pure; `model/exact.rs` searches what these decide.

use crate::stages::stage::{Side, Stage};

/// What the row of one database says of a migration. A row changes alone: no transaction spans both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Authority {
    /// This database is the side of record: it answers reads.
    pub(crate) primary: bool,
    /// It takes writes. Only a primary does.
    pub(crate) open: bool,
    /// Its writes leave a record in the outbox.
    pub(crate) recording: bool,
    /// The other side has, with the outbox, all that this one has.
    pub(crate) copied: bool,
    /// Raised by each change. That of the primary is the highest of both rows.
    pub(crate) epoch: u64,
    /// Random, another one with each change.
    pub(crate) token: u64,
}

/// What a call finds in the database that it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Here.
    Here,
    /// It is the side of record, and takes no write until the hand-over is over.
    Closed,
    /// The other database is asked.
    Elsewhere,
    /// Its row is older than what this instance has seen: a standby that lags, a restored backup, or a snapshot that has
    /// passed.
    Behind,
}

/// The highest epoch that an instance has seen, and its token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) epoch: u64,
    pub(crate) token: u64,
}

impl Seen {
    /// After a row was read.
    pub(crate) fn with(self, row: Authority) -> Self {
        match row.epoch > self.epoch {
            true => Self { epoch: row.epoch, token: row.token },
            false => self,
        }
    }

    fn is_newer_than(self, row: Authority) -> bool {
        row.epoch < self.epoch || (row.epoch == self.epoch && row.token != self.token)
    }
}

/// Whether a database may answer a read. Its row is read in the snapshot that the read sees.
pub(crate) fn may_read(row: Authority, seen: Seen) -> Found {
    match row.primary {
        true if seen.is_newer_than(row) => Found::Behind,
        true => Found::Here,
        false => Found::Elsewhere,
    }
}

/// Whether a database takes a write. Its row is read under the fence, which the write holds to its end.
pub(crate) fn may_write(row: Authority, seen: Seen) -> Found {
    match may_read(row, seen) {
        Found::Here if !row.open => Found::Closed,
        found => found,
    }
}

/// Whether a record of this version is applied where that one was applied before.
pub(crate) fn takes(applied: u64, version: u64) -> bool {
    version > applied
}

/// Whether what the primary had in a snapshot, at this version of the key, is copied where that one was applied before. At
/// the same version too: while writes were not recorded, the record changed and its version did not.
pub(crate) fn copies(applied: u64, version: u64) -> bool {
    version >= applied
}

/// Whether a page of the copy, read at this epoch of the primary, comes after one that was read at a later epoch. Between the
/// two, writes may not have been recorded: then its versions say nothing.
pub(crate) fn is_late(copied: u64, epoch: u64) -> bool {
    epoch < copied
}

/// The next step of a hand-over. Each is one transaction on one database, a compare-and-set on the row that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// The side takes no more writes.
    Close(Side),
    /// What is in the outbox of this side is applied to the other.
    Drain(Side),
    /// The side is no longer the side of record. Judged in the transaction: the outbox is empty.
    GiveUp(Side),
    /// The side becomes the side of record, and takes writes.
    Open(Side),
    /// The side, which was closed and is wanted, takes writes again.
    Reopen(Side),
    Done,
    /// The other side lacks what was there before: somebody has stopped the recording meanwhile.
    NotCopied,
    /// Both say that they are the primary: one was restored from a backup.
    Broken,
}

/// What comes next on the way to `to` as the primary. `drained`: the outbox of the primary is empty.
pub(crate) fn next_step(old: Authority, new: Authority, to: Side, drained: bool) -> Step {
    let row = |side| if side == Side::Old { old } else { new };
    let from = to.other();
    match (row(to).primary, row(from).primary) {
        (true, true) => Step::Broken,
        (true, false) if row(to).open => Step::Done,
        (true, false) => Step::Reopen(to),
        (false, true) if !row(from).copied => Step::NotCopied,
        (false, true) if row(from).open => Step::Close(from),
        (false, true) if drained => Step::GiveUp(from),
        (false, true) => Step::Drain(from),
        // Whoever gave it up was the primary until then. The other one follows, wherever it was to go.
        (false, false) => Step::Open(giver(old, new).other()),
    }
}

/// The side that gave the authority up last, where none has it.
fn giver(old: Authority, new: Authority) -> Side {
    if old.epoch > new.epoch { Side::Old } else { Side::New }
}

/// The side of record, and if nobody is, the one that is to be opened.
pub(crate) fn side_of_record(old: Authority, new: Authority) -> Side {
    match (old.primary, new.primary) {
        (true, _) => Side::Old,
        (false, true) => Side::New,
        (false, false) => giver(old, new).other(),
    }
}

/// The stage that two rows amount to.
pub(crate) fn stage_of(old: Authority, new: Authority) -> Stage {
    match side_of_record(old, new) {
        Side::Old if old.primary && !old.recording => Stage::Off,
        Side::Old => Stage::DualWrite,
        Side::New if new.primary && !new.recording => Stage::Complete,
        Side::New => Stage::Live,
    }
}

impl Authority {
    /// The rows of a new migration: the old side is the primary.
    pub(crate) fn first(side: Side, token: u64) -> Self {
        let primary = side == Side::Old;
        let epoch = u64::from(primary);
        Self { primary, open: primary, recording: false, copied: false, epoch, token }
    }

    /// After a step; `other` is the row of the other database.
    pub(crate) fn after(self, step: Step, other: Self, token: u64) -> Self {
        let changed = Self { epoch: self.epoch + 1, token, ..self };
        match step {
            Step::Close(_) => Self { open: false, ..changed },
            Step::Reopen(_) => Self { open: true, ..changed },
            Step::GiveUp(_) => Self { primary: false, open: false, ..changed },
            Step::Open(_) => {
                // Both sides are the same at this moment, and each write is recorded from the first on.
                let row =
                    Self { primary: true, open: true, recording: true, copied: true, ..changed };
                Self { epoch: other.epoch + 1, ..row }
            }
            Step::Drain(_) | Step::Done | Step::NotCopied | Step::Broken => self,
        }
    }

    /// With writes recorded from now on, or no more. Either way the other side may lack something.
    pub(crate) fn with_recording(self, recording: bool, token: u64) -> Self {
        Self { recording, copied: false, epoch: self.epoch + 1, token, ..self }
    }
}

/// What a move of the stage changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StageChange {
    /// The primary records its writes from now on.
    Record(Side),
    /// This side becomes the primary.
    HandOver(Side),
    /// The primary records its writes no more.
    Alone(Side),
}

/// Why a stage cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Exact mode has no such stage.
    NoSuchStage,
    /// It is not the next one.
    NotNext,
    /// The other side lacks what was there before.
    NotCopied,
}

/// What leads to a stage; `None` where that is the stage already.
pub(crate) fn change_to(
    old: Authority,
    new: Authority,
    to: Stage,
) -> Result<Option<StageChange>, Refused> {
    let copied = |side: Side| match side {
        Side::Old if old.copied => Ok(Some(StageChange::HandOver(Side::New))),
        Side::New if new.copied => Ok(Some(StageChange::HandOver(Side::Old))),
        _ => Err(Refused::NotCopied),
    };
    match (stage_of(old, new), to) {
        (_, Stage::Shadow | Stage::RampDown) => Err(Refused::NoSuchStage),
        (from, to) if from == to => Ok(None),
        (Stage::Off, Stage::DualWrite) => Ok(Some(StageChange::Record(Side::Old))),
        (Stage::DualWrite, Stage::Live) => copied(Side::Old),
        (Stage::DualWrite, Stage::Off) => Ok(Some(StageChange::Alone(Side::Old))),
        (Stage::Live, Stage::DualWrite) => copied(Side::New),
        (Stage::Live, Stage::Complete) => Ok(Some(StageChange::Alone(Side::New))),
        (Stage::Complete, Stage::Live) => Ok(Some(StageChange::Record(Side::New))),
        _ => Err(Refused::NotNext),
    }
}

/// The stage that a rollback leads to.
pub(crate) fn stage_before(stage: Stage) -> Option<Stage> {
    match stage {
        Stage::Off | Stage::Shadow | Stage::RampDown => None,
        Stage::DualWrite => Some(Stage::Off),
        Stage::Live => Some(Stage::DualWrite),
        Stage::Complete => Some(Stage::Live),
    }
}

#[cfg(test)]
mod tests;
