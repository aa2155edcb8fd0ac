//! The order of the sides of a dual write, what a failed mirror write does to the caller's write, and what
//! follows where the sides answer differently.

use crate::stages::position::{Epoch, Position};
use crate::stages::route::is_scanned;
use crate::stages::stage::Side;
use crate::state::{AnswerPolicy, MirrorPolicy};

/// How the mirror write is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mirror {
    /// Behind a savepoint: a failure is undone there and the key is marked dirty.
    Forgiving,
    /// Without one: a failure is the caller's failure.
    Strict,
}

/// The implementation that a write calls next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Old.
    Old,
    /// New.
    New,
    /// The one that writes both at once, and answers as this side does.
    Both(Side),
}

/// How a write calls its sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    /// One side alone.
    Alone,
    /// Both by one call.
    AtOnce,
    /// Old, then new.
    InTurn,
}

/// What a write does next: old before new, always, so that no two writers wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The only side, or old, or both at once.
    First,
    /// New, after old.
    Second,
    /// The mirror has failed and both sides are undone: the primary once more, alone.
    Again,
    Done,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnEnd {
    /// The side has answered.
    Answered,
    /// The mirror failed, was undone, and the caller's write goes on.
    Forgiven,
    /// The side failed, and the caller's write with it.
    Failed,
}

impl Turn {
    /// The turn after this one. `undoes_both`: the savepoint stands before the first side, so going back to
    /// it has undone old too.
    pub(crate) fn after(self, end: TurnEnd, calls: Calls, undoes_both: bool) -> Self {
        match (self, end, calls) {
            (_, TurnEnd::Failed, _) => Self::Done,
            (Self::First, TurnEnd::Forgiven, Calls::AtOnce) => Self::Again,
            (Self::First, _, Calls::InTurn) => Self::Second,
            (Self::Second, TurnEnd::Forgiven, _) if undoes_both => Self::Again,
            _ => Self::Done,
        }
    }
}

/// What follows where the two sides of a write answered differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unequal {
    /// Nothing.
    Passed,
    /// It is counted and logged; the key cannot be copied again.
    Counted,
    /// The key is marked dirty, too.
    Marked,
    /// The caller's write fails.
    Refused,
}

/// Decides what follows where the answers differ. `repairable` as for [`mirror`].
pub(crate) fn unequal(policy: AnswerPolicy, repairable: bool) -> Unequal {
    match policy {
        AnswerPolicy::Ignore => Unequal::Passed,
        AnswerPolicy::Error => Unequal::Refused,
        AnswerPolicy::MarkDirty if repairable => Unequal::Marked,
        AnswerPolicy::MarkDirty => Unequal::Counted,
    }
}

/// Whether a side that has fallen behind can be left behind for a while.
///
/// As long as old is still copied to new, a row left stale in old would be carried over the newer one in
/// new. And in a lazy migration scans ask old until all is copied, in an instance that learns of that
/// later than this one too.
pub(crate) fn is_repairable(side: Side, copied: bool, lazy: bool) -> bool {
    match side {
        Side::New => true,
        Side::Old => copied && !lazy,
    }
}

/// Decides before the mirror is written. `repairable`: a copy function exists in the mirror's direction,
/// and nothing is copied in the other one.
///
/// A failure is forgiven only where nobody reads the mirror before it is repaired. By key nobody does:
/// the mirror is by definition the side that does not answer. Scans follow the stage alone, so while the
/// ramp is under way old still answers scans for keys that are live already.
pub(crate) fn mirror(
    position: Position,
    mirror: Side,
    policy: MirrorPolicy,
    repairable: bool,
) -> Mirror {
    let forgiving = policy != MirrorPolicy::Abort && repairable && !is_scanned(position, mirror);
    if forgiving { Mirror::Forgiving } else { Mirror::Strict }
}

/// Decides when the mirror has failed. `seen`: the epoch that every live instance has seen.
///
/// The position in force says who reads the mirror now, and an instance that has not seen it yet reads by
/// an earlier one: after Shadow → Live still old, after a rollback still new. Until all have seen it,
/// the mirror may not fall behind.
pub(crate) fn may_forgive(pinned: Position, seen: Epoch) -> bool {
    seen >= pinned.epoch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::position::Percent;
    use crate::stages::stage::Stage;

    #[test]
    fn every_write_ends_and_calls_each_side_in_its_turn() {
        use TurnEnd::{Answered, Failed, Forgiven};
        let after = Turn::after;
        for undoes_both in [false, true] {
            for end in [Answered, Forgiven] {
                assert_eq!(after(Turn::First, end, Calls::InTurn, undoes_both), Turn::Second);
                assert_eq!(after(Turn::Again, end, Calls::InTurn, undoes_both), Turn::Done);
                assert_eq!(after(Turn::First, end, Calls::Alone, undoes_both), Turn::Done);
            }
            let again = if undoes_both { Turn::Again } else { Turn::Done };
            assert_eq!(after(Turn::Second, Forgiven, Calls::InTurn, undoes_both), again);
            assert_eq!(after(Turn::Second, Answered, Calls::InTurn, undoes_both), Turn::Done);
            assert_eq!(after(Turn::First, Answered, Calls::AtOnce, undoes_both), Turn::Done);
            assert_eq!(after(Turn::First, Forgiven, Calls::AtOnce, undoes_both), Turn::Again);
            for turn in [Turn::First, Turn::Second, Turn::Again, Turn::Done] {
                for calls in [Calls::Alone, Calls::AtOnce, Calls::InTurn] {
                    assert_eq!(after(turn, Failed, calls, undoes_both), Turn::Done);
                    let next = after(turn, Forgiven, calls, undoes_both);
                    let later = after(next, Forgiven, calls, undoes_both);
                    assert_eq!(after(later, Answered, calls, undoes_both), Turn::Done);
                }
            }
        }
    }

    #[test]
    fn different_answers_mark_the_key_where_it_can_be_copied_again() {
        for repairable in [false, true] {
            assert_eq!(unequal(AnswerPolicy::Ignore, repairable), Unequal::Passed);
            assert_eq!(unequal(AnswerPolicy::Error, repairable), Unequal::Refused);
        }
        assert_eq!(unequal(AnswerPolicy::MarkDirty, true), Unequal::Marked);
        assert_eq!(unequal(AnswerPolicy::MarkDirty, false), Unequal::Counted);
    }

    #[test]
    fn nothing_is_forgiven_until_every_instance_has_seen_the_position() {
        let pinned = Position { epoch: Epoch(7), ..Position::start() };
        assert!(!may_forgive(pinned, Epoch(6)));
        assert!(may_forgive(pinned, Epoch(7)));
    }

    #[test]
    fn a_mirror_that_scans_read_is_never_forgiven() {
        let ramping = Position::start().with_stage(Stage::Shadow).with_ramp(Percent::FULL);
        let live = Position::start().with_stage(Stage::Live);
        let shadow = Position::start().with_stage(Stage::Shadow);
        let decide = |position, side| mirror(position, side, MirrorPolicy::MarkDirty, true);
        assert_eq!(decide(ramping, Side::Old), Mirror::Strict);
        assert_eq!(decide(live, Side::Old), Mirror::Forgiving);
        assert_eq!(decide(shadow, Side::New), Mirror::Forgiving);
    }

    #[test]
    fn what_cannot_be_copied_again_is_never_forgiven() {
        for stage in Stage::ALL {
            let position = Position::start().with_stage(stage);
            let side = stage.reads().other();
            assert_eq!(mirror(position, side, MirrorPolicy::MarkDirty, false), Mirror::Strict);
            assert_eq!(mirror(position, side, MirrorPolicy::Abort, true), Mirror::Strict);
        }
    }

    #[test]
    fn old_is_left_behind_only_where_nothing_copies_it_over_new() {
        for copied in [false, true] {
            for lazy in [false, true] {
                assert!(is_repairable(Side::New, copied, lazy));
                assert_eq!(is_repairable(Side::Old, copied, lazy), copied && !lazy);
            }
        }
    }
}
