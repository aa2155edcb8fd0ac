//! No prelude, the library under another name, and every usual name meaning something else.

#![no_implicit_prelude]
#![allow(dead_code, non_camel_case_types, non_upper_case_globals)]

mod reexports {
    pub use ::dualwrite as migrations;
}

type Result<T> = ::core::result::Result<T, u8>;
type Option<T> = ::core::option::Option<T>;
struct Some;
struct Ok;
struct Err;
struct Box;
struct Vec;
struct String;
struct Pair;
struct List;
trait PartialEq {}
trait Debug {}
trait ByFields {}
trait ByEquality {}
trait ByNothing {}
mod core {}
mod std {}
mod dualwrite {}

/// Offers its methods on everything, as some crates do.
trait Everything {
    fn of(&self) {}
    fn compare(&self) {}
    fn differ(&self) {}
    fn field(&self) {}
    fn reveal(&self) {}
}
impl<T: ?::core::marker::Sized> Everything for T {}

#[derive(PartialEq_)]
struct Foreign(u8);
use ::core::cmp::PartialEq as PartialEq_;

#[derive(reexports::migrations::Compare)]
#[compare(crate = crate::reexports::migrations)]
struct Thing<new: reexports::migrations::Compare> {
    new: new,
    old: Option<Result<()>>,
    at: Foreign,
    r#type: Foreign,
    #[compare(unordered)]
    pair: ::std::vec::Vec<Foreign>,
    #[compare(key = 0)]
    element: ::std::vec::Vec<Foreign>,
    #[compare(with = same)]
    f: u8,
    #[compare(tolerance = 0.1, reveal)]
    near: f64,
}

#[derive(reexports::migrations::Compare)]
#[compare(crate = reexports::migrations, other = Choices)]
enum Choice {
    Some(u8),
    None,
    Ok { new: u8, old_0: u8 },
}

enum Choices {
    Some(u8),
    None,
    Ok { new: u8, old_0: u8 },
}

fn same(old: &u8, new: &u8) -> bool {
    old == new
}

fn main() {}
