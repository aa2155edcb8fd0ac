//! Two types compared where they share fields.

use dualwrite::Compare;

use super::found;

#[derive(Compare)]
#[compare(other = NewCustomer, ignore_other = (created, updated))]
struct Customer {
    id: i32,
    #[compare(other = email_address, reveal)]
    email: &'static str,
    #[compare(ignore)]
    legacy_flags: u8,
    address: Address,
    #[compare(unordered)]
    tags: [&'static str; 2],
    #[compare(key = id)]
    lines: Vec<Line>,
    #[compare(with = same_years)]
    age: &'static str,
    #[compare(tolerance = 0.01)]
    balance: f32,
}

struct NewCustomer {
    id: i64,
    email_address: String,
    address: NewAddress<'static>,
    tags: Vec<String>,
    lines: Vec<NewLine>,
    age: u8,
    balance: f64,
    created: (),
    updated: (),
}

fn same_years(old: &str, new: &u8) -> bool {
    old.parse() == Ok(*new)
}

#[derive(Compare)]
#[compare(other = NewAddress<'_>)]
struct Address(&'static str);

struct NewAddress<'a>(&'a str);

#[derive(Compare)]
#[compare(other = NewLine, ignore_other = tax)]
struct Line {
    id: u32,
    price: u16,
}

struct NewLine {
    id: u32,
    price: u64,
    tax: u64,
}

fn old() -> Customer {
    Customer {
        id: 1,
        email: "a@b.c",
        legacy_flags: 3,
        address: Address("Paris"),
        tags: ["a", "b"],
        lines: vec![Line { id: 1, price: 10 }, Line { id: 2, price: 20 }],
        age: "36",
        balance: 0.1,
    }
}

fn new() -> NewCustomer {
    NewCustomer {
        id: 1,
        email_address: "a@b.c".into(),
        address: NewAddress("Paris"),
        tags: vec!["b".into(), "a".into()],
        lines: vec![NewLine { id: 2, price: 20, tax: 1 }, NewLine { id: 1, price: 10, tax: 2 }],
        age: 36,
        balance: 0.1,
        created: (),
        updated: (),
    }
}

#[test]
fn shared_fields_are_compared() {
    assert_eq!(found(&old(), &new()), "");
    let changed = NewCustomer {
        id: i64::from(u32::MAX),
        email_address: "d@e.f".into(),
        address: NewAddress("Lyon"),
        tags: vec!["a".into()],
        lines: vec![NewLine { id: 2, price: 21, tax: 1 }, NewLine { id: 1, price: 10, tax: 2 }],
        age: 37,
        balance: 0.2,
        ..new()
    };
    assert_eq!(
        found(&old(), &changed),
        "id: different\nemail: \"a@b.c\" in old, \"d@e.f\" in new\naddress.0: different\n\
         tags[…]: missing in new\nlines[…].price: different\nage: different\nbalance: different"
    );
    let (_, _) = (changed.created, changed.updated);
    assert_eq!(changed.lines[0].tax, 1);
    assert_eq!(old().legacy_flags, 3);
}

#[derive(Compare)]
#[compare(other = v2::Status::<T>, reveal)]
enum Status<T> {
    Open,
    Paid {
        amount: T,
        by: &'static str,
    },
    #[compare(ignore_other = 1)]
    Late(u8),
}

mod v2 {
    pub(super) enum Status<T> {
        Open,
        Paid { amount: T, by: String },
        Late(u32, ()),
        Lost,
    }
}

#[test]
fn enums_share_variants() {
    let paid = |amount| v2::Status::Paid { amount, by: "card".into() };
    assert_eq!(found(&Status::Open::<u8>, &v2::Status::Open), "");
    assert_eq!(found(&Status::Paid { amount: 1, by: "card" }, &paid(1)), "");
    assert_eq!(
        found(&Status::Paid { amount: 1, by: "cash" }, &paid(2)),
        "amount: 1 in old, 2 in new\nby: \"cash\" in old, \"card\" in new"
    );
    assert_eq!(found(&Status::Late::<u8>(1), &v2::Status::Late(2, ())), "0: 1 in old, 2 in new");
    assert_eq!(found(&Status::Late::<u8>(1), &paid(1)), "Late in old, Paid in new");
    assert_eq!(found(&Status::Open::<u8>, &v2::Status::Lost), "Open in old, … in new");
}
