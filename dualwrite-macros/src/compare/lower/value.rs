//! What stands after `=`: for each kind of value what it is called in messages, and how it is read.

use syn::{Expr, Index, Lit, Member, Path, PathArguments};

use super::super::model::Key;
use crate::diag::Errors;
use crate::names;

pub(super) const TYPE: &str = "the type to compare with";
pub(super) const MEMBER: &str = "the name of a field of the other type";
pub(super) const MEMBERS: &str = "fields of the other type that are not compared";
pub(super) const NAME: &str = "a string";
pub(super) const FUNCTION: &str = "a function `fn(&Old, &New) -> bool`";
pub(super) const TOLERANCE: &str = "a number above zero";
pub(super) const SHARE: &str = "a number between 0 and 1";
pub(super) const KEY: &str = "a field of the elements";

/// What the user wrote, out of the invisible groups that `macro_rules!` makes.
fn peel(value: &Expr) -> &Expr {
    match value {
        Expr::Group(group) => peel(&group.expr),
        Expr::Paren(paren) => peel(&paren.expr),
        value => value,
    }
}

fn plain_path(value: &Expr) -> Option<&Path> {
    match peel(value) {
        Expr::Path(path) if path.qself.is_none() => Some(&path.path),
        _ => None,
    }
}

pub(super) fn other_type(value: &Expr, errors: &mut Errors) -> Option<Path> {
    let path = plain_path(value);
    if path.is_none() {
        errors.on(
            value,
            "`other` takes a struct or an enum by name: write `other = NewCustomer`, without quotes",
        );
    }
    path.cloned().map(with_turbofish)
}

/// `Page::<T>` for `Page<T>`: right as a type and in a pattern alike.
fn with_turbofish(mut path: Path) -> Path {
    for segment in &mut path.segments {
        if let PathArguments::AngleBracketed(arguments) = &mut segment.arguments {
            arguments.colon2_token.get_or_insert_default();
        }
    }
    path
}

pub(super) fn function(value: &Expr, errors: &mut Errors) -> Option<Path> {
    let path = plain_path(value);
    if path.is_none() {
        errors.on(
            value,
            "`with` takes a function `fn(&Old, &New) -> bool` by name: write `with = is_same`, without quotes",
        );
    }
    path.cloned()
}

pub(super) fn name(value: &Expr, errors: &mut Errors) -> Option<String> {
    let Expr::Lit(literal) = peel(value) else {
        errors.on(value, "`rename` takes a string: write `rename = \"name\"`");
        return None;
    };
    let Lit::Str(text) = &literal.lit else {
        errors.on(value, "`rename` takes a string: write `rename = \"name\"`");
        return None;
    };
    let text = text.value();
    let is_clear = |c: char| !c.is_whitespace() && !c.is_control() && !".[]".contains(c);
    if text.is_empty() || !text.chars().all(is_clear) {
        errors.on(
            value,
            "a name stands inside paths: write at least one character, and no space, `.`, `[` or `]`",
        );
    }
    Some(text)
}

fn number(value: &Expr) -> Option<f64> {
    let Expr::Lit(literal) = peel(value) else { return None };
    let (digits, suffix) = match &literal.lit {
        Lit::Float(float) => (float.base10_digits(), float.suffix()),
        Lit::Int(int) => (int.base10_digits(), int.suffix()),
        _ => return None,
    };
    let number = digits.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0)?;
    ["", "f32", "f64"].contains(&suffix).then_some(number)
}

pub(super) fn tolerance(value: &Expr, errors: &mut Errors) -> Option<f64> {
    let number = number(value);
    if number.is_none() {
        errors.on(value, "`tolerance` takes a number above zero: write `tolerance = 0.01`");
    }
    number
}

pub(super) fn share(value: &Expr, errors: &mut Errors) -> Option<f64> {
    let number = number(value).filter(|number| *number < 1.0);
    if number.is_none() {
        errors.on(
            value,
            "`relative` takes a share of the larger value, between 0 and 1: write `relative = 0.001`",
        );
    }
    number
}

/// The name of a field, or its number in a tuple.
pub(super) fn member(value: &Expr, errors: &mut Errors) -> Option<Member> {
    let member = as_member(value);
    if member.is_none() {
        errors.on(
            value,
            "`other` takes a field of the other type: write `other = name`, without quotes",
        );
    }
    member
}

pub(super) fn members(value: &Expr, errors: &mut Errors) -> Vec<Member> {
    let values: Vec<&Expr> = match peel(value) {
        Expr::Tuple(tuple) if !tuple.elems.is_empty() => tuple.elems.iter().collect(),
        value => vec![value],
    };
    let mut members = Vec::new();
    for value in values {
        match as_member(value) {
            Some(member) => members.push(member),
            None => errors.on(
                value,
                "`ignore_other` takes fields of the other type: write `ignore_other = (created, updated)`, without quotes",
            ),
        }
    }
    members
}

fn as_member(value: &Expr) -> Option<Member> {
    match peel(value) {
        Expr::Path(path) if path.qself.is_none() => {
            path.path.get_ident().cloned().map(Member::Named)
        }
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(int) if int.suffix().is_empty() => {
                Some(Member::Unnamed(Index { index: int.base10_parse().ok()?, span: int.span() }))
            }
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn key(value: &Expr, errors: &mut Errors) -> Option<Key> {
    let key = as_key(value);
    if key.is_none() {
        errors.on(
            value,
            "`key` takes a field of the elements, several as `(tenant, id)`, or a function such as `Line::id`",
        );
    }
    key
}

fn as_key(value: &Expr) -> Option<Key> {
    match peel(value) {
        Expr::Path(path) if path.qself.is_none() && path.path.get_ident().is_none() => {
            Some(Key::Function(path.path.clone()))
        }
        Expr::Tuple(tuple) if !tuple.elems.is_empty() => {
            tuple.elems.iter().map(way).collect::<Option<_>>().map(Key::Fields)
        }
        value => Some(Key::Fields(vec![way(value)?])),
    }
}

/// `id`, `order.id`, `0.id`: a way through fields.
fn way(value: &Expr) -> Option<Vec<Member>> {
    match peel(value) {
        Expr::Field(field) => {
            let mut members = way(&field.base)?;
            members.push(field.member.clone());
            Some(members)
        }
        value => Some(vec![as_member(value)?]),
    }
}

/// `type` for `r#type`, `0` for the first field of a tuple.
pub(super) fn shown_member(member: &Member) -> String {
    match member {
        Member::Named(name) => names::plain(name),
        Member::Unnamed(index) => index.index.to_string(),
    }
}
