//! Lists whose order does not matter: elements find their counterparts, by a key in them or by being
//! the same.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::rc::Rc;
use std::sync::Arc;

use super::Comparison;
use super::cancel::{Left, cancel};
use super::pair::Pair;

/// What `unordered` and `key` apply to: lists, and `Option` and boxes of lists.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a list whose order could be disregarded",
    label = "not a list",
    note = "`unordered` and `key` are for `Vec`, arrays, slices, and `Option` and boxes of them; \
            maps and sets have no order in the first place"
)]
pub trait List {
    /// Its elements.
    type Item;

    /// The elements, where there is a list.
    fn as_list(&self) -> Option<&[Self::Item]>;
}

impl<T> List for [T] {
    type Item = T;

    fn as_list(&self) -> Option<&[T]> {
        Some(self)
    }
}

impl<T> List for Vec<T> {
    type Item = T;

    fn as_list(&self) -> Option<&[T]> {
        Some(self)
    }
}

impl<T, const N: usize> List for [T; N] {
    type Item = T;

    fn as_list(&self) -> Option<&[T]> {
        Some(self)
    }
}

impl<L: List> List for Option<L> {
    type Item = L::Item;

    fn as_list(&self) -> Option<&[L::Item]> {
        self.as_ref().and_then(L::as_list)
    }
}

macro_rules! pointers_to_lists {
    ($($pointer:ty)*) => {$(
        impl<L: List + ?Sized> List for $pointer {
            type Item = L::Item;

            fn as_list(&self) -> Option<&[L::Item]> {
                L::as_list(self)
            }
        }
    )*};
}

pointers_to_lists!(&L Box<L> Rc<L> Arc<L>);

/// The elements of both lists.
type Lists<'l, Old, New> = (&'l [<Old as List>::Item], &'l [<New as List>::Item]);

/// Both lists, where both are there; else says which one is missing.
fn both<'l, Old: List + ?Sized, New: List + ?Sized>(
    old: &'l Old,
    new: &'l New,
    at: &mut Comparison<'_>,
) -> Option<Lists<'l, Old, New>> {
    match (old.as_list(), new.as_list()) {
        (Some(_), None) => at.missing_in_new_unseen(),
        (None, Some(_)) => at.missing_in_old_unseen(),
        (old, new) => return old.zip(new),
    }
    None
}

/// Compares two lists in any order: elements that are the same cancel out. If one is left on both
/// sides, the two are compared in detail; otherwise those that are left are missing.
///
/// Takes up to `old × new` comparisons: long lists should be matched by a key.
pub fn unordered<Old, New, F>(old: &Old, new: &New, compare: F, at: &mut Comparison<'_>)
where
    Old: List + ?Sized,
    New: List + ?Sized,
    F: Fn(Pair<'_, Old::Item, New::Item>, &mut Comparison<'_>),
{
    let Some((old, new)) = both(old, new, at) else { return };
    let left = cancel(old.len(), new.len(), |i, j| is_same(&old[i], &new[j], &compare));
    match (left.old.as_slice(), left.new.as_slice()) {
        (&[i], &[j]) => compare(Pair::of(&old[i], &new[j]), &mut at.unnamed()),
        (left_old, left_new) => {
            for &i in left_old {
                compare(Pair { old: Some(&old[i]), new: None }, &mut at.unnamed());
            }
            for &j in left_new {
                compare(Pair { old: None, new: Some(&new[j]) }, &mut at.unnamed());
            }
        }
    }
}

/// Compares two lists by a key in their elements, in any order. Of elements that share a key, those
/// that are the same cancel out, and the rest are paired as they come.
pub fn keyed<'l, Old, New, K, F>(
    old: &'l Old,
    new: &'l New,
    label: &str,
    key_of_old: impl Fn(&'l Old::Item) -> K,
    key_of_new: impl Fn(&'l New::Item) -> K,
    compare: F,
    at: &mut Comparison<'_>,
) where
    Old: List + ?Sized,
    New: List + ?Sized,
    K: Eq + Hash + Debug,
    F: Fn(Pair<'_, Old::Item, New::Item>, &mut Comparison<'_>),
{
    let Some((old, new)) = both(old, new, at) else { return };
    let mut groups: HashMap<K, Group> = HashMap::with_capacity(old.len());
    for (i, element) in old.iter().enumerate() {
        groups.entry(key_of_old(element)).or_insert_with(|| Group::at(i)).old.push(i);
    }
    for (j, element) in new.iter().enumerate() {
        groups.entry(key_of_new(element)).or_insert_with(|| Group::at(old.len() + j)).new.push(j);
    }
    let mut groups: Vec<(K, Group)> = groups.into_iter().collect();
    groups.sort_unstable_by_key(|(_, group)| group.first);
    for (key, group) in groups {
        if at.is_decided() {
            return;
        }
        let is_same =
            |i: usize, j: usize| is_same(&old[group.old[i]], &new[group.new[j]], &compare);
        let left = match (group.old.len(), group.new.len()) {
            // Nothing to choose from.
            (0 | 1, 0 | 1) => Left::all(group.old.len(), group.new.len()),
            (old, new) => cancel(old, new, is_same),
        };
        for place in 0..left.old.len().max(left.new.len()) {
            let pair = Pair {
                old: left.old.get(place).map(|&i| &old[group.old[i]]),
                new: left.new.get(place).map(|&j| &new[group.new[j]]),
            };
            compare(pair, &mut at.labelled_key(label, &key));
        }
    }
}

/// The elements with one key.
struct Group {
    /// Where it was first seen, for the order of what is reported.
    first: usize,
    old: Vec<usize>,
    new: Vec<usize>,
}

impl Group {
    fn at(first: usize) -> Self {
        Self { first, old: Vec::new(), new: Vec::new() }
    }
}

fn is_same<Old, New>(
    old: &Old,
    new: &New,
    compare: &impl Fn(Pair<'_, Old, New>, &mut Comparison<'_>),
) -> bool {
    !Pair::of(old, new).differ(compare)
}

#[cfg(test)]
mod tests {
    use super::super::pair::by_fields;
    use super::*;
    use crate::compare::Differences;

    fn in_any_order<L: List>(old: L, new: L) -> String
    where
        L::Item: crate::compare::Compare,
    {
        Differences::collect(|at| {
            unordered(&old, &new, by_fields, &mut at.field("list").reveal());
        })
        .to_string()
    }

    #[test]
    fn the_order_does_not_matter() {
        assert_eq!(in_any_order(vec![1, 2, 3], vec![3, 1, 2]), "");
        assert_eq!(in_any_order(["a", "a", "b"], ["a", "b", "a"]), "");
        assert_eq!(in_any_order(vec![vec![1.0, f64::NAN]], vec![vec![1.0, f64::NAN]]), "");
        assert_eq!(in_any_order(None::<Vec<u8>>, None), "");
    }

    #[test]
    fn what_is_left_is_missing_or_a_pair() {
        assert_eq!(in_any_order(vec![1, 2], vec![2, 3]), "list[…]: 1 in old, 3 in new");
        assert_eq!(in_any_order(vec![1, 1], vec![1]), "list[…]: 1 in old, missing in new");
        assert_eq!(
            in_any_order(vec![1, 2], vec![3]),
            "list[…]: 1 in old, missing in new\nlist[…]: 2 in old, missing in new\n\
             list[…]: missing in old, 3 in new"
        );
        assert_eq!(in_any_order(Some(vec![1]), None), "list: missing in new");
        assert_eq!(in_any_order(None, Some([1])), "list: missing in old");
    }

    type Line = (u32, &'static str);

    fn by_key(old: &[Line], new: &[Line]) -> String {
        Differences::collect(|at| {
            let at = &mut at.field("lines").reveal();
            keyed(old, new, "id", |line| line.0, |line| line.0, by_fields, at);
        })
        .to_string()
    }

    #[test]
    fn elements_are_matched_by_key() {
        assert_eq!(by_key(&[(1, "a"), (2, "b")], &[(2, "b"), (1, "a")]), "");
        assert_eq!(
            by_key(&[(1, "a"), (2, "b"), (3, "c")], &[(4, "d"), (3, "C"), (1, "a")]),
            "lines[id=2]: (2, \"b\") in old, missing in new\n\
             lines[id=3].1: \"c\" in old, \"C\" in new\n\
             lines[id=4]: missing in old, (4, \"d\") in new"
        );
    }

    #[test]
    fn elements_that_share_a_key_cancel_out_first() {
        assert_eq!(by_key(&[(1, "a"), (1, "b")], &[(1, "b"), (1, "a")]), "");
        assert_eq!(
            by_key(&[(1, "a"), (1, "b"), (1, "c")], &[(1, "b"), (1, "d")]),
            "lines[id=1].1: \"a\" in old, \"d\" in new\n\
             lines[id=1]: (1, \"c\") in old, missing in new"
        );
    }
}
