//! Which calls are compared, and what a comparison means.

use crate::position::Percent;

/// Whether a call is compared. `draw` is any number that differs from call to call.
#[inline]
pub(crate) fn is_sampled(sample: Percent, draw: u64) -> bool {
    match sample {
        Percent::FULL => true,
        Percent::ZERO => false,
        share => {
            // Multiplying by 2^64 / φ spreads neighbouring numbers evenly (Knuth, TAOCP 6.4).
            let spread = draw.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let place = (u128::from(spread) * u128::from(Percent::SCALE)) >> 64;
            place < u128::from(share.basis_points())
        }
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
    fn sampling_keeps_its_share() {
        let sample = Percent::new(5).unwrap();
        let taken = (0..100_000_u64).filter(|draw| is_sampled(sample, draw * 37)).count();
        assert!((4_500..5_500).contains(&taken), "{taken}");
        assert!((0..100).all(|draw| is_sampled(Percent::FULL, draw)));
        assert!(!(0..100).any(|draw| is_sampled(Percent::ZERO, draw)));
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
