//! Lists in order: element by element, then the lengths.

use std::collections::VecDeque;

use super::pair::{Pair, by_fields};
use super::{Compare, Comparison};

/// Compares what both lists have, and says once where one is longer.
#[inline]
pub(super) fn in_order<'e, Old: 'e, New: 'e>(
    old: impl ExactSizeIterator<Item = &'e Old>,
    new: impl ExactSizeIterator<Item = &'e New>,
    compare: impl Fn(Pair<'_, Old, New>, &mut Comparison<'_>),
    at: &mut Comparison<'_>,
) {
    if old.len() != new.len() {
        at.lengths_differ(old.len(), new.len());
    }
    for (index, (old, new)) in old.zip(new).enumerate() {
        if at.is_decided() {
            return;
        }
        compare(Pair::of(old, new), &mut at.index(index));
    }
}

impl<T: Compare<U>, U> Compare<[U]> for [T] {
    #[inline]
    fn compare(&self, new: &[U], at: &mut Comparison<'_>) {
        T::compare_lists(self, new, at);
    }
}

impl<T: Compare<U>, U> Compare<Vec<U>> for Vec<T> {
    #[inline]
    fn compare(&self, new: &Vec<U>, at: &mut Comparison<'_>) {
        T::compare_lists(self, new, at);
    }
}

impl<T: Compare<U>, U, const N: usize> Compare<[U; N]> for [T; N] {
    #[inline]
    fn compare(&self, new: &[U; N], at: &mut Comparison<'_>) {
        T::compare_lists(self, new, at);
    }
}

impl<T: Compare<U>, U> Compare<VecDeque<U>> for VecDeque<T> {
    #[inline]
    fn compare(&self, new: &VecDeque<U>, at: &mut Comparison<'_>) {
        in_order(self.iter(), new.iter(), by_fields, at);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Differences;
    use super::*;

    #[test]
    fn the_common_part_is_compared_and_the_length_said_once() {
        let found = Differences::between(&vec![1, 2, 3], &vec![1, 0, 3, 4, 5]);
        assert_eq!(found.to_string(), "length 3 in old, 5 in new\n[1]: different");
        let found = Differences::between(&VecDeque::from([1]), &VecDeque::from([2]));
        assert_eq!(found.to_string(), "[0]: different");
        assert!(Differences::between(&[[1, 2], [3, 4]], &[[1, 2], [3, 4]]).is_empty());
    }
}
