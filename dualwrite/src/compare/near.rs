//! Floats that may differ by a tolerance, and what holds them.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::hash::{BuildHasher, Hash};

use super::lists::in_order;
use super::maps::by_key;
use super::pair::{Pair, by_fields};
use super::{Compare, Comparison};

/// By how much two floats may differ and still be the same: by either of these. Symmetric.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// As a difference.
    pub absolute: f64,
    /// As a share of the larger one.
    pub relative: f64,
}

impl Tolerance {
    fn covers(self, old: f64, new: f64) -> bool {
        // Infinity is only near itself, which `Compare` knows; here it would be near everything.
        let (difference, larger) = ((old - new).abs(), old.abs().max(new.abs()));
        larger.is_finite() && (difference <= self.absolute || difference <= self.relative * larger)
    }
}

/// What a tolerance applies to: floats, and `Option`, lists, boxes and maps of floats.
#[diagnostic::on_unimplemented(
    message = "a tolerance cannot be applied to `{Self}`",
    label = "not made of floats",
    note = "`tolerance` and `relative` are for `f32` and `f64`, and for `Option`, lists, boxes and maps of them",
    note = "compare other types by a function: `#[compare(with = …)]`"
)]
pub trait Near<New: ?Sized = Self>: Compare<New> {
    /// Reports where the two differ by more than the tolerance.
    fn near(&self, new: &New, tolerance: Tolerance, at: &mut Comparison<'_>);
}

/// Reports where the two differ by more than the tolerance.
#[inline]
pub fn near<Old, New>(old: &Old, new: &New, absolute: f64, relative: f64, at: &mut Comparison<'_>)
where
    Old: Near<New> + ?Sized,
    New: ?Sized,
{
    old.near(new, Tolerance { absolute, relative }, at);
}

/// How elements are compared inside a list or a map.
fn by_tolerance<Old: Near<New>, New>(
    tolerance: Tolerance,
) -> impl Fn(Pair<'_, Old, New>, &mut Comparison<'_>) {
    move |pair, at| match (pair.old, pair.new) {
        (Some(old), Some(new)) => old.near(new, tolerance, at),
        (old, new) => by_fields(Pair { old, new }, at),
    }
}

macro_rules! floats {
    ($($old:ty => $new:ty;)*) => {$(
        impl Near<$new> for $old {
            #[inline]
            fn near(&self, new: &$new, tolerance: Tolerance, at: &mut Comparison<'_>) {
                if !tolerance.covers(f64::from(*self), f64::from(*new)) {
                    self.compare(new, at);
                }
            }
        }
    )*};
}

floats! {
    f32 => f32;
    f64 => f64;
    f32 => f64;
    f64 => f32;
}

impl<T: Near<U>, U> Near<Option<U>> for Option<T> {
    fn near(&self, new: &Option<U>, tolerance: Tolerance, at: &mut Comparison<'_>) {
        by_tolerance(tolerance)(Pair { old: self.as_ref(), new: new.as_ref() }, at);
    }
}

impl<T: Near<U> + ?Sized, U: ?Sized> Near<Box<U>> for Box<T> {
    fn near(&self, new: &Box<U>, tolerance: Tolerance, at: &mut Comparison<'_>) {
        T::near(self, new, tolerance, at);
    }
}

impl<T: Near<U>, U> Near<[U]> for [T] {
    fn near(&self, new: &[U], tolerance: Tolerance, at: &mut Comparison<'_>) {
        in_order(self.iter(), new.iter(), by_tolerance(tolerance), at);
    }
}

impl<T: Near<U>, U> Near<Vec<U>> for Vec<T> {
    fn near(&self, new: &Vec<U>, tolerance: Tolerance, at: &mut Comparison<'_>) {
        in_order(self.iter(), new.iter(), by_tolerance(tolerance), at);
    }
}

impl<T: Near<U>, U, const N: usize> Near<[U; N]> for [T; N] {
    fn near(&self, new: &[U; N], tolerance: Tolerance, at: &mut Comparison<'_>) {
        in_order(self.iter(), new.iter(), by_tolerance(tolerance), at);
    }
}

impl<K, V, W, S, Z> Near<HashMap<K, W, Z>> for HashMap<K, V, S>
where
    K: Eq + Hash + Debug,
    V: Near<W>,
    S: BuildHasher,
    Z: BuildHasher,
{
    fn near(&self, new: &HashMap<K, W, Z>, tolerance: Tolerance, at: &mut Comparison<'_>) {
        by_key(self, new, by_tolerance(tolerance), at);
    }
}

impl<K: Ord + Debug, V: Near<W>, W> Near<BTreeMap<K, W>> for BTreeMap<K, V> {
    fn near(&self, new: &BTreeMap<K, W>, tolerance: Tolerance, at: &mut Comparison<'_>) {
        by_key(self, new, by_tolerance(tolerance), at);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Differences;
    use super::*;

    fn differ<O: Near<N>, N>(old: O, new: N, absolute: f64, relative: f64) -> bool {
        Differences::exist(|at| near(&old, &new, absolute, relative, at))
    }

    #[test]
    fn either_bound_is_enough() {
        assert!(!differ(1.0, 1.01, 0.02, 0.0) && differ(1.0, 1.03, 0.02, 0.0));
        assert!(!differ(1000.0, 1001.0, 0.0, 0.01) && differ(1.0, 2.0, 0.0, 0.01));
        assert!(!differ(1000.0, 1001.0, 0.5, 0.01) && !differ(0.0, 1e-9, 1e-6, 0.01));
        assert!(!differ(0.1_f32, 0.1_f64, 1e-6, 0.0) && !differ(0.1_f64, 0.1_f32, 1e-6, 0.0));
    }

    #[test]
    fn infinity_is_near_itself_only() {
        assert!(!differ(f64::INFINITY, f64::INFINITY, 1.0, 0.5));
        assert!(
            differ(f64::INFINITY, 1e300, 1e300, 0.5)
                && differ(f64::NEG_INFINITY, f64::INFINITY, 1.0, 0.5)
        );
        assert!(!differ(f64::NAN, f64::NAN, 1.0, 0.5) && differ(f64::NAN, 1.0, 1e300, 0.5));
        assert!(differ(f64::MAX, -f64::MAX, 1e300, 0.5));
    }

    #[test]
    fn what_holds_floats_hands_the_tolerance_on() {
        assert!(!differ(Some([vec![1.0]]), Some([vec![1.1]]), 0.2, 0.0));
        assert!(differ(Some([vec![1.0]]), Some([vec![1.3]]), 0.2, 0.0));
        assert!(
            differ(Some(1.0), None::<f64>, 9.0, 0.0) && differ(vec![1.0], vec![1.0, 1.0], 9.0, 0.0)
        );
        let (old, new) = (HashMap::from([("a", 1.0)]), HashMap::from([("a", 1.1)]));
        assert!(!differ(old.clone(), new.clone(), 0.2, 0.0) && differ(old, new, 0.05, 0.0));
        let (old, new) = (BTreeMap::from([(1, 1.0)]), BTreeMap::from([(2, 1.0)]));
        assert!(differ(old, new, 9.0, 0.0));
        assert!(!differ(Box::new(1.0), Box::new(1.1), 0.2, 0.0));
    }

    proptest! {
        #[test]
        fn near_is_reflexive_and_symmetric(
            old in prop::num::f64::ANY,
            new in prop::num::f64::ANY,
            absolute in 0.0..1e9_f64,
            relative in 0.0..1.0_f64,
        ) {
            prop_assert!(!differ(old, old, absolute, relative));
            prop_assert_eq!(differ(old, new, absolute, relative), differ(new, old, absolute, relative));
            // A tolerance only forgives.
            prop_assert!(differ(old, new, 0.0, 0.0) || !differ(old, new, absolute, relative));
        }
    }
}
