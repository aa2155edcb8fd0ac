//! What is generated raises no warning in a strict crate, and needs no prelude.

#![no_implicit_prelude]
#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications)]
#![deny(clippy::all, clippy::pedantic)]

/// A customer.
#[derive(::dualwrite::Dual)]
pub struct Customer {
    #[deprecated]
    #[dual(new = email_address)]
    email: ::std::string::String,
    email_address: ::core::option::Option<::std::string::String>,
}

/// Everything at once.
#[derive(::dualwrite::Dual)]
#[dual(table = "people", key = "id")]
pub struct Person {
    /// The key.
    pub id: i64,
    /// Old.
    #[deprecated]
    #[dual(new = age_new, forward = parse, backward = show, sql = "CAST(age AS INTEGER)")]
    pub age: ::std::string::String,
    /// New.
    pub age_new: ::core::option::Option<i64>,
    /// Old.
    #[dual(new = (first, last), forward = split, backward = join, present = non_default)]
    pub name: ::core::option::Option<::std::string::String>,
    /// New.
    pub first: ::std::string::String,
    /// New.
    pub last: ::std::string::String,
}

fn parse(age: &str) -> ::core::result::Result<i64, ::core::num::ParseIntError> {
    str::parse(age)
}

fn show(age: i64) -> ::std::string::String {
    ::std::string::ToString::to_string(&age)
}

fn split(name: &str) -> (::std::string::String, ::std::string::String) {
    (::core::convert::From::from(name), ::std::string::String::new())
}

fn join(first: &str, _: &str) -> ::std::string::String {
    ::core::convert::From::from(first)
}

mod inner {
    #[derive(::dualwrite::Dual)]
    pub(crate) struct Hidden {
        #[dual(new = new)]
        old: i64,
        new: i64,
    }

    pub(crate) fn hidden() -> Hidden {
        Hidden { old: 1, new: 2 }
    }
}

fn main() {
    let _ = inner::hidden();
    #[allow(deprecated)]
    let customer = Customer { email: ::std::string::String::new(), email_address: ::core::option::Option::None };
    let _ = customer.email_address();
}
