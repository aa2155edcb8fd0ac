//! Syntax → model: all validation of `#[derive(Dual)]`.

use proc_macro2::Ident;
use quote::ToTokens as _;
use syn::ext::IdentExt as _;
use syn::{Attribute, Data, DeriveInput, Expr, Fields, FieldsNamed, Generics, Type};

use super::model::{Dual, Field, Pair};
use super::types::{is_same, mentions_parameter, shown, view, without_option};
use crate::diag::{Errors, suggestion};
use crate::names;
use crate::paths::Root;
use crate::settings::Settings;

/// Proves the struct valid, or says everything that is wrong with it.
pub(super) fn dual(input: &DeriveInput) -> syn::Result<Dual> {
    let mut errors = Errors::default();
    let root = root(input, &mut errors);
    let pairs = match named_fields(input, &mut errors) {
        Some(fields) => pairs(input, fields, &mut errors),
        None => Vec::new(),
    };
    check_names(&pairs, &mut errors);
    errors.into_result(Dual {
        root,
        name: input.ident.clone(),
        generics: input.generics.clone(),
        pairs,
    })
}

/// Where the library is, as the struct says.
pub(super) fn root(input: &DeriveInput, errors: &mut Errors) -> Root {
    let mut settings = Settings::new("`#[dual]` on a struct", &["crate"]);
    for attribute in input.attrs.iter().filter(|attribute| is_ours(attribute)) {
        settings.add_attribute(attribute, errors);
    }
    Root::from_settings(&mut settings, errors)
}

fn is_ours(attribute: &Attribute) -> bool {
    attribute.path().is_ident("dual")
}

fn named_fields<'i>(input: &'i DeriveInput, errors: &mut Errors) -> Option<&'i FieldsNamed> {
    const RULE: &str =
        "`Dual` pairs an old and a new field by name: use a struct with named fields";
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => return Some(fields),
            Fields::Unnamed(fields) => {
                errors.on(fields, format!("these fields have no names; {RULE}"))
            }
            Fields::Unit => errors.on(&input.ident, format!("this struct has no fields; {RULE}")),
        },
        Data::Enum(data) => {
            errors.on(&data.enum_token, format!("an enum has no fields of its own; {RULE}"));
        }
        Data::Union(data) => {
            errors.on(&data.union_token, format!("a union holds one field at a time; {RULE}"));
        }
    }
    None
}

fn pairs(input: &DeriveInput, fields: &FieldsNamed, errors: &mut Errors) -> Vec<Pair> {
    let before = errors.count();
    let mut pairs = Vec::new();
    for field in &fields.named {
        if let Some((old, new)) = field.ident.as_ref().zip(new_name(field, errors)) {
            pairs.extend(pair(old, &field.ty, &new, fields, &input.generics, errors));
        }
    }
    if pairs.is_empty() && errors.count() == before {
        errors.on(
            &input.ident,
            "no field says where its new value lives: write `#[dual(new = …)]` on the old field",
        );
    }
    pairs
}

/// The name in `#[dual(new = name)]`.
fn new_name(field: &syn::Field, errors: &mut Errors) -> Option<Ident> {
    let mut attributes = field.attrs.iter().filter(|attribute| is_ours(attribute)).peekable();
    let first = *attributes.peek()?;
    let mut settings = Settings::new("`#[dual]` on a field", &["new"]);
    for attribute in attributes {
        settings.add_attribute(attribute, errors);
    }
    let Some((_, value)) = settings.value("new", "the name of the new field", errors) else {
        if !settings.is_flawed() {
            errors.on(first.path(), "say where the new value lives: `#[dual(new = …)]`");
        }
        return None;
    };
    match &value {
        Expr::Path(path) if path.qself.is_none() => path.path.get_ident().cloned(),
        _ => None,
    }
    .or_else(|| {
        errors.on(&value, "`new` takes the name of a field of this struct, without quotes");
        None
    })
}

fn pair(
    old: &Ident,
    old_type: &Type,
    wanted: &Ident,
    fields: &FieldsNamed,
    generics: &Generics,
    errors: &mut Errors,
) -> Option<Pair> {
    let named = || fields.named.iter().filter_map(|field| Some((field.ident.as_ref()?, field)));
    let Some((new, new_field)) = named().find(|(name, _)| name.unraw() == wanted.unraw()) else {
        let known = named().map(|(name, _)| names::plain(name)).filter(|name| old != name);
        let near = suggestion(&names::plain(wanted), known);
        errors.on(
            wanted,
            format!("this struct has no field `{wanted}`: add it as an `Option`{near}"),
        );
        return None;
    };
    if new == old {
        errors
            .on(wanted, "a field cannot be its own new side: name the field that takes its place");
        return None;
    }
    let (value, old_is_optional) = without_option(old_type);
    let (new_value, new_is_optional) = without_option(&new_field.ty);
    if !is_same(value, new_value) {
        errors.on(
            new_value,
            format!(
                "`{old}` is `{}` and `{new}` is `{}`: only a rename is supported yet; changing the type, with \
                 `forward` and `backward`, comes in a later release",
                shown(value),
                shown(new_value)
            ),
        );
        return None;
    }
    Some(Pair {
        old: Field { name: old.clone(), is_optional: old_is_optional },
        new: Field { name: new.clone(), is_optional: new_is_optional },
        view: view(new_value),
        is_generic: mentions_parameter(new_value.to_token_stream(), generics),
        value: new_value.clone(),
        visibility: new_field.vis.clone(),
        setter: names::setter(wanted),
    })
}

/// Getters and setters of different pairs, and `is_migrated`, must differ; and a new field is the end
/// of its pair, or a setter would leave the field after it behind.
fn check_names(pairs: &[Pair], errors: &mut Errors) {
    for (index, pair) in pairs.iter().enumerate() {
        let new = names::plain(&pair.new.name);
        for earlier in &pairs[..index] {
            if names::plain(&earlier.new.name) == new {
                errors.on(
                    &pair.old.name,
                    format!(
                        "`{}` has the new field `{new}` already: give this one a field of its own",
                        earlier.old.name
                    ),
                );
            }
        }
        if pairs.iter().any(|other| other.old.name == pair.new.name) {
            errors.on(
                &pair.old.name,
                format!("`{new}` has a new field itself: finish one rename before the next, or name the last field here"),
            );
        }
        let getter_taken = pairs.iter().any(|other| names::plain(&other.setter) == new);
        if getter_taken || new == names::IS_MIGRATED {
            errors.on(
                &pair.new.name,
                format!(
                    "the getter `{new}` collides with another generated method: rename this field"
                ),
            );
        }
    }
}
