//! Maps and sets: by key, so the order never matters. A key is row contents as well, and shown only
//! where the map is revealed: `map["key"]`, else `map[…]`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::hash::{BuildHasher, Hash};

use super::pair::{Pair, by_fields};
use super::{Compare, Comparison};

/// What finds values by key. A set holds its keys themselves.
pub(super) trait Map {
    type Key: Debug;
    type Value;

    fn entries(&self) -> impl Iterator<Item = (&Self::Key, &Self::Value)>;
    fn find(&self, key: &Self::Key) -> Option<&Self::Value>;
}

impl<K: Eq + Hash + Debug, V, S: BuildHasher> Map for HashMap<K, V, S> {
    type Key = K;
    type Value = V;

    fn entries(&self) -> impl Iterator<Item = (&K, &V)> {
        self.iter()
    }

    fn find(&self, key: &K) -> Option<&V> {
        self.get(key)
    }
}

impl<K: Ord + Debug, V> Map for BTreeMap<K, V> {
    type Key = K;
    type Value = V;

    fn entries(&self) -> impl Iterator<Item = (&K, &V)> {
        self.iter()
    }

    fn find(&self, key: &K) -> Option<&V> {
        self.get(key)
    }
}

impl<K: Eq + Hash + Debug, S: BuildHasher> Map for HashSet<K, S> {
    type Key = K;
    type Value = K;

    fn entries(&self) -> impl Iterator<Item = (&K, &K)> {
        self.iter().map(|key| (key, key))
    }

    fn find(&self, key: &K) -> Option<&K> {
        self.get(key)
    }
}

impl<K: Ord + Debug> Map for BTreeSet<K> {
    type Key = K;
    type Value = K;

    fn entries(&self) -> impl Iterator<Item = (&K, &K)> {
        self.iter().map(|key| (key, key))
    }

    fn find(&self, key: &K) -> Option<&K> {
        self.get(key)
    }
}

/// Compares the values of each key.
pub(super) fn by_key<Old: Map, New: Map<Key = Old::Key>>(
    old: &Old,
    new: &New,
    compare: impl Fn(Pair<'_, Old::Value, New::Value>, &mut Comparison<'_>),
    at: &mut Comparison<'_>,
) {
    for (key, value) in old.entries() {
        if at.is_decided() {
            return;
        }
        compare(Pair { old: Some(value), new: new.find(key) }, &mut at.key(key));
    }
    for (key, value) in new.entries() {
        if at.is_decided() {
            return;
        }
        if old.find(key).is_none() {
            compare(Pair { old: None, new: Some(value) }, &mut at.key(key));
        }
    }
}

/// Compares elements of sets, which are the same if they are found.
fn by_presence<T: Debug>(pair: Pair<'_, T, T>, at: &mut Comparison<'_>) {
    match (pair.old, pair.new) {
        (Some(old), None) => at.missing_in_new(old),
        (None, Some(new)) => at.missing_in_old(new),
        (Some(_), Some(_)) | (None, None) => {}
    }
}

macro_rules! compared_by_key {
    ($([$($generics:tt)*] $old:ty => $new:ty, $by:ident;)*) => {$(
        impl<$($generics)*> Compare<$new> for $old {
            fn compare(&self, new: &$new, at: &mut Comparison<'_>) {
                by_key(self, new, $by, at);
            }
        }
    )*};
}

compared_by_key! {
    [K: Eq + Hash + Debug, V: Compare<W>, W, S: BuildHasher, Z: BuildHasher]
    HashMap<K, V, S> => HashMap<K, W, Z>, by_fields;
    [K: Ord + Debug, V: Compare<W>, W]
    BTreeMap<K, V> => BTreeMap<K, W>, by_fields;
    [K: Ord + Hash + Debug, V: Compare<W>, W, S: BuildHasher]
    HashMap<K, V, S> => BTreeMap<K, W>, by_fields;
    [K: Ord + Hash + Debug, V: Compare<W>, W, S: BuildHasher]
    BTreeMap<K, V> => HashMap<K, W, S>, by_fields;

    [K: Eq + Hash + Debug, S: BuildHasher, Z: BuildHasher]
    HashSet<K, S> => HashSet<K, Z>, by_presence;
    [K: Ord + Debug]
    BTreeSet<K> => BTreeSet<K>, by_presence;
    [K: Ord + Hash + Debug, S: BuildHasher]
    HashSet<K, S> => BTreeSet<K>, by_presence;
    [K: Ord + Hash + Debug, S: BuildHasher]
    BTreeSet<K> => HashSet<K, S>, by_presence;
}

#[cfg(test)]
mod tests {
    use super::super::Differences;
    use super::*;

    fn found<O: Compare<N>, N>(old: &O, new: &N) -> String {
        Differences::between(old, new).to_string()
    }

    fn revealed<O: Compare<N>, N>(old: &O, new: &N) -> String {
        Differences::collect(|at| old.compare(new, &mut at.field("map").reveal())).to_string()
    }

    #[test]
    fn keys_of_maps_are_row_contents() {
        let (old, new) =
            (BTreeMap::from([("a", 1), ("b", 2)]), BTreeMap::from([("a", 9), ("c", 3)]));
        assert_eq!(found(&old, &new), "[…]: different\n[…]: missing in new\n[…]: missing in old");
        assert_eq!(
            revealed(&old, &new),
            "map[\"a\"]: 1 in old, 9 in new\nmap[\"b\"]: 2 in old, missing in new\n\
             map[\"c\"]: missing in old, 3 in new"
        );
    }

    #[test]
    fn elements_of_sets_are_missing_or_not() {
        let (old, new) = (HashSet::from(["a", "b"]), HashSet::from(["b", "c"]));
        assert_eq!(found(&old, &new), "[…]: missing in new\n[…]: missing in old");
        assert_eq!(
            revealed(&old, &new),
            "map[\"a\"]: \"a\" in old, missing in new\nmap[\"c\"]: missing in old, \"c\" in new"
        );
    }

    #[test]
    fn hashed_and_sorted_are_the_same_kind() {
        let entries = [(1, "a"), (2, "b")];
        let (hashed, sorted) = (HashMap::from(entries), BTreeMap::from(entries));
        assert_eq!((found(&hashed, &sorted), found(&sorted, &hashed)), Default::default());
        let (hashed, sorted) = (HashSet::from([1, 2]), BTreeSet::from([1]));
        assert_eq!(found(&hashed, &sorted), "[…]: missing in new");
        assert_eq!(found(&sorted, &hashed), "[…]: missing in old");
    }
}
