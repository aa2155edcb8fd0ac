//! What `#[derive(Compare)]` says about each mistake.

use super::check_refused;

fn check(source: &str, expected: &[&str]) {
    check_refused(&format!("#[derive(Compare)] {source}"), expected);
}

#[test]
fn items() {
    check(
        "union Bits { a: u8 }",
        &["a union does not say which of its fields holds: `Compare` needs a struct or an enum"],
    );
    check(
        "struct S { #[compare(ignore)] a: A, #[compare(ignore)] b: A }",
        &["every field is ignored: nothing would ever differ"],
    );
    check(
        "#[compare(reveal, redact, othr = Other, with = f)] #[compare(reveal)] struct S;",
        &[
            "unknown key `othr`, did you mean `other`? `#[compare]` on a struct takes `other`, `ignore_other`, `reveal`, `redact`, `crate`",
            "unknown key `with`; `#[compare]` on a struct takes `other`, `ignore_other`, `reveal`, `redact`, `crate`",
            "`reveal` is given twice: keep one",
            "`reveal` and `redact` exclude each other: keep one",
        ],
    );
    check(
        "#[compare(ignore_other = a, crate = \"migrations\")] enum S { A }",
        &[
            "unknown key `ignore_other`; `#[compare]` on an enum takes `other`, `reveal`, `redact`, `crate`",
            "`crate` takes a path: write `crate = my_crate::dualwrite`, without quotes",
        ],
    );
    check(
        "#[compare] #[compare()] #[compare = reveal] struct S { #[compare] a: A }",
        &[
            "an empty `#[compare]` says nothing: drop it, or write a setting in parentheses",
            "an empty `#[compare]` says nothing: drop it, or write a setting in parentheses",
            "settings stand in parentheses, not after `=`; `#[compare]` on a struct takes `other`, `ignore_other`, `reveal`, `redact`, `crate`",
            "an empty `#[compare]` says nothing: drop it, or write a setting in parentheses",
        ],
    );
}

#[test]
fn keys_of_fields() {
    const TAKES: &str = "`#[compare]` on a field takes `ignore`, `with`, `tolerance`, `relative`, `unordered`, `key`, `reveal`, `redact`, `rename`, `other`";
    check(
        "struct S {
            #[compare(ignroe)] a: A,
            #[compare(skip)] b: A,
            #[compare(reveal, reveal)] c: A,
            #[compare(unordered)] #[compare(unordered)] d: A,
            #[compare(ignore = true)] e: A,
            #[compare(crate = x)] f: A,
        }",
        &[
            &format!("unknown key `ignroe`, did you mean `ignore`? {TAKES}"),
            &format!("unknown key `skip`; {TAKES}"),
            "`reveal` is given twice: keep one",
            "`unordered` is given twice: keep one",
            "`ignore` takes no value: write `ignore` alone",
            &format!("unknown key `crate`; {TAKES}"),
        ],
    );
}

#[test]
fn keys_that_exclude_each_other() {
    check(
        "struct S {
            #[compare(ignore, reveal, rename = \"a\")] a: A,
            #[compare(with = f, tolerance = 0.1, relative = 0.1, unordered, key = id)] b: A,
            #[compare(unordered, key = id)] c: A,
            #[compare(tolerance = 0.1, relative = 0.1, unordered)] d: A,
            #[compare(key = id, relative = 0.1)] e: A,
            #[compare(redact, reveal)] f: A,
            g: A,
        }",
        &[
            "`ignore` leaves this field out: drop `reveal`, or `ignore`",
            "`ignore` leaves this field out: drop `rename`, or `ignore`",
            "`with` decides alone: drop `tolerance`, or see to it in the function",
            "`with` decides alone: drop `relative`, or see to it in the function",
            "`with` decides alone: drop `unordered`, or see to it in the function",
            "`with` decides alone: drop `key`, or see to it in the function",
            "`key` matches elements in any order: drop `unordered`",
            "`tolerance` is for floats and `unordered` for lists: for both write a function, `with = …`",
            "`relative` is for floats and `unordered` for lists: for both write a function, `with = …`",
            "`relative` is for floats and `key` for lists: for both write a function, `with = …`",
            "`reveal` and `redact` exclude each other: keep one",
        ],
    );
}

#[test]
fn values() {
    const WITH: &str = "`with` takes a function `fn(&Old, &New) -> bool` by name: write `with = is_same`, without quotes";
    const TOLERANCE: &str = "`tolerance` takes a number above zero: write `tolerance = 0.01`";
    const RELATIVE: &str =
        "`relative` takes a share of the larger value, between 0 and 1: write `relative = 0.001`";
    const KEY: &str = "`key` takes a field of the elements, several as `(tenant, id)`, or a function such as `Line::id`";
    const RENAME: &str = "`rename` takes a string: write `rename = \"name\"`";
    const NAME: &str =
        "a name stands inside paths: write at least one character, and no space, `.`, `[` or `]`";
    check(
        "struct S {
            #[compare(with)] a: A,
            #[compare(with = \"f\")] b: A,
            #[compare(with = |a, b| a == b)] c: A,
            #[compare(tolerance)] d: A,
            #[compare(tolerance = -0.1)] e: A,
            #[compare(tolerance = 0)] f: A,
            #[compare(tolerance = \"0.1\", relative = 1)] g: A,
            #[compare(relative = 0.1f16)] h: A,
            #[compare(key)] i: A,
            #[compare(key = \"id\")] j: A,
            #[compare(key = id())] k: A,
            #[compare(key = ())] l: A,
            #[compare(rename = name)] m: A,
            #[compare(rename = \"\")] n: A,
            #[compare(rename = \"a.b\")] o: A,
            #[compare(rename = 1)] p: A,
            #[compare(rename)] q: A,
        }",
        &[
            "`with` needs a value: write `with = …`, a function `fn(&Old, &New) -> bool`",
            WITH,
            WITH,
            "`tolerance` needs a value: write `tolerance = …`, a number above zero",
            TOLERANCE,
            TOLERANCE,
            TOLERANCE,
            RELATIVE,
            RELATIVE,
            "`key` needs a value: write `key = …`, a field of the elements",
            KEY,
            KEY,
            KEY,
            RENAME,
            NAME,
            NAME,
            RENAME,
            "`rename` needs a value: write `rename = …`, a string",
        ],
    );
}

#[test]
fn names() {
    check(
        "struct S { a: A, #[compare(rename = \"a\")] b: A, c: A, r#type: A, #[compare(rename = \"type\")] d: A }",
        &[
            "`a` names another field in paths already: choose a name of its own",
            "`type` names another field in paths already: choose a name of its own",
        ],
    );
    check(
        "enum E { One, #[compare(rename = \"One\")] Two, #[compare(reveal)] Three(#[compare(rename = \"1\")] A, A) }",
        &[
            "`One` names another variant already: choose a name of its own",
            "unknown key `reveal`; `#[compare]` on a variant takes `rename`, `ignore_other`",
            "`1` names another field in paths already: choose a name of its own",
        ],
    );
}

#[test]
fn other_types() {
    const IGNORE_OTHER: &str = "`ignore_other` takes fields of the other type: write `ignore_other = (created, updated)`, without quotes";
    check(
        "#[compare(other = \"New\")] struct S { a: A }",
        &["`other` takes a struct or an enum by name: write `other = NewCustomer`, without quotes"],
    );
    check(
        "#[compare(other)] struct S { a: A }",
        &["`other` needs a value: write `other = …`, the type to compare with"],
    );
    check(
        "#[compare(ignore_other = x)] struct S { #[compare(other = y)] a: A }",
        &[
            "`ignore_other` needs `other = …` on the item: both sides are this type",
            "`other` on a field needs `other = …` on the item: both sides are this type",
        ],
    );
    check(
        "#[compare(other = New, ignore_other = (b, \"x\"))] struct S {
            #[compare(other = b)] a: A,
            b: A,
            #[compare(other = \"c\")] d: A,
        }",
        &[
            IGNORE_OTHER,
            "`b` is compared: take it out of `ignore_other`",
            "`b` of the other type is compared already: name another field with `other = …`",
            "`b` is compared: take it out of `ignore_other`",
            "`other` takes a field of the other type: write `other = name`, without quotes",
        ],
    );
    check("#[compare(other = New, ignore_other = ())] struct S { a: A }", &[IGNORE_OTHER]);
    check(
        "enum E { #[compare(ignore_other = a)] A }",
        &["`ignore_other` needs `other = …` on the item: both sides are this type"],
    );
}
