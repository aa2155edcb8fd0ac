//! Names around the struct that generated code must not meet.

#![no_implicit_prelude]
#![allow(dead_code, non_camel_case_types)]

struct Option;
struct Result;
struct Some;
struct Vec;
struct str;
mod core {}
mod std {}
mod dualwrite {}

type Maybe<T> = ::core::option::Option<T>;

#[derive(::dualwrite::Dual)]
#[dual(table = "t", key = (id, tenant))]
struct Record {
    id: i64,
    tenant: i64,
    #[dual(new = route, present = is_there)]
    fields: ::std::string::String,
    route: ::core::option::Option<::std::string::String>,
    #[dual(new = (to, row), forward = split, backward = join)]
    into: ::std::string::String,
    to: ::core::option::Option<::std::string::String>,
    row: i64,
    #[dual(new = index, present = non_default)]
    value: i64,
    index: i64,
}

fn is_there(text: &::core::primitive::str) -> bool {
    !text.is_empty()
}

fn split(text: &::core::primitive::str) -> (::std::string::String, i64) {
    (::core::convert::From::from(text), 1)
}

fn join(text: &::core::primitive::str, _: i64) -> ::std::string::String {
    ::core::convert::From::from(text)
}

fn main() {
    use ::dualwrite::DualTable as _;
    let text = || -> ::std::string::String { ::core::convert::From::from("a") };
    let mut this = Record {
        id: 1,
        tenant: 2,
        fields: text(),
        route: Maybe::None,
        into: text(),
        to: Maybe::None,
        row: 0,
        value: 1,
        index: 0,
    };
    this.set_route("b");
    this.set_into(text(), 3).unwrap();
    ::std::assert!(!this.is_migrated());
    this.migrate().unwrap();
    ::std::assert_eq!(this.index, 1);
    let live = ::dualwrite::Route::of(::dualwrite::Stage::Live, ::dualwrite::Operation::Read);
    this.set_into_by(&live, text(), 4).unwrap();
    ::std::assert_eq!(this.row, 4);
    let _ = Record::copy_columns::<::sqlx::Sqlite>();
}
