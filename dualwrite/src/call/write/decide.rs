//! What a failed mirror write does to the caller's write.

use crate::stages::position::{Epoch, Position};
use crate::stages::route::is_scanned;
use crate::stages::stage::Side;
use crate::state::MirrorPolicy;

/// How the mirror write is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mirror {
    /// Behind a savepoint: a failure is undone there and the key is marked dirty.
    Forgiving,
    /// Without one: a failure is the caller's failure.
    Strict,
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
}
