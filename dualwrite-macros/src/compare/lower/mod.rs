//! Syntax → model: all validation of `#[derive(Compare)]`. What holds for one field is in `field`, what
//! stands after `=` in `value`.

mod field;
mod value;

use proc_macro2::Ident;
use quote::ToTokens;
use syn::{Attribute, Data, DataEnum, DeriveInput, Fields, Member};

use super::model::{Body, Compare, Field, Header, Samples, Variant};
use crate::diag::Errors;
use crate::names;
use crate::paths::Root;
use crate::settings::Settings;

/// Proves the item valid, or says everything that is wrong with it.
pub(super) fn compare(input: &DeriveInput) -> syn::Result<Compare> {
    let mut errors = Errors::default();
    let header = header(input, &mut errors);
    let body = match &input.data {
        Data::Struct(data) => Body::Struct(struct_fields(data, input, &header, &mut errors)),
        Data::Enum(data) => Body::Enum(variants(data, &header, &mut errors)),
        Data::Union(data) => {
            errors.on(
                &data.union_token,
                "a union does not say which of its fields holds: `Compare` needs a struct or an enum",
            );
            Body::Enum(Vec::new())
        }
    };
    errors.into_result(Compare {
        header,
        name: input.ident.clone(),
        generics: input.generics.clone(),
        body,
    })
}

/// What the attribute on the item says.
pub(super) fn header(input: &DeriveInput, errors: &mut Errors) -> Header {
    let mut settings = match &input.data {
        Data::Enum(_) => {
            Settings::new("`#[compare]` on an enum", &["other", "reveal", "redact", "crate"])
        }
        Data::Struct(_) | Data::Union(_) => Settings::new(
            "`#[compare]` on a struct",
            &["other", "ignore_other", "reveal", "redact", "crate"],
        ),
    };
    add_attributes(&input.attrs, &mut settings, errors);
    let root = Root::from_settings(&mut settings, errors);
    let other = settings.value("other", value::TYPE, errors);
    let has_other = other.is_some();
    let other = other.and_then(|(_, given)| value::other_type(&given, errors));
    let ignored_of_other = ignored_of_other(&mut settings, has_other, errors);
    let samples = samples(&mut settings, errors);
    Header { root, other, ignored_of_other, samples }
}

/// Adds our attributes to the settings. One that says nothing is a mistake: it looks like a choice.
fn add_attributes(attributes: &[Attribute], settings: &mut Settings, errors: &mut Errors) {
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("compare")) {
        let is_empty = match &attribute.meta {
            syn::Meta::Path(_) => true,
            syn::Meta::List(list) => list.tokens.is_empty(),
            syn::Meta::NameValue(_) => false,
        };
        if is_empty {
            errors.on(
                attribute.path(),
                "an empty `#[compare]` says nothing: drop it, or write a setting in parentheses",
            );
        }
        settings.add_attribute(attribute, errors);
    }
}

fn ignored_of_other(settings: &mut Settings, has_other: bool, errors: &mut Errors) -> Vec<Member> {
    let Some((key, given)) = settings.value("ignore_other", value::MEMBERS, errors) else {
        return Vec::new();
    };
    if !has_other {
        errors.on(&key, "`ignore_other` needs `other = …` on the item: both sides are this type");
    }
    value::members(&given, errors)
}

fn samples(settings: &mut Settings, errors: &mut Errors) -> Option<Samples> {
    let (reveal, redact) = (settings.flag("reveal", errors), settings.flag("redact", errors));
    match (reveal, redact) {
        (Some(_), Some(redact)) => {
            errors.on(&redact, "`reveal` and `redact` exclude each other: keep one");
            None
        }
        (Some(_), None) => Some(Samples::Revealed),
        (None, Some(_)) => Some(Samples::Redacted),
        (None, None) => None,
    }
}

fn struct_fields(
    data: &syn::DataStruct,
    input: &DeriveInput,
    header: &Header,
    errors: &mut Errors,
) -> Vec<Field> {
    let before = errors.count();
    let fields = fields(&data.fields, header, &header.ignored_of_other, errors);
    if fields.is_empty() && !data.fields.is_empty() && errors.count() == before {
        errors.on(&input.ident, "every field is ignored: nothing would ever differ");
    }
    fields
}

fn variants(data: &DataEnum, header: &Header, errors: &mut Errors) -> Vec<Variant> {
    let mut variants: Vec<Variant> = Vec::new();
    for variant in &data.variants {
        let mut settings = Settings::new("`#[compare]` on a variant", &["rename", "ignore_other"]);
        add_attributes(&variant.attrs, &mut settings, errors);
        let shown = shown_as(&mut settings, &variant.ident, errors);
        if variants.iter().any(|earlier| earlier.shown == shown) {
            errors.on(
                &variant.ident,
                format!("`{shown}` names another variant already: choose a name of its own"),
            );
        }
        let ignored_of_other = ignored_of_other(&mut settings, header.other.is_some(), errors);
        let before = errors.count();
        let fields = fields(&variant.fields, header, &ignored_of_other, errors);
        let has_ignored = errors.count() == before && fields.len() < variant.fields.len();
        let name = variant.ident.clone();
        variants.push(Variant { name, shown, fields, has_ignored, ignored_of_other });
    }
    variants
}

fn shown_as(settings: &mut Settings, ident: &Ident, errors: &mut Errors) -> String {
    settings
        .value("rename", value::NAME, errors)
        .and_then(|(_, given)| value::name(&given, errors))
        .unwrap_or_else(|| names::plain(ident))
}

/// The fields that are compared, of a struct or of a variant.
fn fields(
    fields: &Fields,
    header: &Header,
    ignored_of_other: &[Member],
    errors: &mut Errors,
) -> Vec<Field> {
    let mut compared: Vec<Field> = Vec::new();
    for (field, member) in fields.iter().zip(fields.members()) {
        let Some(lowered) = field::field(field, member, header, errors) else { continue };
        let at = field
            .ident
            .as_ref()
            .map_or_else(|| field.ty.to_token_stream(), ToTokens::to_token_stream);
        if compared.iter().any(|earlier| earlier.name == lowered.name) {
            errors.on(
                &at,
                format!(
                    "`{}` names another field in paths already: choose a name of its own",
                    lowered.name
                ),
            );
        }
        let other = value::shown_member(&lowered.other);
        if header.other.is_some()
            && compared.iter().any(|earlier| value::shown_member(&earlier.other) == other)
        {
            errors.on(&at, format!("`{other}` of the other type is compared already: name another field with `other = …`"));
        }
        if let Some(ignored) =
            ignored_of_other.iter().find(|ignored| value::shown_member(ignored) == other)
        {
            errors.on(ignored, format!("`{other}` is compared: take it out of `ignore_other`"));
        }
        compared.push(lowered);
    }
    compared
}
