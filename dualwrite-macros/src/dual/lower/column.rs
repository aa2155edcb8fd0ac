//! What the column of a field is called: `#[dual(column = "…")]`, else `#[sqlx(rename = "…")]`, else as
//! the field.

use syn::{Expr, LitStr};

use super::{is_ours, value};
use crate::diag::Errors;
use crate::names;
use crate::settings::Settings;

/// The name of the column.
pub(super) fn name(field: &syn::Field, errors: &mut Errors) -> String {
    ours(field, errors)
        .or_else(|| of_sqlx(field, "rename").flatten())
        .or_else(|| field.ident.as_ref().map(names::plain))
        .unwrap_or_default()
}

/// Whether sqlx takes the field from elsewhere than a column of its own.
pub(super) fn is_elsewhere(field: &syn::Field) -> bool {
    ["skip", "flatten"].iter().any(|key| of_sqlx(field, key).is_some())
}

/// Whether `#[sqlx(…)]` on the field says this.
pub(super) fn has(field: &syn::Field, key: &str) -> bool {
    of_sqlx(field, key).is_some()
}

fn ours(field: &syn::Field, errors: &mut Errors) -> Option<String> {
    let mut settings = Settings::new("`#[dual]` on a field", &super::pair::KEYS);
    // The pair has reported what is wrong with the attribute itself.
    for attribute in field.attrs.iter().filter(|attribute| is_ours(attribute)) {
        settings.add_attribute(attribute, &mut Errors::default());
    }
    let (_, given): (_, Expr) = settings.value("column", value::COLUMN, &mut Errors::default())?;
    value::identifier("column", &given, 1, errors)
}

/// A key of `#[sqlx(…)]`: the inner `None` where it has no value.
fn of_sqlx(field: &syn::Field, key: &str) -> Option<Option<String>> {
    let mut found = None;
    for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("sqlx")) {
        let _ = attribute.parse_nested_meta(|meta| {
            let value = match meta.input.peek(syn::Token![=]) {
                true => Some(meta.value()?.parse::<LitStr>()?.value()),
                false => None,
            };
            if meta.path.is_ident(key) {
                found = Some(value);
            }
            Ok(())
        });
    }
    found
}
