//! What a comparison means.

use super::rules::SeenError;
use crate::observe::outcome::Outcome;

/// Which sides failed.
#[derive(Clone, Debug)]
pub(crate) enum Failures {
    Primary(SeenError),
    Mirror(SeenError),
    /// And whether they did alike.
    Both(SeenError, SeenError, bool),
}

/// What it means that sides failed. An error that is to be ignored decides, whichever side it is of.
pub(crate) fn failed(failures: Failures) -> Outcome {
    match failures {
        Failures::Primary(error) | Failures::Mirror(error) if error.ignored => Outcome::Ignored,
        Failures::Both(primary, mirror, _) if primary.ignored || mirror.ignored => Outcome::Ignored,
        Failures::Primary(_) => Outcome::PrimaryFailed,
        Failures::Mirror(_) => Outcome::MirrorFailed,
        Failures::Both(_, _, true) => Outcome::FailedAlike,
        Failures::Both(..) => Outcome::FailedDifferently,
    }
}

/// What reading both sides again says about a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recheck {
    /// They agree now: a write was in flight.
    Agreed,
    /// A side changed while we looked: look again.
    InFlux,
    /// They differ while nothing changes.
    Confirmed,
}

/// Judges a second look: the primary read before and after the mirror, then the mirror once more. The
/// primary alone may look as if it stood still: a row that is inserted and deleted again leaves it as it
/// was, and the mirror was read in between.
///
/// `agrees` compares an answer of the primary with one of the mirror, `stands` two of the same side.
pub(crate) fn recheck<T>(
    primary: [&T; 2],
    mirror: [&T; 2],
    agrees: impl Fn(&T, &T) -> bool,
    stands: impl Fn(&T, &T) -> bool,
) -> Recheck {
    let pairs = [(primary[0], mirror[0]), (primary[1], mirror[0]), (primary[1], mirror[1])];
    if pairs.into_iter().any(|(primary, mirror)| agrees(primary, mirror)) {
        Recheck::Agreed
    } else if stands(primary[0], primary[1]) && stands(mirror[0], mirror[1]) {
        Recheck::Confirmed
    } else {
        Recheck::InFlux
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_apart_by_side_and_kind() {
        let error = SeenError::new;
        let (one, two, busy) = (|| error(1, false), || error(2, false), || error(3, true));
        let expected = [
            (Failures::Primary(one()), Outcome::PrimaryFailed),
            (Failures::Mirror(one()), Outcome::MirrorFailed),
            (Failures::Both(one(), one(), true), Outcome::FailedAlike),
            (Failures::Both(one(), two(), false), Outcome::FailedDifferently),
            (Failures::Primary(busy()), Outcome::Ignored),
            (Failures::Mirror(busy()), Outcome::Ignored),
            (Failures::Both(one(), busy(), false), Outcome::Ignored),
            (Failures::Both(busy(), one(), false), Outcome::Ignored),
        ];
        for (failures, outcome) in expected {
            assert_eq!(failed(failures.clone()), outcome, "{failures:?}");
        }
    }

    fn recheck<T: PartialEq>(primary: [&T; 2], mirror: [&T; 2]) -> Recheck {
        super::recheck(primary, mirror, T::eq, T::eq)
    }

    #[test]
    fn only_a_difference_that_stands_still_is_confirmed() {
        assert_eq!(recheck([&1, &2], [&1, &2]), Recheck::Agreed);
        assert_eq!(recheck([&1, &2], [&2, &2]), Recheck::Agreed);
        assert_eq!(recheck([&1, &2], [&3, &3]), Recheck::InFlux);
        assert_eq!(recheck([&1, &1], [&3, &3]), Recheck::Confirmed);
    }

    #[test]
    fn old_and_new_may_be_compared_otherwise_than_two_answers_of_one_side() {
        let agrees = |old: &i32, new: &i32| old + 100 == *new;
        let judge = |mirror| super::recheck([&1, &1], mirror, agrees, i32::eq);
        assert_eq!(judge([&101, &101]), Recheck::Agreed);
        assert_eq!(judge([&1, &1]), Recheck::Confirmed);
    }

    #[test]
    fn a_row_that_comes_and_goes_between_two_looks_is_no_difference() {
        let (gone, here, again) = (None, Some(1), Some(2));
        assert_eq!(recheck([&gone, &gone], [&here, &gone]), Recheck::Agreed);
        assert_eq!(recheck([&gone, &gone], [&here, &again]), Recheck::InFlux);
    }
}
