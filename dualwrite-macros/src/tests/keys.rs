//! `#[derive(Key)]`: what comes out, and what it says about each mistake.

use super::check_refused;
use super::snapshots::check;

#[test]
fn newtype() {
    check("key/newtype.rs", "#[derive(Key)] struct CustomerId(i64);");
}

#[test]
fn columns() {
    check(
        "key/columns.rs",
        "#[derive(Key)] #[key(crate = migrations)] struct ItemKey<T> where T: Clone { tenant: T, item: i64 }",
    );
}

#[test]
fn refused() {
    let refused = |source: &str, message: &str| {
        check_refused(&format!("#[derive(Key)] {source}"), &[message]);
    };
    let no_struct = "`Key` needs a struct, whose fields are the columns of the key";
    refused("enum Id { A(i64) }", no_struct);
    refused("union Id { a: i64 }", no_struct);
    refused("struct Id;", "a key has one column, or up to 4: this has 0 fields");
    refused("struct Id(A, B, C, D, E);", "a key has one column, or up to 4: this has 5 fields");
    refused("#[key(by = a)] struct Id(A);", "unknown key `by`; `#[key]` takes `crate`");
}
