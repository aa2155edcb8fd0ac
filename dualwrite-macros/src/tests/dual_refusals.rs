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
            "unknown key `new`; `#[dual]` on a struct takes `crate`, `table`, `key`",
            "unknown key `nwe`, did you mean `new`? `#[dual]` on a field takes `new`, `old`, `forward`, `backward`, `sql`, \
             `present`, `copied`, `absent`, `type`, `getter`, `setter`, `column`, `new_column`",
            "this struct has no field `b`: add it as an `Option`",
            "say where the new value lives: `#[dual(new = …)]`, or `#[dual(new_column = \"…\")]` where only the column changes",
            "`new` takes the name of a field of this struct, without quotes; several as `(first, last)`, or \
             `record.field`",
            "this struct has no field `email_adress`: add it as an `Option`, did you mean `email_address`?",
            "this struct has no field `zip`: add it as an `Option`",
            "a field cannot be its own new side: name the field that takes its place",
        ],
    );
    check(
        "struct S { #[dual(new = b)] a: Vec<std::string::String>, b: Option<Vec<i64>> }",
        &[
            "`a` is `Vec<std::string::String>` and `b` is `Vec<i64>`: say how with `forward = …` and \
             `backward = …`",
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
            "the getter `set_b` collides with another generated method: choose a name with `getter = …`",
            "the getter `is_migrated` collides with another generated method: choose a name with `getter = …`",
        ],
    );
    check(
        "struct S { #[dual(new = b)] a: A, #[dual(new = c)] b: A, c: A }",
        &[
            "`b` has a new field itself: finish one rename before the next, or name the last field here",
        ],
    );
}

#[test]
fn dual_conversions() {
    check(
        "struct S {
            #[dual(new = b, forward = f)] a: A,
            b: B,
            #[dual(new = d, backward = f)] c: A,
            d: B,
            #[dual(new = f, forward = |a| a, backward = \"back\")] e: A,
            f: B,
            #[dual(new = (h, i))] g: A,
            h: B,
            i: B,
            j: A,
            k: A,
            #[dual(old = (j, k))] l: B,
            #[dual(old = m, forward = f, backward = b)] n: B,
            m: A,
            #[dual(new = p, present = \"yes\")] o: A,
            p: A,
        }",
        &[
            "`forward` needs its way back: add `backward = …`, a function from the new field to the old one",
            "`backward` needs its way there: add `forward = …`, a function from the old field to the new one",
            "`forward` takes a function by its path: write a function and name it, without quotes",
            "`backward` takes a function by its path: write a function and name it, without quotes",
            "one value becomes several: say how with `forward = …` and `backward = …`",
            "several values become one: say how with `forward = …` and `backward = …`",
            "for a single field say it there: `#[dual(new = n)]` on `m`",
            "`present` takes `some`, `non_default`, or a function by its path: write a function and name it, without quotes",
        ],
    );
}

#[test]
fn dual_sides() {
    check(
        "struct S {
            #[dual(new = b, old = c)] a: A,
            b: A,
            #[dual(old = (b, c), forward = f, backward = g)] c: A,
            #[dual(new = (x, y + 1), forward = f, backward = g)] d: A,
            #[dual(new = b, new = c, getter)] e: A,
            #[dual(forward = f)] f: A,
            #[dual(new = b, getter = \"g\", setter = a::b)] g: A,
            #[dual(old = (record.a, b), forward = f, backward = g)] h: A,
        }",
        &[
            "a field is old or new, not both: drop `old`, or drop `new`",
            "a field cannot be its own old side: name the fields that it replaces",
            "`new` takes the name of a field of this struct, without quotes; several as `(first, last)`, or \
             `record.field`",
            "`new` is given twice: keep one",
            "`getter` needs a value: write `getter = …`, a name for the method",
            "say where the new value lives: `#[dual(new = …)]`, or `#[dual(new_column = \"…\")]` where only the column changes",
            "`getter` takes a name for the method, without quotes",
            "`setter` takes a name for the method, without quotes",
            "`old` takes the name of a field of this struct, without quotes; several as `(first, last)`",
        ],
    );
    check(
        "struct S {
            #[dual(old = (a, b), forward = f, backward = g)] m: A,
            #[dual(new = c)] a: A,
            b: A,
            c: A,
        }",
        &["`a` has its new side already: a setter of the one would leave the other behind"],
    );
}

#[test]
fn dual_fields_named_twice() {
    check(
        "struct S { #[dual(new = (b, b), forward = f, backward = g)] a: A, b: A }",
        &["`b` is named twice: each field once"],
    );
}

#[test]
fn dual_other_records() {
    check(
        "struct S {
            #[dual(new = version.title, forward = f, backward = g)] a: A,
            version: Option<V>,
            #[dual(new = c, type = B, absent = default)] b: A,
            c: A,
            #[dual(new = version.notes, absent = never)] d: A,
            #[dual(new = version.rank, type = (u8, u8))] e: A,
            #[dual(new = versoin.rank)] f: A,
        }",
        &[
            "the type of `title` cannot be seen from here: add `type = …`",
            "`type` is for a field of another record, which cannot be seen from here: drop it",
            "`absent` is for a field of a record in an `Option`: drop it",
            "`absent` takes `default`, which makes the record with `Default`",
            "`type` takes a type by its path: give this one a name with `type … = …;`",
            "this struct has no field `versoin`: add it as an `Option`, did you mean `version`?",
        ],
    );
}

#[test]
fn dual_methods() {
    check(
        "struct S {
            #[dual(new = b, setter = migrate)] a: A,
            b: A,
            #[dual(new = d, getter = b_source)] c: A,
            d: A,
        }",
        &[
            "the setter `migrate` collides with another generated method: choose a name with `setter = …`",
            "the getter `b_source` collides with another generated method: choose a name with `getter = …`",
        ],
    );
}

#[test]
fn dual_tables() {
    check(
        "#[dual(table = \"customers; --\", kye = \"id\")]
        #[sqlx(rename_all = \"camelCase\")]
        struct S<'r> {
            #[sqlx(rename = \"a b\")]
            id: &'r i64,
            #[dual(new = b)] a: A,
            b: A,
            #[dual(column = \"b\")] c: A,
            #[dual(column = 7)] d: A,
        }",
        &[
            "unknown key `kye`, did you mean `key`? `#[dual]` on a struct takes `crate`, `table`, `key`",
            "`table` takes a plain name: a letter or `_`, then letters, digits, `_` or `$`, at most 63 bytes",
            "a struct with `table` owns its values: use `String` and the like, or drop `table`",
            "`a b` cannot be a column: say `#[dual(column = \"…\")]`, a plain name: a letter or `_`, then \
             letters, digits, `_` or `$`, at most 63 bytes",
            "`b` is the column of another field: each has its own",
            "`column` takes a name in quotes",
        ],
    );
    check(
        "#[dual(table = customers, key = (\"id\", \"id\", \"idd\", 7))]
        struct S { id: A, #[dual(new = version.b)] a: A, version: Option<V> }",
        &[
            "`key` takes the name of a field, several as `(\"tenant\", \"id\")`",
            "`table` takes a name in quotes",
            "`version.b` is in another record, and the ready copy works within one row: drop `table`, and \
             write a `CopyKeys`",
        ],
    );
    check(
        "#[dual(table = \"t\", key = (\"id\", \"id\", \"idd\"))]
        struct S { #[dual(new = b)] id: A, b: A }",
        &[
            "`id` is in the key twice: keep one",
            "this struct has no field `idd`, did you mean `id`?",
            "the key tells which row it is: it cannot be on the old or the new side itself",
        ],
    );
    check(
        "#[dual(key = \"a\")]
        struct S { #[dual(column = \"x\", new = b)] a: A, b: A }",
        &["`column` is for the columns of a `table`: add `table` to the struct, or drop it"],
    );
}

#[test]
fn dual_expressions() {
    let refused = |sql: &str, message: &str| {
        let source = format!(
            "#[dual(table = \"t\", key = \"id\")]
            struct S {{ id: A, #[dual(new = b, forward = f, backward = g, sql = {sql})] a: A, b: B }}"
        );
        check(&source, &[message]);
    };
    let opens = "this expression does not close what it opens";
    let word =
        |word: &str| format!("`{word}` cannot stand in an expression: a comment ends it early");
    refused("\"f(a\"", opens);
    refused("\"'a\"", opens);
    refused("\"a) + (b\"", "this expression closes a parenthesis it did not open");
    refused("\"a; DROP TABLE t\"", "`sql` takes one expression, not several statements");
    refused("\"a -- b\"", &word("--"));
    refused("\"a /* b\"", &word("/*"));
    refused("\" \"", "`sql` takes an SQL expression in quotes, such as \"CAST(age AS INTEGER)\"");
    refused("cast", "`sql` takes an SQL expression in quotes");
    refused("(\"a\", \"b\")", "`sql` takes one expression for each new field, here 1");
    check(
        "struct S { #[dual(new = b, sql = \"a\")] a: A, b: A }",
        &[
            "`sql` says in SQL what `forward` says in Rust: add `forward` and `backward`",
            "`sql` is for the ready copy: add `table` and `key` to the struct",
        ],
    );
}

#[test]
fn markers() {
    let check_marker = |marked: &str, expected: &[&str]| {
        let fields =
            "b: Option<A>, c: bool, d: i64, #[dual(new = f)] e: Option<bool>, f: Option<bool>";
        check(&format!("struct S {{ {marked}, {fields} }}"), expected);
    };
    const ONLY_OPTIONS: &str = "drop `copied`: it is for a field that is an `Option` on both sides and has no `present`, where NULL \
                                may be a value of the new side";
    const OWN: &str = "a field of its own that says whether the new side has been written";
    check_marker("#[dual(new = b, copied = c)] a: A", &[ONLY_OPTIONS]);
    check_marker("#[dual(new = b, copied = c, present = some)] a: Option<A>", &[ONLY_OPTIONS]);
    check_marker(
        "#[dual(new = b, copied = g)] a: Option<A>",
        &["this struct has no field `g`: add it as a `bool`"],
    );
    check_marker(
        "#[dual(new = b, copied = d)] a: Option<A>",
        &[&format!("declare `d: bool`, {OWN}")],
    );
    check_marker(
        "#[dual(new = b, copied = e)] a: Option<A>",
        &[&format!("declare `e: bool`, {OWN}")],
    );
    check(
        "#[dual(table = \"t\", key = \"id\")] struct S { id: i64, #[dual(new_column = \"b\", copied = c)] a: A, c: bool }",
        &[ONLY_OPTIONS],
    );
}
