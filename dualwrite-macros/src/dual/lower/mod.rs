//! Syntax → model: all validation of `#[derive(Dual)]`.

mod column;
mod header;
mod marker;
mod moved;
mod names_taken;
mod pair;
mod row;
mod value;

use syn::{Attribute, Data, DeriveInput, Fields, FieldsNamed};

use super::model::{Dual, Pair};
use crate::diag::Errors;

pub(super) use header::Header;

/// What is valid of a struct, and everything that is wrong with it.
pub(super) struct Proven {
    /// With the pairs that are valid, if it is a struct that can have any.
    pub(super) dual: Option<Dual>,
    pub(super) mistakes: Option<syn::Error>,
}

/// Proves the struct valid, or says everything that is wrong with it.
pub(super) fn dual(input: &DeriveInput) -> Proven {
    let mut errors = Errors::default();
    let header = Header::of(input, &mut errors);
    let Some(fields) = named_fields(input, &mut errors) else {
        return Proven { dual: None, mistakes: errors.into_result(()).err() };
    };
    let before = errors.count();
    let around = pair::Surroundings {
        fields,
        generics: &input.generics,
        has_table: header.has_table(),
        spelled: column::Spelled::of(&input.attrs),
    };
    let mut pairs: Vec<Pair> =
        fields.named.iter().filter_map(|field| pair::pair(field, &around, &mut errors)).collect();
    let moved: Vec<_> =
        fields.named.iter().filter_map(|field| moved::moved(field, &around, &mut errors)).collect();
    if pairs.is_empty() && moved.is_empty() && errors.count() == before {
        let nothing = no_pair(input);
        errors.at(nothing.span(), nothing);
    }
    let mut can_have_methods = names_taken::check(&pairs, &mut errors).into_iter();
    let key = header.key(fields, &mut errors);
    let table = header.table(input, fields, &key, (&pairs, &moved), &mut errors);
    pairs.retain(|_| can_have_methods.next().unwrap_or(true));
    let dual = Dual {
        root: header.root,
        name: input.ident.clone(),
        generics: input.generics.clone(),
        key: key.iter().filter_map(|field| field.ident.clone()).collect(),
        table,
        pairs,
        moved,
    };
    Proven { dual: Some(dual), mistakes: errors.into_result(()).err() }
}

fn no_pair(input: &DeriveInput) -> syn::Error {
    let message =
        "no field says where its new value lives: write `#[dual(new = …)]` on the old field";
    syn::Error::new_spanned(&input.ident, message)
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
