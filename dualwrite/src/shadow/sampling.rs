//! Which calls are compared.

use crate::stages::position::Percent;

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
}
