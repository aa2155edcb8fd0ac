//! Where a write of several keys goes, and one whose keys nobody knows: as a whole, so the sides are the
//! union of those of all its keys.

use crate::stages::position::{Percent, Position};
use crate::stages::route::{Operation, Route};
use crate::stages::stage::Stage;

/// The route of such a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Together {
    pub(crate) route: Route,
    /// Old answers for some of the keys and new for the others: neither side may then fall behind.
    pub(crate) split: bool,
}

/// Decides for keys in these stages. If one of them is written to both sides, the write goes to both. Where
/// they disagree on who answers, the stage of the migration decides.
pub(crate) fn together(position: Position, stages: impl IntoIterator<Item = Stage>) -> Together {
    let mut stages = stages.into_iter();
    let Some(first) = stages.next() else {
        return without_keys(position);
    };
    let (mut both, mut split) = (first, false);
    for stage in stages {
        split |= stage.reads() != first.reads();
        if stage.writes_both() {
            both = stage;
        }
    }
    let route = Route::of(both, Operation::Write);
    match split {
        true => Together { route: Route::of(position.stage, Operation::Write), split },
        false => Together { route, split },
    }
}

/// Decides where nobody knows the keys: they may be in the stage and in the next one.
pub(crate) fn without_keys(position: Position) -> Together {
    let next = position.stage.next().filter(|_| position.ramp > Percent::ZERO);
    together(position, std::iter::once(position.stage).chain(next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::stage::Side;

    fn at(stage: Stage, ramp: Percent) -> Position {
        Position::start().with_stage(stage).with_ramp(ramp)
    }

    #[test]
    fn one_key_that_is_written_to_both_sides_is_enough() {
        let half = Percent::new(50).unwrap();
        for (stage, primary) in [(Stage::Off, Side::Old), (Stage::RampDown, Side::New)] {
            let next = stage.next().unwrap();
            for stages in [[stage, next], [next, stage]] {
                let found = together(at(stage, half), stages);
                assert_eq!((found.route.primary, found.split), (primary, false), "{stage}");
                assert_eq!(found.route.mirror, Some(primary.other()), "{stage}");
            }
            let one = if stage.writes_both() { next } else { stage };
            assert_eq!(together(at(stage, half), [one, one]).route.mirror, None, "{stage}");
        }
    }

    #[test]
    fn keys_that_different_sides_answer_for_split_a_write() {
        let ramping = at(Stage::Shadow, Percent::new(50).unwrap());
        let found = together(ramping, [Stage::Live, Stage::Shadow]);
        assert_eq!((found.route.primary, found.split), (Side::Old, true));
        assert_eq!(found.route.mirror, Some(Side::New));
        assert!(!together(ramping, [Stage::Live, Stage::Live]).split);
    }

    #[test]
    fn without_keys_a_ramp_counts_for_all_of_them() {
        for stage in Stage::ALL {
            let still = without_keys(at(stage, Percent::ZERO));
            assert_eq!(still.route, Route::of(stage, Operation::Write), "{stage}");
            let ramping = without_keys(at(stage, Percent::new(1).unwrap())).route;
            let is_alone = stage == Stage::Complete;
            assert_eq!(ramping.mirror.is_none(), is_alone, "{stage}");
        }
    }
}
