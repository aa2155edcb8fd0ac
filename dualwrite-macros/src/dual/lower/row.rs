//! What each field is in a row of the table.

use proc_macro2::Ident;

use super::super::model::{Field, Moved, Pair, Part, Place, Role};
use super::super::types::without_option;
use super::column;

/// A field that is a column.
pub(super) fn field(
    field: &syn::Field,
    name: &Ident,
    column: &str,
    pairs: &[Pair],
    moved: Option<&Moved>,
    is_marker: bool,
) -> Field {
    let is_json = column::has(field, "json");
    let (value, is_optional) = match is_json {
        true => (&field.ty, false),
        false => without_option(&field.ty),
    };
    Field {
        name: name.clone(),
        column: column.to_owned(),
        value: value.clone(),
        is_optional,
        is_json,
        has_default: column::has(field, "default"),
        role: match moved {
            Some(moved) => Role::Moved(moved.new.clone()),
            None if is_marker => Role::Marker,
            None => role(name, pairs),
        },
    }
}

fn role(name: &Ident, pairs: &[Pair]) -> Role {
    let is_it = |part: &Part| matches!(&part.place, Place::Field(field) if field == name);
    for pair in pairs {
        let renamed = |other: &[Part]| match (pair.is_converted(), other) {
            (false, [only]) => Some(only.column.clone()),
            _ => None,
        };
        if pair.old.iter().any(is_it) {
            return Role::Old { renamed: renamed(&pair.new) };
        }
        if pair.new.iter().any(is_it) {
            return Role::New { renamed: renamed(&pair.old) };
        }
    }
    Role::Shared
}
