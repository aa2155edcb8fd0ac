//! The values that keys of `#[dual(…)]` take, each with what to write instead.

use proc_macro2::{Ident, Span};
use quote::ToTokens;
use syn::{Expr, Lit, LitStr, Member, Path, Type};

use crate::diag::Errors;

pub(super) const NEW: &str = "the name of the new field";
pub(super) const OLD: &str = "the names of the old fields";
pub(super) const FUNCTION: &str = "a function by its path";
pub(super) const PRESENT: &str = "`some`, `non_default`, or a function by its path";
pub(super) const COPIED: &str =
    "the name of a `bool` field that says whether the new side has been written";
pub(super) const NAME: &str = "a name for the method";
pub(super) const SQL: &str = "an SQL expression in quotes";
pub(super) const COLUMN: &str = "the name of the column in quotes";
pub(super) const TABLE: &str = "the name of the table in quotes";
pub(super) const KEY: &str = "the field of the key in quotes";
pub(super) const TYPE: &str = "the type of that field";
pub(super) const ABSENT: &str = "`default`";

/// What one side is made of, as it was typed.
pub(super) enum Wanted {
    Field(Ident),
    Within(Ident, Vec<Member>),
}

/// A field, several of them in parentheses, or a field of a record in a field.
pub(super) fn sides(given: &Expr, key: &str, errors: &mut Errors) -> Option<Vec<Wanted>> {
    let wanted: Option<Vec<Wanted>> = match given {
        Expr::Tuple(tuple) if tuple.elems.len() > 1 => {
            tuple.elems.iter().map(|name| ident(name).map(Wanted::Field)).collect()
        }
        Expr::Field(_) => within(given, Vec::new()).map(|wanted| vec![wanted]),
        given => ident(given).map(|name| vec![Wanted::Field(name)]),
    };
    if wanted.is_none() {
        let more = match key {
            "new" => ", or `record.field`",
            _ => "",
        };
        errors.on(
            given,
            format!(
                "`{key}` takes the name of a field of this struct, without quotes; several as `(first, last)`{more}"
            ),
        );
    }
    wanted
}

fn within(given: &Expr, mut rest: Vec<Member>) -> Option<Wanted> {
    match given {
        Expr::Field(field) => {
            rest.insert(0, field.member.clone());
            within(&field.base, rest)
        }
        given => ident(given).map(|record| Wanted::Within(record, rest)),
    }
}

fn ident(given: &Expr) -> Option<Ident> {
    match given {
        Expr::Path(path) if path.qself.is_none() => path.path.get_ident().cloned(),
        _ => None,
    }
}

/// A function by its path; `what` tells in the message what else the key takes.
pub(super) fn function(key: &Ident, given: &Expr, what: &str, errors: &mut Errors) -> Option<Path> {
    match given {
        Expr::Path(path) if path.qself.is_none() => Some(path.path.clone()),
        _ => {
            errors.on(
                given,
                format!("`{key}` takes {what}: write a function and name it, without quotes"),
            );
            None
        }
    }
}

/// One identifier.
pub(super) fn name(key: &Ident, given: &Expr, errors: &mut Errors) -> Option<Ident> {
    let name = ident(given);
    if name.is_none() {
        errors.on(given, format!("`{key}` takes {NAME}, without quotes"));
    }
    name
}

/// A type, which must be a path.
pub(super) fn ty(given: &Expr, errors: &mut Errors) -> Option<Type> {
    let ty = match given {
        Expr::Path(_) => syn::parse2(given.to_token_stream()).ok(),
        _ => None,
    };
    if ty.is_none() {
        errors
            .on(given, "`type` takes a type by its path: give this one a name with `type … = …;`");
    }
    ty
}

/// The names of the fields of the key, quoted or not.
pub(super) fn key(given: &Expr, errors: &mut Errors) -> Option<Vec<(String, Span)>> {
    let one = |given: &Expr| match given {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some((text.value(), text.span())),
            _ => None,
        },
        given => ident(given).map(|name| (crate::names::plain(&name), name.span())),
    };
    let names: Option<Vec<_>> = match given {
        Expr::Tuple(tuple) if !tuple.elems.is_empty() => tuple.elems.iter().map(one).collect(),
        given => one(given).map(|name| vec![name]),
    };
    match names {
        None => {
            errors.on(given, "`key` takes the name of a field, several as `(\"tenant\", \"id\")`")
        }
        Some(names) if names.len() > 4 => errors.on(given, "a key has four columns at the most"),
        names => return names,
    }
    None
}

fn text(given: &Expr) -> Option<&LitStr> {
    match given {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(text),
            _ => None,
        },
        // What a `macro_rules!` hands on is wrapped up invisibly.
        Expr::Group(group) => text(&group.expr),
        _ => None,
    }
}

/// A name of the database. `parts` may stand with dots between them.
pub(super) fn identifier(
    key: &str,
    given: &Expr,
    parts: usize,
    errors: &mut Errors,
) -> Option<String> {
    let Some(literal) = text(given) else {
        errors.on(given, format!("`{key}` takes a name in quotes"));
        return None;
    };
    let name = literal.value();
    let split: Vec<&str> = name.split('.').collect();
    if split.len() <= parts && split.iter().all(|part| is_identifier(part)) {
        return Some(name);
    }
    errors.on(literal, format!("`{key}` takes {RULE}"));
    None
}

const RULE: &str =
    "a plain name: a letter or `_`, then letters, digits, `_` or `$`, at most 63 bytes";

/// The same rule as `dualwrite::copy::Identifier`.
pub(super) fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
        && name.len() <= 63
}

/// What a column is called, where the name of its field is none the database knows plainly.
pub(super) fn check_column(name: &str, span: Span, errors: &mut Errors) {
    if !is_identifier(name) {
        errors.at(
            span,
            format!("`{name}` cannot be a column: say `#[dual(column = \"…\")]`, {RULE}"),
        );
    }
}

/// As many SQL expressions as there are new columns.
pub(super) fn sql(given: &Expr, columns: usize, errors: &mut Errors) -> Option<Vec<String>> {
    let given_each: Vec<&Expr> = match given {
        Expr::Tuple(tuple) => tuple.elems.iter().collect(),
        given => vec![given],
    };
    if given_each.len() != columns {
        errors.on(given, format!("`sql` takes one expression for each new field, here {columns}"));
        return None;
    }
    let before = errors.count();
    let mut found = Vec::new();
    for given in given_each {
        match text(given) {
            None => errors.on(given, format!("`sql` takes {SQL}")),
            Some(literal) => match flaw(&literal.value()) {
                Some(flaw) => errors.on(literal, flaw),
                None => found.push(literal.value()),
            },
        }
    }
    (errors.count() == before).then_some(found)
}

/// Why a text is no single expression without values from outside.
fn flaw(sql: &str) -> Option<String> {
    let mut open = 0_u32;
    let mut quote = None;
    for c in sql.chars() {
        match (quote, c) {
            (Some(end), c) if end == c => quote = None,
            (None, '\'' | '"' | '`') => quote = Some(c),
            (None, '(') => open += 1,
            (None, ')') => match open.checked_sub(1) {
                Some(left) => open = left,
                None => return Some("this expression closes a parenthesis it did not open".into()),
            },
            (None, ';') => {
                return Some("`sql` takes one expression, not several statements".into());
            }
            _ => {}
        }
    }
    if sql.trim().is_empty() {
        return Some(format!("`sql` takes {SQL}, such as \"CAST(age AS INTEGER)\""));
    }
    if open > 0 || quote.is_some() {
        return Some("this expression does not close what it opens".into());
    }
    let words = ["--", "/*"];
    let word = words.into_iter().find(|word| sql.contains(word))?;
    Some(format!("`{word}` cannot stand in an expression: a comment ends it early"))
}
