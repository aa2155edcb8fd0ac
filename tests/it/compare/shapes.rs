//! Structs, enums, generics, and fields that have only `PartialEq`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dualwrite::{
    Compare,
    compare::{DifferenceKind, Differences},
    defaults::DIFFERENCES_MAX,
};
use uuid::Uuid;

use super::found;

#[derive(Clone, Compare)]
struct Customer {
    id: i64,
    name: String,
    address: Option<Address>,
    lines: Vec<Line>,
    labels: HashMap<String, Line>,
    r#type: Kind,
}

#[derive(Clone, Compare)]
struct Address {
    city: Cow<'static, str>,
}

#[derive(Clone, Compare)]
struct Line {
    price: f64,
    parts: Vec<(u8, Box<str>)>,
}

#[derive(Clone, Compare)]
enum Kind {
    Private,
    Company { number: u32, vat: Option<String> },
    Branch(Box<Kind>, u8),
}

fn customer() -> Customer {
    let line = Line { price: 1.5, parts: vec![(1, "a".into())] };
    Customer {
        id: 1,
        name: "Ada".into(),
        address: Some(Address { city: "Paris".into() }),
        lines: vec![line.clone(); 5],
        labels: HashMap::from([("first".into(), line)]),
        r#type: Kind::Company { number: 7, vat: None },
    }
}

/// What is found after a change to new, and the same seen from the other side.
#[track_caller]
fn changed(change: impl FnOnce(&mut Customer)) -> String {
    let (old, mut new) = (customer(), customer());
    change(&mut new);
    assert_eq!(Differences::between(&new, &old).total(), Differences::between(&old, &new).total());
    found(&old, &new)
}

#[test]
fn paths_lead_to_the_field() {
    assert_eq!(changed(|_| {}), "");
    assert_eq!(changed(|new| new.id = 2), "id: different");
    assert_eq!(changed(|new| new.lines[3].price = 2.0), "lines[3].price: different");
    assert_eq!(
        changed(|new| new.lines[3].parts[0].1 = "b".into()),
        "lines[3].parts[0].1: different"
    );
    assert_eq!(
        changed(|new| new.labels.get_mut("first").unwrap().price = 0.0),
        "labels[…].price: different"
    );
    let moved = Some(Address { city: "Lyon".into() });
    assert_eq!(changed(|new| new.address = moved), "address.city: different");
}

#[test]
fn what_one_side_lacks_is_missing_there() {
    assert_eq!(changed(|new| new.address = None), "address: missing in new");
    assert_eq!(changed(|new| new.labels.clear()), "labels[…]: missing in new");
    assert_eq!(changed(|new| drop(new.lines.pop())), "lines: length 5 in old, 4 in new");
    let (old, new) = (Customer { address: None, ..customer() }, customer());
    assert_eq!(found(&old, &new), "address: missing in old");
}

#[test]
fn variants_differ_before_their_fields() {
    assert_eq!(changed(|new| new.r#type = Kind::Private), "type: different variants");
    let company = |number| Kind::Company { number, vat: Some("1".into()) };
    assert_eq!(
        changed(|new| new.r#type = company(8)),
        "type.number: different\ntype.vat: missing in old"
    );
    let branch = |number| Kind::Branch(Box::new(company(number)), 0);
    assert_eq!(found(&branch(1), &branch(2)), "0.number: different");
    assert_eq!(
        found(&branch(1), &Kind::Branch(Box::new(Kind::Private), 1)),
        "0: different variants\n1: different"
    );
    assert_eq!(found(&Kind::Private, &Kind::Private), "");
}

#[test]
fn several_differences_come_in_the_order_of_the_fields() {
    let all = changed(|new| {
        (new.id, new.name) = (2, "Bob".into());
        new.lines[0].price = f64::NAN;
    });
    assert_eq!(all, "id: different\nname: different\nlines[0].price: different");
}

#[derive(Compare)]
struct Unit;

#[derive(Compare)]
struct Tuple(i32, Unit);

#[derive(Compare)]
struct Empty {}

#[derive(Compare)]
enum Never {}

#[derive(Compare)]
enum Only {
    One(u8),
}

#[test]
fn small_items() {
    assert_eq!(found(&Unit, &Unit), "");
    assert_eq!(found(&Empty {}, &Empty {}), "");
    assert_eq!(found(&Tuple(1, Unit), &Tuple(2, Unit)), "0: different");
    assert_eq!(found(&Only::One(1), &Only::One(2)), "0: different");
    assert_eq!(found(&None::<Never>, &None), "");
}

#[derive(Clone, Compare)]
struct Page<'a, T, K: Ord, const N: usize>
where
    T: Clone,
{
    title: &'a str,
    items: Vec<T>,
    by_key: BTreeMap<K, T>,
    grid: [T; N],
    next: Option<Box<Page<'a, T, K, N>>>,
    marker: std::marker::PhantomData<fn(T)>,
}

#[derive(Compare)]
struct Tree<T> {
    value: T,
    children: Vec<Self>,
    #[compare(unordered)]
    siblings: Vec<Tree<T>>,
}

#[derive(Compare)]
struct Projected<I: Iterator> {
    last: Option<I::Item>,
    inner: Vec<(I::Item, Projected<I>)>,
}

#[test]
fn parameters_and_recursion() {
    let page = |item: i32| Page::<'_, i32, u8, 1> {
        title: "a",
        items: vec![1],
        by_key: BTreeMap::new(),
        grid: [item],
        next: None,
        marker: std::marker::PhantomData,
    };
    let book = |item| Page { next: Some(Box::new(page(item))), ..page(1) };
    assert_eq!(found(&book(1), &book(1)), "");
    assert_eq!(found(&book(1), &book(2)), "next.grid[0]: different");

    let leaf = |value: u8| Tree { value, children: vec![], siblings: vec![] };
    let tree = |value| Tree {
        value: 0,
        children: vec![leaf(value)],
        siblings: vec![leaf(1), leaf(value)],
    };
    assert_eq!(
        found(&tree(1), &tree(2)),
        "children[0].value: different\nsiblings[…].value: different"
    );

    type Bytes = std::ops::Range<u8>;
    let projected = |last, inner| Projected::<Bytes> { last: Some(last), inner };
    let [old, new] = [1, 2].map(|last| projected(0, vec![(last, projected(last, vec![]))]));
    assert_eq!(found(&old, &new), "inner[0].0: different\ninner[0].1.last: different");
}

mod foreign {
    //! Types that know nothing of us.

    #[derive(Clone, Copy, PartialEq)]
    pub(super) struct Money(pub(super) i64);

    #[derive(PartialEq)]
    pub(super) enum Status<T> {
        Open(T),
    }
}

#[derive(Compare)]
struct Invoice {
    id: u8,
    total: foreign::Money,
    parts: Vec<foreign::Money>,
    tip: Option<foreign::Money>,
    status: foreign::Status<&'static str>,
}

#[test]
fn a_foreign_type_needs_only_to_be_comparable() {
    let invoice = |cents| Invoice {
        id: 1,
        total: foreign::Money(cents),
        parts: vec![foreign::Money(cents)],
        tip: Some(foreign::Money(cents)),
        status: foreign::Status::Open("a"),
    };
    assert_eq!(found(&invoice(1), &invoice(1)), "");
    assert_eq!(
        found(&invoice(1), &invoice(2)),
        "total: different\nparts: different\ntip: different"
    );
    let closed = Invoice { status: foreign::Status::Open("b"), id: 2, ..invoice(1) };
    assert_eq!(found(&invoice(1), &closed), "id: different\nstatus: different");
}

#[derive(Compare, Clone)]
struct Leaves {
    id: Uuid,
    at: SystemTime,
    lasts: Duration,
    ok: Result<(), String>,
    shared: Arc<str>,
    tags: HashSet<u8>,
    sorted: BTreeSet<u8>,
    payload: Vec<u8>,
    ratio: f32,
}

#[test]
fn every_kind_of_leaf() {
    let old = Leaves {
        id: Uuid::nil(),
        at: SystemTime::UNIX_EPOCH,
        lasts: Duration::ZERO,
        ok: Ok(()),
        shared: "a".into(),
        tags: HashSet::from([1]),
        sorted: BTreeSet::from([1]),
        payload: vec![1, 2],
        ratio: f32::NAN,
    };
    assert_eq!(found(&old, &old.clone()), "");
    let new = Leaves {
        id: Uuid::max(),
        at: SystemTime::UNIX_EPOCH + Duration::from_nanos(1),
        lasts: Duration::from_nanos(1),
        ok: Err("no".into()),
        shared: "b".into(),
        tags: HashSet::from([2]),
        sorted: BTreeSet::new(),
        payload: vec![1, 3],
        ratio: 0.0,
    };
    assert_eq!(
        found(&old, &new),
        "id: different\nat: different\nlasts: different\nok: different variants\nshared: different\n\
         tags[…]: missing in new\ntags[…]: missing in old\nsorted[…]: missing in new\n\
         payload: different\nratio: different"
    );
}

#[test]
fn what_is_kept_is_bounded_and_all_is_counted() {
    let found = Differences::between(&vec![Only::One(1); 250], &vec![Only::One(2); 250]);
    assert_eq!((found.kept().len(), found.total()), (DIFFERENCES_MAX, 250));
    assert_eq!(found.kept()[99].path, "[99].0");
    assert_eq!(found.kept()[99].kind, DifferenceKind::Different);
    assert!(found.to_string().ends_with("\nand 150 more"));
}

impl Clone for Only {
    fn clone(&self) -> Self {
        let Self::One(value) = self;
        Self::One(*value)
    }
}
