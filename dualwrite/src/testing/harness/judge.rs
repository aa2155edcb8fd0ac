//! What it means where a side does not hold what was written. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use crate::stages::stage::Side;
use crate::testing::harness::bug::BugKind;

/// What was done to the sides since they were seen to be right.
#[derive(Debug)]
pub(super) enum Cause<'s, K, V> {
    /// A row was inserted or overwritten.
    Write(&'s K),
    /// A row was deleted.
    Delete(&'s K),
    /// A row was changed; what it would be after the same change once more.
    Change(&'s K, Option<V>),
    /// Everything was copied, while these keys were written.
    Copied(&'s BTreeSet<K>),
    /// The write of this key to the side failed, and the key was copied again.
    Repaired(&'s K),
    /// A write of this key failed, and nothing of it may be left.
    Undone(&'s K),
}

/// One side as it is, and as it should be.
pub(super) struct Seen<'s, K, V> {
    pub(super) side: Side,
    pub(super) expected: &'s BTreeMap<K, V>,
    pub(super) found: &'s [(K, V)],
    /// What it held before.
    pub(super) before: &'s BTreeMap<K, V>,
    /// Every key that was ever written.
    pub(super) ever: &'s BTreeSet<K>,
    pub(super) cause: &'s Cause<'s, K, V>,
}

#[derive(Debug)]
pub(super) struct Verdict<K> {
    pub(super) kind: BugKind,
    pub(super) key: K,
    pub(super) found: String,
    pub(super) next_step: String,
}

/// How a key differs.
enum Difference<'s, V> {
    Missing,
    /// It should not be there.
    Extra,
    Other(&'s V),
    Twice,
}

type Differences<'s, K, V> = BTreeMap<&'s K, Difference<'s, V>>;

/// Says what is wrong, if anything is.
pub(super) fn judge<K: Ord + Clone + Debug, V: PartialEq + Debug>(
    seen: &Seen<'_, K, V>,
) -> Option<Verdict<K>> {
    let differences = differences(seen);
    let is_twice = |difference: &Difference<'_, V>| matches!(difference, Difference::Twice);
    if let Some((key, _)) = differences.iter().find(|(_, difference)| is_twice(difference)) {
        return Some(seen.twice(key));
    }
    let is_strange = |(key, difference): &(&&K, &Difference<'_, V>)| {
        matches!(difference, Difference::Extra) && !seen.ever.contains(**key)
    };
    if let Some((key, _)) = differences.iter().find(is_strange) {
        return Some(seen.strange(key, &differences));
    }
    if let Some(key) = seen.named()
        && let Some((other, _)) = differences.iter().find(|(other, _)| **other != key)
    {
        return Some(seen.beside(key, other));
    }
    let (key, difference) = differences.into_iter().next()?;
    Some(match difference {
        Difference::Missing => seen.missing(key),
        Difference::Other(value) => seen.other(key, value),
        Difference::Extra | Difference::Twice => seen.extra(key),
    })
}

fn differences<'s, K: Ord, V: PartialEq>(seen: &Seen<'s, K, V>) -> Differences<'s, K, V> {
    let mut found: BTreeMap<&K, &V> = BTreeMap::new();
    let mut differences: Differences<'s, K, V> = BTreeMap::new();
    for (key, value) in seen.found {
        if found.insert(key, value).is_some() {
            differences.insert(key, Difference::Twice);
        } else if !seen.expected.contains_key(key) {
            differences.insert(key, Difference::Extra);
        }
    }
    for (key, expected) in seen.expected {
        match found.get(key) {
            None => differences.insert(key, Difference::Missing),
            Some(value) if *value != expected => {
                differences.entry(key).or_insert(Difference::Other(value));
                continue;
            }
            Some(_) => continue,
        };
    }
    differences
}

impl<K: Ord + Clone + Debug, V: PartialEq + Debug> Seen<'_, K, V> {
    /// The key that alone was written, if it was one.
    fn named(&self) -> Option<&K> {
        match self.cause {
            Cause::Write(key) | Cause::Delete(key) | Cause::Change(key, _) => Some(key),
            Cause::Repaired(key) | Cause::Undone(key) => Some(key),
            Cause::Copied(_) => None,
        }
    }

    fn verdict(&self, kind: BugKind, key: &K, found: String, next_step: String) -> Verdict<K> {
        Verdict { kind, key: key.clone(), found, next_step }
    }

    fn twice(&self, key: &K) -> Verdict<K> {
        let side = self.side;
        let found = format!("the {side} side has several rows of it");
        let next = format!(
            "does the {side} side overwrite the row of a key, and does `{side}_rows` list each row once?"
        );
        self.verdict(BugKind::WrongKey, key, found, next)
    }

    fn strange(&self, key: &K, all: &Differences<'_, K, V>) -> Verdict<K> {
        let side = self.side;
        let is_missing = |difference: &Difference<'_, V>| matches!(difference, Difference::Missing);
        let missing = all.iter().find(|(_, difference)| is_missing(difference));
        let lacks = missing.map(|(key, _)| format!(", and lacks key {key:?}")).unwrap_or_default();
        let found = format!("the {side} side has this row, which nobody wrote{lacks}");
        let who = match self.cause {
            Cause::Copied(_) | Cause::Repaired(_) => "the copy function and the write",
            _ => "the write",
        };
        let next = format!("which key do {who} of the {side} side store the row under?");
        self.verdict(BugKind::WrongKey, key, found, next)
    }

    fn beside(&self, key: &K, other: &K) -> Verdict<K> {
        let side = self.side;
        let found =
            format!("an operation with key {key:?} alone has changed it on the {side} side");
        let next = format!(
            "which key does the {side} side use in this operation, or in the copy of a key?"
        );
        self.verdict(BugKind::WrongKey, other, found, next)
    }

    fn missing(&self, key: &K) -> Verdict<K> {
        let side = self.side;
        let lacks = format!("the {side} side has no row of it");
        let new_row = !self.before.contains_key(key);
        let (kind, found, next) = match self.cause {
            Cause::Write(_) | Cause::Change(..) if new_row => (
                BugKind::UpdateOnlyWrite,
                format!("{lacks} after a write that the caller was told is done"),
                format!(
                    "does the write of the {side} side insert a row that is missing there (an upsert), and does your code pass on its errors?"
                ),
            ),
            Cause::Copied(touched) if touched.contains(key) => (
                BugKind::UpdateOnlyWrite,
                format!("{lacks} after a write beside the copy"),
                format!(
                    "does the write of the {side} side insert a row that is missing there (an upsert)?"
                ),
            ),
            Cause::Copied(_) => (
                BugKind::IncompleteCopy,
                format!("{lacks} after everything was copied"),
                "does a condition or a join of the copy function leave this row out?".to_owned(),
            ),
            Cause::Repaired(_) => (
                BugKind::WrongKey,
                format!(
                    "{lacks} after its write failed there and the marked keys were copied again"
                ),
                marking(side),
            ),
            _ => (
                BugKind::MissingWrite,
                format!("{lacks} any more"),
                format!("what does this operation delete on the {side} side?"),
            ),
        };
        self.verdict(kind, key, found, next)
    }

    fn extra(&self, key: &K) -> Verdict<K> {
        let side = self.side;
        let undone = matches!(self.cause, Cause::Undone(_));
        let (kind, found, next) = match undone {
            true => (
                BugKind::HiddenError,
                format!("the {side} side has a row of it from a write that failed"),
                "is everything of the write in the transaction that `begin` has answered with?"
                    .to_owned(),
            ),
            false => (
                BugKind::ForgottenDelete,
                format!("the {side} side still has the row that was deleted"),
                format!(
                    "does the delete of the {side} side run, and does the copy function delete keys that are gone?"
                ),
            ),
        };
        self.verdict(kind, key, found, next)
    }

    fn other(&self, key: &K, value: &V) -> Verdict<K> {
        let side = self.side;
        let expected = &self.expected[key];
        let holds = format!("the {side} side holds {value:?}, and {expected:?} was written");
        let is_as_before = self.before.get(key) == Some(value);
        let (kind, found, next) = match self.cause {
            Cause::Change(_, Some(twice)) if twice == value => (
                BugKind::DoubledWrite,
                format!("{holds}: as if the change was made twice"),
                "are old and new columns of one row, and is the statement run for each side? Write the row once: \
                 `Dual<Trait>::one_row`, or `columns(…)` of a write by closures"
                    .to_owned(),
            ),
            Cause::Copied(touched) if is_as_before && !touched.contains(key) => (
                BugKind::InsertOnlyCopy,
                format!("{holds}: the copy left the older row as it was"),
                "does the copy function overwrite a row that is there (an upsert, not `DO NOTHING` or `INSERT IGNORE`)?"
                    .to_owned(),
            ),
            Cause::Repaired(_) if is_as_before => (
                BugKind::WrongKey,
                format!("{holds}: its write failed there, and copying the marked keys again did not bring it"),
                marking(side),
            ),
            Cause::Undone(_) => (
                BugKind::HiddenError,
                format!("{holds}, for the last write of it failed"),
                "is everything of the write in the transaction that `begin` has answered with?".to_owned(),
            ),
            _ if is_as_before => (
                BugKind::MissingWrite,
                format!("{holds}: the operation left the row as it was"),
                format!("does the operation run on the {side} side, and with the key of the row?"),
            ),
            _ => (
                BugKind::LossyConversion,
                holds,
                format!(
                    "what do the conversion of the write, that of the copy function and `{side}_rows` make of this value?"
                ),
            ),
        };
        self.verdict(kind, key, found, next)
    }
}

fn marking(side: Side) -> String {
    format!(
        "is the `key = …` of this method the key of the row, and does the copy function write the {side} side where \
         it has an older row or none?"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rows = Vec<(i64, &'static str)>;

    fn judged(
        cause: &Cause<'_, i64, &'static str>,
        expected: Rows,
        before: Rows,
        found: Rows,
    ) -> Option<BugKind> {
        let (expected, before) = (expected.into_iter().collect(), before.into_iter().collect());
        let ever = BTreeSet::from([1, 2, 3]);
        let (side, found, expected, before, ever) = (Side::New, &*found, &expected, &before, &ever);
        judge(&Seen { side, expected, found, before, ever, cause }).map(|verdict| verdict.kind)
    }

    #[test]
    fn what_is_right_is_no_bug() {
        let rows = || vec![(1, "a"), (2, "b")];
        assert_eq!(judged(&Cause::Write(&1), rows(), vec![], rows()), None);
    }

    #[test]
    fn a_difference_after_one_operation_is_named_by_it() {
        let all = vec![(1, "a"), (2, "b")];
        for (cause, before, found, kind) in [
            (Cause::Write(&1), vec![(2, "b")], vec![(2, "b")], BugKind::UpdateOnlyWrite),
            (Cause::Write(&1), all.clone(), vec![(1, "A"), (2, "b")], BugKind::LossyConversion),
            (Cause::Write(&1), vec![(1, "x")], vec![(1, "x"), (2, "b")], BugKind::MissingWrite),
            (Cause::Write(&1), all.clone(), vec![(1, "a"), (2, "c")], BugKind::WrongKey),
            (Cause::Write(&1), all.clone(), vec![(1, "a"), (2, "b"), (9, "b")], BugKind::WrongKey),
            (Cause::Write(&1), all.clone(), vec![(1, "a"), (2, "b"), (1, "b")], BugKind::WrongKey),
            (
                Cause::Delete(&3),
                all.clone(),
                vec![(1, "a"), (2, "b"), (3, "c")],
                BugKind::ForgottenDelete,
            ),
            (
                Cause::Change(&1, Some("aa")),
                all.clone(),
                vec![(1, "aa"), (2, "b")],
                BugKind::DoubledWrite,
            ),
            (Cause::Repaired(&1), vec![(1, "x")], vec![(1, "x"), (2, "b")], BugKind::WrongKey),
            (Cause::Undone(&1), vec![(1, "a")], vec![(1, "x"), (2, "b")], BugKind::HiddenError),
        ] {
            let shown = format!("{cause:?}");
            assert_eq!(judged(&cause, all.clone(), before, found), Some(kind), "{shown}");
        }
    }

    #[test]
    fn a_difference_after_a_copy_is_the_copys() {
        let all = vec![(1, "a"), (2, "b")];
        let touched = BTreeSet::from([2]);
        for (before, found, kind) in [
            (vec![(1, "x")], vec![(1, "x"), (2, "b")], BugKind::InsertOnlyCopy),
            (vec![], vec![(1, "A"), (2, "b")], BugKind::LossyConversion),
            (vec![], vec![(2, "b")], BugKind::IncompleteCopy),
            (vec![], vec![(1, "a")], BugKind::UpdateOnlyWrite),
            (vec![], vec![(1, "a"), (2, "b"), (3, "c")], BugKind::ForgottenDelete),
            (vec![], vec![(2, "b"), (101, "a")], BugKind::WrongKey),
        ] {
            let shown = format!("{found:?}");
            assert_eq!(
                judged(&Cause::Copied(&touched), all.clone(), before, found),
                Some(kind),
                "{shown}"
            );
        }
    }
}
