//! What is generated allows nothing that a crate forbids.

#![forbid(unused, unused_imports, dead_code, unsafe_code, unused_qualifications, missing_docs)]
#![deny(warnings)]

/// An order.
#[derive(Clone, dualwrite::Compare)]
pub struct Order {
    /// Its number.
    pub id: i64,
    /// When it was read.
    #[compare(ignore)]
    pub read_at: u64,
    /// Its lines, in any order.
    #[compare(key = number)]
    pub lines: Vec<Line>,
}

/// A line of an order.
#[derive(Clone, dualwrite::Compare)]
pub struct Line {
    /// Its number.
    pub number: i64,
}

fn main() {}
