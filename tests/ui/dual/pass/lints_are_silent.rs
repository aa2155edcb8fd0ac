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
