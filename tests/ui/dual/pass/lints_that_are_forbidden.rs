//! What is generated allows nothing that a crate forbids.

#![forbid(unused, unused_imports, dead_code, unsafe_code, unused_qualifications, missing_docs)]
#![deny(warnings)]

/// A customer: most of its methods are never called.
#[derive(dualwrite::Dual, dualwrite::Compare)]
struct Customer {
    #[dual(new = email_address)]
    email: String,
    #[compare(ignore)]
    email_address: Option<String>,
}

fn main() {
    let mut customer = Customer { email: "a@b.c".to_owned(), email_address: None };
    customer.set_email_address("d@e.f");
    assert_eq!((customer.email_address(), customer.email.as_str()), ("d@e.f", "d@e.f"));
}
