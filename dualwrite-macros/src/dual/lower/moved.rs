//! A field whose column gets another name, `#[dual(new_column = "…")]`: the struct stays as it is.

use syn::spanned::Spanned as _;

use super::super::model::Moved;
use super::super::types::{is_text, without_option};
use super::{column, is_ours, marker, pair, value};
use crate::diag::Errors;
use crate::settings::Settings;

/// The new column of a field, if its attribute names one.
pub(super) fn moved(
    field: &syn::Field,
    around: &pair::Surroundings<'_>,
    errors: &mut Errors,
) -> Option<Moved> {
    let name = field.ident.clone()?;
    let mut settings = Settings::new("`#[dual]` on a field", &pair::KEYS);
    // The pair has reported what is wrong with the attribute itself.
    for attribute in field.attrs.iter().filter(|attribute| is_ours(attribute)) {
        settings.add_attribute(attribute, &mut Errors::default());
    }
    let (key, given) = settings.value("new_column", value::COLUMN, errors)?;
    if !around.has_table {
        errors.on(&key, "add `table` and `key` to the struct: `new_column` is for its columns");
    }
    let (ty, is_optional) = without_option(&field.ty);
    let marker = marker::marker(&mut settings, &name, around, errors)?;
    if let (Some(marker), false) = (&marker, is_optional) {
        errors.on(&marker.name, marker::ONLY_OPTIONS);
    }
    let others = settings.keys().filter(|other| *other != "column");
    for other in others {
        errors.on(
            other,
            format!("remove `{other}`: with `new_column` the field keeps its type, and holds what either column says"),
        );
    }
    let new = value::identifier("new_column", &given, 1, errors)?;
    let old = column::name(field, around.spelled, &mut Errors::default());
    if old == new {
        errors.at(given.span(), format!("`{new}` is the old column: name the new one"));
        return None;
    }
    Some(Moved { is_text: is_text(ty), name, old, new, marker })
}
