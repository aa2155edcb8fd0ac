//! One test for each key of `#[compare(…)]`.

use std::collections::BTreeMap;

use dualwrite::{Compare, compare::Differences, defaults::SHOWN_CHARS_MAX};

use super::found;

#[derive(Compare, Default)]
struct Ignoring {
    id: u8,
    #[compare(ignore)]
    updated: Option<std::cell::Cell<fn()>>,
}

#[test]
fn ignore() {
    // Neither `Compare` nor `PartialEq` is asked of an ignored field.
    let new = Ignoring { updated: Some(std::cell::Cell::new(|| {})), id: 0 };
    assert!(new.updated.is_some());
    assert_eq!(found(&Ignoring::default(), &new), "");
    assert_eq!(found(&Ignoring::default(), &Ignoring { id: 1, ..new }), "id: different");
}

mod rules {
    pub(super) fn same_letters(old: &str, new: &str) -> bool {
        old.eq_ignore_ascii_case(new)
    }

    pub(super) fn same<T: PartialEq>(old: &T, new: &T) -> bool {
        old == new
    }
}

#[derive(Compare)]
struct With<T: PartialEq> {
    #[compare(with = rules::same_letters)]
    email: String,
    #[compare(with = rules::same::<T>)]
    value: T,
    #[compare(with = rules::same_letters, reveal)]
    country: &'static str,
}

#[test]
fn with() {
    let value = |email: &str, value: u8, country| With { email: email.into(), value, country };
    assert_eq!(found(&value("a@b", 1, "fr"), &value("A@B", 1, "FR")), "");
    assert_eq!(
        found(&value("a@b", 1, "fr"), &value("b@b", 2, "DE")),
        "email: different\nvalue: different\ncountry: \"fr\" in old, \"DE\" in new"
    );
}

#[derive(Compare)]
struct Measured {
    #[compare(tolerance = 0.01)]
    price: f64,
    #[compare(relative = 0.1, reveal)]
    distance: Option<f32>,
    #[compare(tolerance = 1, relative = 0.01)]
    series: Vec<f64>,
    #[compare(tolerance = 0.5)]
    by_name: BTreeMap<&'static str, f64>,
}

fn measured(by: f64) -> Measured {
    Measured {
        price: 1.0 + by / 1000.0,
        distance: Some(100.0 + by as f32),
        series: vec![1000.0 + by],
        by_name: BTreeMap::from([("a", by / 100.0)]),
    }
}

#[test]
fn tolerance_and_relative() {
    assert_eq!(found(&measured(0.0), &measured(9.0)), "");
    assert_eq!(found(&measured(0.0), &measured(f64::EPSILON)), "");
    assert_eq!(
        found(&measured(0.0), &measured(60.0)),
        "price: different\ndistance: 100.0 in old, 160.0 in new\nseries[0]: different\nby_name[…]: different"
    );
    assert_eq!(
        found(&measured(0.0), &Measured { distance: None, ..measured(0.0) }),
        "distance: 100.0 in old, missing in new"
    );
}

#[derive(Compare, PartialEq)]
struct Line {
    id: u32,
    amount: u8,
}

#[derive(PartialEq)]
struct Foreign(u8);

#[derive(Compare)]
struct Unordered {
    #[compare(unordered)]
    lines: Vec<Line>,
    #[compare(unordered, reveal)]
    tags: Option<Box<[&'static str]>>,
    #[compare(unordered)]
    foreign: [Foreign; 2],
}

fn line(id: u32, amount: u8) -> Line {
    Line { id, amount }
}

fn unordered(lines: [Line; 2], tags: Option<&[&'static str]>, foreign: [u8; 2]) -> Unordered {
    Unordered { lines: lines.into(), tags: tags.map(Into::into), foreign: foreign.map(Foreign) }
}

#[test]
fn unordered_lists() {
    let old = unordered([line(1, 1), line(2, 2)], Some(&["a", "b", "b"]), [1, 2]);
    assert_eq!(
        found(&old, &unordered([line(2, 2), line(1, 1)], Some(&["b", "a", "b"]), [2, 1])),
        ""
    );
    assert_eq!(
        found(&old, &unordered([line(2, 2), line(1, 9)], Some(&["b"]), [3, 4])),
        "lines[…].amount: different\n\
         tags[…]: \"a\" in old, missing in new\ntags[…]: \"b\" in old, missing in new\n\
         foreign[…]: missing in new\nforeign[…]: missing in new\n\
         foreign[…]: missing in old\nforeign[…]: missing in old"
    );
    assert_eq!(
        found(&old, &unordered([line(2, 2), line(1, 1)], None, [2, 1])),
        "tags: missing in new"
    );
}

#[derive(Compare)]
struct Keyed {
    #[compare(key = id, reveal)]
    lines: Vec<Line>,
    #[compare(key = (0.tenant, 1))]
    orders: Option<Vec<Order>>,
    #[compare(key = Order::number, reveal)]
    foreign: Vec<Order>,
}

#[derive(Clone, Debug, PartialEq)]
struct Order(Owner, u32, &'static str);

#[derive(Clone, Debug, PartialEq)]
struct Owner {
    tenant: String,
}

impl Order {
    fn number(&self) -> u32 {
        self.1
    }
}

fn order(tenant: &str, number: u32, text: &'static str) -> Order {
    Order(Owner { tenant: tenant.into() }, number, text)
}

fn keyed(lines: Vec<Line>, orders: Vec<Order>) -> Keyed {
    Keyed { lines, orders: Some(orders.clone()), foreign: orders }
}

#[test]
fn key() {
    let old = keyed(vec![line(1, 1), line(2, 2)], vec![order("a", 1, "x"), order("b", 2, "y")]);
    let same = keyed(vec![line(2, 2), line(1, 1)], vec![order("b", 2, "y"), order("a", 1, "x")]);
    assert_eq!(found(&old, &same), "");
    let new = keyed(vec![line(2, 9), line(3, 3)], vec![order("b", 2, "z"), order("b", 1, "x")]);
    assert_eq!(
        found(&old, &new),
        "lines[id=1]: … in old, missing in new\nlines[id=2].amount: different\n\
         lines[id=3]: missing in old, … in new\n\
         orders[…]: missing in new\norders[…]: different\norders[…]: missing in old\n\
         foreign[number=1]: Order(Owner { tenant: \"a\" }, 1, \"x\") in old, Order(Owner { tenant: \"b\" }, 1, \"x\") in new\n\
         foreign[number=2]: Order(Owner { tenant: \"b\" }, 2, \"y\") in old, Order(Owner { tenant: \"b\" }, 2, \"z\") in new"
    );
    let none = Keyed { orders: None, ..keyed(vec![line(1, 1), line(2, 2)], old.foreign.clone()) };
    assert_eq!(found(&old, &none), "orders: missing in new");
}

#[derive(Compare)]
struct Open {
    #[compare(reveal)]
    id: u32,
    secret: &'static str,
    #[compare(reveal)]
    parts: BTreeMap<&'static str, Vec<Option<u8>>>,
    #[compare(reveal)]
    status: Status,
    #[compare(reveal)]
    shut: Shut,
    #[compare(reveal)]
    maybe: Option<Status>,
    #[compare(reveal)]
    foreign: Shown,
}

#[derive(Compare)]
enum Status {
    Paid,
    Late { days: u32 },
}

#[derive(Compare)]
#[compare(redact)]
enum Shut {
    One,
    Two,
}

#[derive(Debug, PartialEq)]
struct Shown(u8);

#[derive(Compare)]
#[compare(reveal)]
enum Always {
    One(u8),
    Two,
    #[compare(rename = "third")]
    Three,
    Four {
        #[compare(redact)]
        secret: u8,
    },
}

#[derive(Compare)]
#[compare(reveal)]
struct Revealed {
    id: u8,
    #[compare(redact)]
    secret: u8,
    other: Redacted,
}

#[derive(Compare)]
struct Redacted {
    id: u8,
    always: Always,
    status: Status,
}

#[test]
fn reveal() {
    let old = Open {
        id: 1,
        secret: "a",
        parts: BTreeMap::from([("x", vec![Some(1), None])]),
        status: Status::Paid,
        shut: Shut::One,
        maybe: Some(Status::Paid),
        foreign: Shown(1),
    };
    let new = Open {
        id: 2,
        secret: "b",
        parts: BTreeMap::from([("x", vec![None, Some(2)]), ("y", vec![])]),
        status: Status::Late { days: 1 },
        shut: Shut::Two,
        maybe: None,
        foreign: Shown(2),
    };
    assert_eq!(
        found(&old, &new),
        "id: 1 in old, 2 in new\nsecret: different\n\
         parts[\"x\"][0]: 1 in old, missing in new\nparts[\"x\"][1]: missing in old, 2 in new\n\
         parts[\"y\"]: missing in old, … in new\n\
         status: Paid in old, Late in new\nshut: different variants\nmaybe: Paid in old, missing in new\n\
         foreign: Shown(1) in old, Shown(2) in new"
    );
}

#[test]
fn the_fields_of_a_struct_decide_for_themselves() {
    let late = |days| Status::Late { days };
    let open = |days| Open {
        id: 1,
        secret: "",
        parts: BTreeMap::new(),
        status: late(days),
        shut: Shut::One,
        maybe: Some(late(days)),
        foreign: Shown(1),
    };
    assert_eq!(found(&open(1), &open(2)), "status.days: different\nmaybe.days: different");
}

#[test]
fn redact() {
    let value =
        |id, always, status| Revealed { id, secret: id, other: Redacted { id, always, status } };
    assert_eq!(
        found(
            &value(1, Always::One(1), Status::Paid),
            &value(2, Always::Two, Status::Late { days: 1 })
        ),
        "id: 1 in old, 2 in new\nsecret: different\nother.id: different\n\
         other.always: One in old, Two in new\nother.status: different variants"
    );
    assert_eq!(found(&Always::One(1), &Always::One(2)), "0: 1 in old, 2 in new");
    assert_eq!(
        found(&Always::Four { secret: 1 }, &Always::Four { secret: 2 }),
        "secret: different"
    );
}

#[test]
fn what_is_revealed_is_bounded() {
    #[derive(Compare)]
    struct Note(#[compare(reveal)] String);

    let found = Differences::between(&Note("x".repeat(1_000_000)), &Note(String::new()));
    let old = found.kept()[0].old.as_ref().and_then(|shown| shown.text()).unwrap();
    assert_eq!(old.chars().count(), SHOWN_CHARS_MAX + 1);
}

#[derive(Compare)]
struct Renamed {
    #[compare(rename = "e-mail")]
    email: u8,
    #[compare(rename = "lines", key = id)]
    l: Vec<Line>,
}

#[test]
fn rename() {
    let renamed = |email| Renamed { email, l: vec![line(1, email)] };
    assert_eq!(found(&renamed(1), &renamed(1)), "");
    assert_eq!(found(&renamed(1), &renamed(2)), "e-mail: different\nlines[…].amount: different");
    assert_eq!(found(&Always::Three, &Always::Two), "third in old, Two in new");
}

mod elsewhere {
    pub(super) mod reexports {
        pub(in super::super) use dualwrite as migrations;
    }
}

#[derive(elsewhere::reexports::migrations::Compare)]
#[compare(crate = elsewhere::reexports::migrations)]
struct Reexported {
    id: u8,
}

#[test]
fn crate_path() {
    assert_eq!(found(&Reexported { id: 1 }, &Reexported { id: 1 }), "");
    assert_eq!(found(&Reexported { id: 1 }, &Reexported { id: 2 }), "id: different");
}
