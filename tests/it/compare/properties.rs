//! What holds of any values: a comparison is reflexive, finds a difference in both directions or in
//! none, and takes no notice of an order it was told to disregard.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dualwrite::{Compare, compare::Differences, defaults::DIFFERENCES_MAX};
use proptest::prelude::*;

#[derive(Clone, Compare, Debug, PartialEq)]
struct Record {
    id: u8,
    name: Option<String>,
    ratio: f64,
    #[compare(tolerance = 0.5, relative = 0.1)]
    near: Vec<f64>,
    choice: Choice,
    lines: Vec<Line>,
    by_name: BTreeMap<u8, Result<f32, bool>>,
    set: BTreeSet<u8>,
    #[compare(unordered)]
    bag: Vec<Line>,
    #[compare(key = id)]
    keyed: Vec<Line>,
    pair: (bool, [u8; 2]),
}

#[derive(Clone, Compare, Debug, PartialEq)]
enum Choice {
    None,
    One(u8),
    Many { values: Vec<Option<f32>> },
}

#[derive(Clone, Compare, Debug, PartialEq)]
struct Line {
    id: u8,
    #[compare(tolerance = 1.0)]
    price: f32,
}

/// Few values, so that equal ones are met; all kinds of floats.
fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        prop::num::f64::ANY,
        (-3..3).prop_map(f64::from),
        (-3..3).prop_map(|n| f64::from(n) / 4.0)
    ]
}

fn line() -> impl Strategy<Value = Line> {
    (0..3_u8, float()).prop_map(|(id, price)| Line { id, price: price as f32 })
}

fn lines() -> impl Strategy<Value = Vec<Line>> {
    prop::collection::vec(line(), 0..5)
}

fn choice() -> impl Strategy<Value = Choice> {
    let value = prop::option::of(float().prop_map(|value| value as f32));
    prop_oneof![
        Just(Choice::None),
        (0..2_u8).prop_map(Choice::One),
        prop::collection::vec(value, 0..3).prop_map(|values| Choice::Many { values }),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    let answer = prop_oneof![float().prop_map(|ok| Ok(ok as f32)), any::<bool>().prop_map(Err)];
    let first = (0..2_u8, prop::option::of("[ab]?"), float(), prop::collection::vec(float(), 0..3));
    let second = (choice(), lines(), prop::collection::btree_map(0..3_u8, answer, 0..3));
    let third =
        (prop::collection::btree_set(0..4_u8, 0..3), lines(), lines(), any::<(bool, [u8; 2])>());
    (first, second, third).prop_map(
        |((id, name, ratio, near), (choice, lines, by_name), (set, bag, keyed, pair))| Record {
            id,
            name,
            ratio,
            near,
            choice,
            lines,
            by_name,
            set,
            bag,
            keyed,
            pair,
        },
    )
}

/// Two records, often alike.
fn records() -> impl Strategy<Value = (Record, Record)> {
    prop_oneof![
        (record(), record()),
        (record(), record()).prop_map(|(old, new)| {
            let like_old = Record { near: new.near, bag: new.bag, keyed: new.keyed, ..old.clone() };
            (old, like_old)
        }),
        (record(), float()).prop_map(|(old, ratio)| {
            let new = Record { ratio, ..old.clone() };
            (old, new)
        }),
    ]
}

proptest! {
    #[test]
    fn a_value_never_differs_from_itself(value in record()) {
        prop_assert_eq!(Differences::between(&value, &value.clone()).to_string(), "");
        prop_assert!(!Differences::exist_between(&value, &value));
    }

    #[test]
    fn equal_values_never_differ((old, new) in records()) {
        if old == new {
            prop_assert!(Differences::between(&old, &new).is_empty());
        }
    }

    #[test]
    fn both_directions_agree((old, new) in records()) {
        let (there, back) = (Differences::between(&old, &new), Differences::between(&new, &old));
        prop_assert_eq!(there.is_empty(), back.is_empty(), "{}\n\n{}", there, back);
        prop_assert_eq!(there.is_empty(), !Differences::exist_between(&old, &new));
    }

    #[test]
    fn order_is_disregarded_where_asked(
        (old, shuffled) in lines().prop_flat_map(|old| (Just(old.clone()), Just(old).prop_shuffle())),
        (new, mixed) in lines().prop_flat_map(|new| (Just(new.clone()), Just(new).prop_shuffle())),
        record in record(),
    ) {
        let with = |lines: Vec<Line>| Record { bag: lines.clone(), keyed: lines, ..record.clone() };
        prop_assert_eq!(Differences::between(&with(old.clone()), &with(shuffled.clone())).to_string(), "");
        let before = Differences::between(&with(old), &with(new));
        let after = Differences::between(&with(shuffled), &with(mixed));
        prop_assert_eq!(before.is_empty(), after.is_empty());
    }

    #[test]
    fn the_order_of_a_map_never_matters(entries in prop::collection::vec((0..50_u8, float()), 0..20)) {
        let forward: HashMap<u8, f64> = entries.iter().copied().collect();
        let sorted: BTreeMap<u8, f64> = entries.into_iter().collect();
        let backward: HashMap<u8, f64> = sorted.iter().rev().map(|(key, value)| (*key, *value)).collect();
        prop_assert!(Differences::between(&forward, &backward).is_empty());
        prop_assert!(Differences::between(&forward, &sorted).is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded(old in prop::collection::vec(0..2_u8, 0..300), new in prop::collection::vec(0..2_u8, 0..300)) {
        let lines = |ids: Vec<u8>| ids.into_iter().map(|id| Line { id, price: 0.0 }).collect::<Vec<_>>();
        let found = Differences::between(&lines(old), &lines(new));
        prop_assert_eq!(found.kept().len() as u64, found.total().min(DIFFERENCES_MAX as u64));
        prop_assert_eq!(found.is_empty(), found.kept().is_empty());
    }

    #[test]
    fn nothing_is_shown_that_is_not_revealed((old, new) in records()) {
        let found = Differences::between(&old, &new);
        for difference in found.kept() {
            prop_assert!(difference.old.iter().chain(&difference.new).all(|shown| shown.text().is_none()));
            // Of the bracketed, positions alone are shown.
            let bracketed = difference.path.split('[').skip(1).filter_map(|part| part.split(']').next());
            let hidden = ["by_name", "set", "bag", "keyed"].iter().any(|name| difference.path.starts_with(name));
            for inside in bracketed {
                prop_assert!(if hidden { inside == "…" } else { inside.parse::<usize>().is_ok() }, "{}", difference);
            }
        }
    }
}
