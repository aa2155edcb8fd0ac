//! Routing: which side answers, which side is beside it, for one operation on one key.

use crate::stages::bucket::Bucket;
use crate::stages::position::{Percent, Position};
use crate::stages::stage::{Side, Stage};

/// What a call does, as far as routing cares.
///
/// ```
/// assert_ne!(dualwrite::Operation::Read, dualwrite::Operation::Scan);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Reads one key.
    Read,
    /// Reads without a key: lists, searches, aggregates. Follows the stage alone, never the ramp.
    Scan,
    /// Writes one key.
    Write,
}

/// What to do with one call: the primary answers, the mirror (where there is one) is written too, or
/// read and compared.
///
/// ```
/// use dualwrite::{Bucket, Operation, Position, Side, Stage, route};
/// let route = route(Position::start().with_stage(Stage::Shadow), Operation::Write, Bucket::FIRST);
/// assert_eq!((route.primary, route.mirror), (Side::Old, Some(Side::New)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// The stage that this key is in, the ramp counted in.
    pub stage: Stage,
    /// The side whose answer is returned.
    pub primary: Side,
    /// The other side, where it takes part.
    pub mirror: Option<Side>,
}

impl Route {
    /// The route of an operation in a stage.
    #[inline]
    #[must_use]
    pub const fn of(stage: Stage, operation: Operation) -> Self {
        let primary = stage.reads();
        let takes_part = match operation {
            Operation::Write => stage.writes_both(),
            Operation::Read | Operation::Scan => stage.compares(),
        };
        Self { stage, primary, mirror: if takes_part { Some(primary.other()) } else { None } }
    }
}

/// Decides what one call does. Total and pure; `bucket` is ignored for scans.
///
/// ```
/// use dualwrite::{Bucket, Operation, Percent, Position, Side, Stage, route};
/// let position = Position::start().with_stage(Stage::Shadow).with_ramp(Percent::new(5)?);
/// assert_eq!(route(position, Operation::Read, Bucket::new(499)?).primary, Side::New);
/// assert_eq!(route(position, Operation::Read, Bucket::new(500)?).primary, Side::Old);
/// assert_eq!(route(position, Operation::Scan, Bucket::new(0)?).primary, Side::Old);
/// # Ok::<(), dualwrite::Error>(())
/// ```
#[inline]
#[must_use]
pub const fn route(position: Position, operation: Operation, bucket: Bucket) -> Route {
    let stage = match operation {
        Operation::Scan => position.stage,
        Operation::Read | Operation::Write => stage_of(position, bucket),
    };
    Route::of(stage, operation)
}

/// The stage that a bucket is in.
#[inline]
pub(crate) const fn stage_of(position: Position, bucket: Bucket) -> Stage {
    match position.stage.next() {
        Some(next) if bucket.is_below(position.ramp) => next,
        _ => position.stage,
    }
}

/// The side that answers scans may still be read for every key, also for those that the ramp has
/// carried on; a failed write to it can therefore not be left for later.
pub(crate) const fn is_scanned(position: Position, side: Side) -> bool {
    matches!((position.stage.reads(), side), (Side::Old, Side::Old) | (Side::New, Side::New))
}

/// Whether any key reads `side` in this position, by key or by scan.
pub(crate) fn is_read(position: Position, side: Side) -> bool {
    is_scanned(position, side)
        || position.reaches().reads() == side && position.ramp > Percent::ZERO
}

/// Whether a key in this stage may be copied from old to new: while every write goes to both.
#[inline]
pub(crate) fn may_copy_at(stage: Stage) -> bool {
    stage.writes_both()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EDGES: [u16; 7] = [0, 1, 2, 4_999, 5_000, 9_999, 10_000];

    /// The table of DESIGN §3, written out.
    fn expected(stage: Stage, operation: Operation) -> (Side, Option<Side>) {
        use {Operation as O, Side as S, Stage as T};
        match (stage, operation) {
            (T::Off, _) => (S::Old, None),
            (T::DualWrite, O::Write) => (S::Old, Some(S::New)),
            (T::DualWrite, _) => (S::Old, None),
            (T::Shadow, _) => (S::Old, Some(S::New)),
            (T::Live, _) => (S::New, Some(S::Old)),
            (T::RampDown, O::Write) => (S::New, Some(S::Old)),
            (T::RampDown, _) => (S::New, None),
            (T::Complete, _) => (S::New, None),
        }
    }

    #[test]
    fn every_stage_ramp_edge_and_operation() {
        let mut checked = 0;
        for stage in Stage::ALL {
            for ramp in EDGES {
                for bucket in EDGES.into_iter().filter(|&bucket| bucket < 10_000) {
                    for operation in [Operation::Read, Operation::Scan, Operation::Write] {
                        let position = Position::start()
                            .with_stage(stage)
                            .with_ramp(Percent::from_basis_points(ramp).unwrap());
                        let route = route(position, operation, Bucket::new(bucket).unwrap());
                        let ahead = bucket < ramp && operation != Operation::Scan;
                        let in_force = if ahead { stage.next().unwrap_or(stage) } else { stage };
                        assert_eq!(route.stage, in_force);
                        assert_eq!((route.primary, route.mirror), expected(in_force, operation));
                        assert!(route.mirror.is_none_or(|mirror| mirror != route.primary));
                        checked += 1;
                    }
                }
            }
        }
        assert_eq!(checked, 6 * 7 * 6 * 3);
    }

    proptest! {
        #[test]
        fn raising_a_ramp_never_takes_a_key_back(
            stage in 0_u8..6, low in 0_u16..=10_000, high in 0_u16..=10_000, bucket in 0_u16..10_000,
        ) {
            let (low, high) = (low.min(high), low.max(high));
            let at = |ramp| {
                let position = Position::start()
                    .with_stage(Stage::from_code(stage).unwrap())
                    .with_ramp(Percent::from_basis_points(ramp).unwrap());
                stage_of(position, Bucket::new(bucket).unwrap())
            };
            prop_assert!(at(low) <= at(high));
        }

        #[test]
        fn scans_switch_only_with_the_stage(stage in 0_u8..6, ramp in 0_u16..=10_000, bucket in 0_u16..10_000) {
            let stage = Stage::from_code(stage).unwrap();
            let position = Position::start().with_stage(stage).with_ramp(Percent::from_basis_points(ramp).unwrap());
            let route = route(position, Operation::Scan, Bucket::new(bucket).unwrap());
            prop_assert_eq!(route, Route::of(stage, Operation::Scan));
        }
    }

    #[test]
    fn a_side_is_read_as_soon_as_one_key_asks_it() {
        for stage in Stage::ALL {
            for ramp in [Percent::ZERO, Percent::from_basis_points(1).unwrap()] {
                let position = Position::start().with_stage(stage).with_ramp(ramp);
                let reaches =
                    if ramp > Percent::ZERO { stage.next().unwrap_or(stage) } else { stage };
                for side in [Side::Old, Side::New] {
                    let expected = stage.reads() == side || reaches.reads() == side;
                    assert_eq!(is_read(position, side), expected, "{position}, {side}");
                }
            }
        }
    }

    #[test]
    fn keys_are_copied_while_every_write_goes_to_both() {
        let copied = Stage::ALL.map(may_copy_at);
        assert_eq!(copied, [false, true, true, true, true, false]);
    }
}
