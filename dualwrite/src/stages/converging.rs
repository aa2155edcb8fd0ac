//! Converging mode: two stores that share no transaction. What a write leaves behind, when a key is settled, and which
//! moves wait until nothing is in flight. Pure; `model/converging.rs` searches what these decide.

use std::time::Duration;

use crate::stages::bucket::Bucket;
use crate::stages::position::{Percent, Position};
use crate::stages::route::{Operation, Route, stage_of};

/// How a write ended, as far as its two sides are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ending {
    /// Both sides have it.
    Both,
    /// Its stage has no mirror: one side is all there is to write.
    Alone,
    /// No side has it, for certain.
    NotWritten,
    /// Nobody knows what one of the sides has: an error, a time-out, a panic, or the mirror was left out.
    Unknown,
}

/// What a write finds of its key when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Around {
    /// Its own mark is still there: nobody took this instance for dead.
    pub(crate) own_mark: bool,
    /// Another instance has a write of the key in flight. This instance lets its own follow each other.
    pub(crate) other_writes: bool,
    /// The key is to be copied, or is being copied.
    pub(crate) unsettled: bool,
}

/// Whether a write that has ended leaves its key to be copied again. Two writes that overlap may reach the two sides in
/// different orders; so whichever ends first, and sees the other, says so.
pub(crate) fn leaves_unsettled(ending: Ending, around: Around) -> bool {
    match ending {
        Ending::Unknown => true,
        Ending::Both => !around.own_mark || around.other_writes || around.unsettled,
        // The stage may have moved on without it.
        Ending::Alone => !around.own_mark,
        Ending::NotWritten => false,
    }
}

/// Whether a copy that has ended settles its key: nobody wrote beside it, and nobody gave another reason to copy since it
/// was claimed.
pub(crate) fn settles(is_same_version: bool, writes_in_flight: u64) -> bool {
    is_same_version && writes_in_flight == 0
}

/// The first pause after a copy that failed, and the longest; each failure doubles it.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(60);

/// How long a key waits whose copy has failed so many times.
pub(crate) fn again_after(failures: u64) -> Duration {
    let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    AGAIN_AFTER.saturating_mul(1 << doublings).min(AGAIN_AFTER_MAX)
}

/// Whether a move gives writes of some key another primary, or another mirror. Then no write may be in flight, and no key
/// be unsettled: a copy would go over an acknowledged write.
pub(crate) fn changes_writes(from: Position, to: Position) -> bool {
    let edges = [from.ramp, to.ramp].map(Percent::basis_points);
    // The routes are the same for all buckets between two edges.
    let buckets = edges.into_iter().flat_map(|edge| [edge.saturating_sub(1), edge]).chain([0]);
    let buckets = buckets.filter_map(|number| Bucket::new(number).ok());
    let mut routes = buckets.map(|bucket| {
        [from, to].map(|position| {
            let route = Route::of(stage_of(position, bucket), Operation::Write);
            (route.primary, route.mirror)
        })
    });
    routes.any(|[before, after]| before != after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::stage::Stage;

    const QUIET: Around = Around { own_mark: true, other_writes: false, unsettled: false };

    #[test]
    fn a_write_that_was_alone_leaves_nothing() {
        assert!(!leaves_unsettled(Ending::Both, QUIET));
        assert!(!leaves_unsettled(Ending::Alone, QUIET));
        assert!(leaves_unsettled(Ending::Unknown, QUIET));
    }

    #[test]
    fn whatever_was_beside_a_write_leaves_its_key_to_be_copied() {
        for around in [
            Around { own_mark: false, ..QUIET },
            Around { other_writes: true, ..QUIET },
            Around { unsettled: true, ..QUIET },
        ] {
            assert!(leaves_unsettled(Ending::Both, around), "{around:?}");
            assert!(!leaves_unsettled(Ending::NotWritten, around), "{around:?}");
        }
    }

    #[test]
    fn a_key_that_fails_waits_longer_each_time() {
        let waits: Vec<u64> = (0..9).map(|failures| again_after(failures).as_secs()).collect();
        assert_eq!(waits, [1, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(again_after(u64::MAX), AGAIN_AFTER_MAX);
    }

    #[test]
    fn moves_that_change_where_some_key_is_written_are_found() {
        let at = |stage, ramp| {
            let ramp = Percent::from_basis_points(ramp).unwrap();
            Position::start().with_stage(stage).with_ramp(ramp)
        };
        for (from, to, changes) in [
            ((Stage::Off, 0), (Stage::DualWrite, 0), true),
            ((Stage::Off, 0), (Stage::Off, 1), true),
            ((Stage::Off, 10_000), (Stage::DualWrite, 0), false),
            ((Stage::DualWrite, 0), (Stage::Shadow, 0), false),
            ((Stage::DualWrite, 5_000), (Stage::DualWrite, 0), false),
            ((Stage::Shadow, 0), (Stage::Shadow, 1), true),
            ((Stage::Shadow, 4_000), (Stage::Shadow, 5_000), true),
            ((Stage::Shadow, 10_000), (Stage::Live, 0), false),
            ((Stage::Live, 0), (Stage::Shadow, 0), true),
            ((Stage::Live, 0), (Stage::RampDown, 0), false),
            ((Stage::RampDown, 0), (Stage::Shadow, 0), true),
            ((Stage::RampDown, 0), (Stage::RampDown, 9_999), true),
            ((Stage::Complete, 0), (Stage::RampDown, 0), true),
        ] {
            assert_eq!(
                changes_writes(at(from.0, from.1), at(to.0, to.1)),
                changes,
                "{from:?} {to:?}"
            );
        }
    }

    #[test]
    fn the_edges_tell_what_all_buckets_do() {
        for from in Stage::ALL {
            for to in Stage::ALL {
                for (low, high) in [(0, 0), (0, 1), (3, 9_999), (10_000, 7), (10_000, 10_000)] {
                    let at = |stage, ramp| {
                        let ramp = Percent::from_basis_points(ramp).unwrap();
                        Position::start().with_stage(stage).with_ramp(ramp)
                    };
                    let (from, to) = (at(from, low), at(to, high));
                    let route = |position, bucket| {
                        let route = Route::of(stage_of(position, bucket), Operation::Write);
                        (route.primary, route.mirror)
                    };
                    let all = (0..10_000).map(|number| Bucket::new(number).unwrap());
                    let expected = all.into_iter().any(|b| route(from, b) != route(to, b));
                    assert_eq!(changes_writes(from, to), expected, "{from} {to}");
                }
            }
        }
    }

    #[test]
    fn a_copy_settles_a_key_that_nobody_touched_meanwhile() {
        assert!(settles(true, 0));
        assert!(!settles(true, 1) && !settles(false, 0) && !settles(false, 1));
        assert!(leaves_unsettled(Ending::Alone, Around { own_mark: false, ..QUIET }));
    }
}
