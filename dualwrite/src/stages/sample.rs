//! The shares of the calls that operators want compared.

use serde::Serialize;

use crate::stages::position::Percent;

/// What operators want compared, in place of what is registered.
///
/// ```
/// fn show(migration: &dualwrite::operator::MigrationOverview) -> String {
///     migration.sample.reads.map_or("as registered".to_owned(), |share| share.to_string())
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SampleOverride {
    /// The share of reads; `None` is as registered.
    pub reads: Option<Percent>,
    /// The share of dual writes; `None` is as registered.
    pub writes: Option<Percent>,
}

/// In one word: sixteen bits for each share, all of them set where none is ordered.
const AS_REGISTERED: u16 = u16::MAX;

impl SampleOverride {
    #[inline]
    pub(crate) fn of_bits(bits: u32) -> Self {
        let share = |bits: u32| Percent::checked((bits & u32::from(u16::MAX)) as u16);
        Self { reads: share(bits), writes: share(bits >> 16) }
    }

    pub(crate) fn to_bits(self) -> u32 {
        let share =
            |share: Option<Percent>| u32::from(share.map_or(AS_REGISTERED, Percent::basis_points));
        share(self.reads) | share(self.writes) << 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ordered_fits_into_a_word() {
        for reads in [None, Some(Percent::ZERO), Some(Percent::FULL)] {
            for writes in [None, Percent::from_basis_points(1).ok()] {
                let ordered = SampleOverride { reads, writes };
                assert_eq!(SampleOverride::of_bits(ordered.to_bits()), ordered);
            }
        }
    }
}
