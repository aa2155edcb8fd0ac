//! What is generated raises no warning in a strict crate.

#![deny(warnings, missing_docs, missing_debug_implementations, unreachable_pub, unused_qualifications)]
#![deny(clippy::all, clippy::pedantic)]

use dualwrite::{Compare, compare::Differences};

/// A customer.
#[derive(Compare, Debug)]
pub struct Customer<'a, T> {
    #[deprecated]
    id: i64,
    #[compare(reveal, tolerance = 0.01)]
    balance: f64,
    #[compare(with = same)]
    name: &'a str,
    #[compare(unordered)]
    tags: Vec<T>,
    #[compare(key = (id, kind))]
    parts: Vec<inner::Part>,
    kind: Kind,
    only: Only,
    unit: Unit,
    money: Money,
}

/// A kind.
#[derive(Clone, Compare, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// One.
    One,
    /// Two.
    #[deprecated]
    Two(u8),
    /// Three.
    Three {
        /// A field.
        #[compare(ignore)]
        a: u8,
        /// Another.
        b: u8,
    },
}

/// Has one variant.
#[derive(Compare, Debug)]
pub enum Only {
    /// The variant.
    One {
        /// A field.
        id: u8,
    },
}

/// Has none.
#[derive(Compare, Debug)]
pub enum Never {}

/// Nothing.
#[derive(Compare, Debug)]
pub struct Unit;

/// Known to nobody.
#[derive(Debug, PartialEq)]
pub struct Money(u8);

/// Compared with another type.
#[derive(Compare, Debug)]
#[compare(other = Other, ignore_other = x)]
pub struct Some {
    id: u8,
}

/// That type.
#[derive(Debug)]
pub struct Other {
    id: u8,
    /// Not compared.
    pub x: u8,
}

/// Compared with an enum that has no more variants.
#[derive(Compare, Debug)]
#[compare(other = Kind)]
pub enum Few {
    /// One.
    One,
}

mod inner {
    #[derive(dualwrite::Compare, Debug)]
    pub(crate) struct Part {
        pub(super) id: u8,
        pub(super) kind: super::Kind,
    }
}

fn same(old: &str, new: &str) -> bool {
    old == new
}

#[allow(deprecated)]
fn main() {
    let customer = |id| Customer {
        id,
        balance: 0.1,
        name: "a",
        tags: vec![1],
        parts: vec![inner::Part { id: 1, kind: Kind::One }],
        kind: Kind::Three { a: 1, b: 1 },
        only: Only::One { id: 1 },
        unit: Unit,
        money: Money(1),
    };
    assert_eq!(Differences::between(&customer(1), &customer(2)).total(), 1);
    assert!(Differences::exist_between(&Some { id: 1 }, &Other { id: 2, x: 0 }));
    assert!(Differences::exist_between(&Few::One, &Kind::Two(1)));
}
