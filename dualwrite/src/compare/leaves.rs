//! Values without parts: numbers, times, identifiers. Integers also with wider ones.

use std::fmt::{self, Debug};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZero;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::{Compare, Comparison};

/// The two methods that show a value as `{:?}` does.
macro_rules! shown_by_debug {
    ($new:ty) => {
        fn show_old(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            Debug::fmt(self, f)
        }

        fn show_new(new: &$new, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            Debug::fmt(new, f)
        }
    };
}
pub(super) use shown_by_debug;

macro_rules! leaves {
    ($($ty:ty)*) => {$(
        impl Compare for $ty {
            #[inline]
            fn compare(&self, new: &Self, at: &mut Comparison<'_>) {
                if self != new {
                    at.differ(self, new);
                }
            }

            shown_by_debug!(Self);
        }
    )*};
}

leaves! {
    () bool char
    i8 i16 i32 i64 i128 isize u16 u32 u64 u128 usize
    NonZero<i8> NonZero<i16> NonZero<i32> NonZero<i64> NonZero<i128> NonZero<isize>
    NonZero<u8> NonZero<u16> NonZero<u32> NonZero<u64> NonZero<u128> NonZero<usize>
    Duration SystemTime Uuid IpAddr Ipv4Addr Ipv6Addr
}

impl Compare for u8 {
    #[inline]
    fn compare(&self, new: &Self, at: &mut Comparison<'_>) {
        if self != new {
            at.differ(self, new);
        }
    }

    shown_by_debug!(Self);

    fn compare_lists(old: &[Self], new: &[Self], at: &mut Comparison<'_>) {
        if old != new {
            at.differ(&old, &new);
        }
    }
}

/// Exact, except that `NaN` is the same as `NaN`, and `0.0` as `-0.0`.
macro_rules! floats {
    ($($ty:ty)*) => {$(
        impl Compare for $ty {
            #[inline]
            fn compare(&self, new: &Self, at: &mut Comparison<'_>) {
                if self != new && !(self.is_nan() && new.is_nan()) {
                    at.differ(self, new);
                }
            }

            shown_by_debug!(Self);
        }
    )*};
}

floats!(f32 f64);

/// A number that was given a wider type is still the same number, in both directions.
macro_rules! widened {
    ($($narrow:ty => $($wide:ty)*;)*) => {$($(
        impl Compare<$wide> for $narrow {
            #[inline]
            fn compare(&self, new: &$wide, at: &mut Comparison<'_>) {
                <$wide>::from(*self).compare(new, at);
            }

            shown_by_debug!($wide);
        }

        impl Compare<$narrow> for $wide {
            #[inline]
            fn compare(&self, new: &$narrow, at: &mut Comparison<'_>) {
                self.compare(&<$wide>::from(*new), at);
            }

            shown_by_debug!($narrow);
        }
    )*)*};
}

widened! {
    u8 => u16 u32 u64 u128 usize i16 i32 i64 i128 isize;
    u16 => u32 u64 u128 usize i32 i64 i128;
    u32 => u64 u128 i64 i128;
    u64 => u128 i128;
    i8 => i16 i32 i64 i128 isize;
    i16 => i32 i64 i128 isize;
    i32 => i64 i128;
    i64 => i128;
    f32 => f64;
}

#[cfg(test)]
mod tests {
    use super::super::Differences;
    use super::*;

    fn differ<O: Compare<N>, N>(old: O, new: N) -> bool {
        Differences::exist_between(&old, &new)
    }

    #[test]
    fn floats_are_exact_but_reflexive() {
        assert!(!differ(f64::NAN, -f64::NAN) && !differ(0.0_f32, -0.0));
        assert!(!differ(f64::INFINITY, f64::INFINITY) && differ(f64::INFINITY, f64::NEG_INFINITY));
        assert!(differ(0.1 + 0.2, 0.3) && differ(f64::NAN, 0.0) && differ(0.0, f32::NAN));
    }

    #[test]
    fn wider_numbers_are_the_same_numbers() {
        assert!(
            !differ(7_i32, 7_i64) && !differ(7_i64, 7_i32) && differ(-1_i32, i64::from(u32::MAX))
        );
        assert!(
            !differ(0.5_f32, 0.5_f64) && differ(0.1_f32, 0.1_f64) && !differ(f32::NAN, f64::NAN)
        );
    }

    #[test]
    fn bytes_are_one_value() {
        let found = Differences::collect(|at| {
            vec![1_u8, 2].compare(&vec![1_u8, 3, 4], &mut at.field("payload").reveal());
        });
        assert_eq!(found.to_string(), "payload: [1, 2] in old, [1, 3, 4] in new");
    }

    #[test]
    fn other_leaves() {
        assert!(!differ((), ()) && differ('a', 'b') && differ(true, false));
        assert!(differ(Uuid::nil(), Uuid::max()) && !differ(Uuid::nil(), Uuid::nil()));
        let moment = SystemTime::UNIX_EPOCH;
        assert!(differ(moment, moment + Duration::from_nanos(1)) && !differ(moment, moment));
        assert!(differ(NonZero::<u8>::MIN, NonZero::<u8>::MAX));
    }
}
