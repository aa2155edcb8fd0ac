//! `copied = …`: the field that says whether the new side has been written.

use proc_macro2::Ident;
use syn::Type;

use super::super::model::Marker;
use super::header::find;
use super::pair::Surroundings;
use super::{column, is_ours, value};
use crate::diag::{Errors, suggestion};
use crate::names;
use crate::settings::Settings;

pub(super) const ONLY_OPTIONS: &str = "drop `copied`: it is for a field that is an `Option` on both sides and has no \
                                       `present`, where NULL may be a value of the new side";

/// The marker of the field `own`, if its attribute names one; `None` where that is wrong.
pub(super) fn marker(
    settings: &mut Settings,
    own: &Ident,
    around: &Surroundings<'_>,
    errors: &mut Errors,
) -> Option<Option<Marker>> {
    let Some((key, given)) = settings.value("copied", value::COPIED, errors) else {
        return Some(None);
    };
    let name = value::name(&key, &given, errors)?;
    let Some(field) = find(around.fields, &names::plain(&name)) else {
        let fields = around.fields.named.iter().filter_map(|field| field.ident.as_ref());
        let known = fields.filter(|known| *known != own).map(names::plain);
        let near = suggestion(&names::plain(&name), known);
        errors.on(&name, format!("this struct has no field `{name}`: add it as a `bool`{near}"));
        return None;
    };
    let is_bool = matches!(&field.ty, Type::Path(path) if path.path.is_ident("bool"));
    if !is_bool || field.attrs.iter().any(is_ours) {
        let rule = "a field of its own that says whether the new side has been written";
        errors.on(&name, format!("declare `{name}: bool`, {rule}"));
        return None;
    }
    let column = match around.has_table {
        true => column::name(field, around.spelled, &mut Errors::default()),
        false => String::new(),
    };
    Some(Some(Marker { name: field.ident.clone()?, column }))
}
