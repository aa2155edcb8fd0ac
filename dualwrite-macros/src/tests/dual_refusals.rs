//! What `#[derive(Dual)]` says about each mistake.

use super::check_refused as check;

#[test]
fn dual_items() {
    const RULE: &str =
        "`Dual` pairs an old and a new field by name: use a struct with named fields";
    let with_rule = |message: &str| format!("{message}; {RULE}");
    check("struct Tuple(String);", &[&with_rule("these fields have no names")]);
    check("struct Unit;", &[&with_rule("this struct has no fields")]);
    check("enum Choice { Old }", &[&with_rule("an enum has no fields of its own")]);
    check("union Bits { old: u8 }", &[&with_rule("a union holds one field at a time")]);
    check(
        "struct Plain { email: String }",
        &["no field says where its new value lives: write `#[dual(new = …)]` on the old field"],
    );
}

#[test]
fn dual_fields() {
    check(
        "#[dual(new = b)] struct S {
            #[dual(nwe = b)] a: A,
            #[dual] c: A,
            #[dual(new = \"b\")] d: A,
            #[dual(new = email_adress)] e: A,
            #[dual(new = zip)] f: A,
            #[dual(new = g)] g: A,
            email_address: Option<A>,
        }",
        &[
            "unknown key `new`; `#[dual]` on a struct takes `crate`",
            "unknown key `nwe`, did you mean `new`? `#[dual]` on a field takes `new`",
            "say where the new value lives: `#[dual(new = …)]`",
            "`new` takes the name of a field of this struct, without quotes",
            "this struct has no field `email_adress`: add it as an `Option`, did you mean `email_address`?",
            "this struct has no field `zip`: add it as an `Option`",
            "a field cannot be its own new side: name the field that takes its place",
        ],
    );
    check(
        "struct S { #[dual(new = b)] a: Vec<std::string::String>, b: Option<Vec<i64>> }",
        &[
            "`a` is `Vec<std::string::String>` and `b` is `Vec<i64>`: only a rename is supported yet; \
           changing the type, with `forward` and `backward`, comes in a later release",
        ],
    );
}

#[test]
fn dual_names() {
    check(
        "struct S {
            #[dual(new = b)] a: A,
            #[dual(new = b)] c: A,
            b: Option<A>,
            #[dual(new = set_b)] d: A,
            set_b: A,
            #[dual(new = is_migrated)] e: A,
            is_migrated: A,
        }",
        &[
            "`a` has the new field `b` already: give this one a field of its own",
            "the getter `set_b` collides with another generated method: rename this field",
            "the getter `is_migrated` collides with another generated method: rename this field",
        ],
    );
    check(
        "struct S { #[dual(new = b)] a: A, #[dual(new = c)] b: A, c: A }",
        &[
            "`b` has a new field itself: finish one rename before the next, or name the last field here",
        ],
    );
}
