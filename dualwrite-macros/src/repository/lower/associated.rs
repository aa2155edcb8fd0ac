//! Associated types and constants: both sides must have the same ones, and the wrapper takes old's. Of an
//! error it is enough that new's becomes old's.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens as _, quote};
use syn::{Attribute, ItemTrait, TraitItem, TraitItemConst, Type};

use super::super::model::{Constant, Equality};
use super::answer::{last_segment, peel};
use super::method::Lowered;
use crate::diag::Errors;

/// The names of the associated types.
pub(super) fn types(item: &ItemTrait, errors: &mut Errors) -> Vec<Ident> {
    let mut found = Vec::new();
    for item in &item.items {
        let TraitItem::Type(associated) = item else {
            continue;
        };
        if !associated.generics.params.is_empty() {
            errors.on(
                &associated.generics,
                "an associated type with parameters cannot be shared by both sides: remove the parameters",
            );
        }
        if let Some(cfg) = associated.attrs.iter().find(|attribute| is_cfg(attribute)) {
            errors.on(cfg.path(), "an associated type cannot come and go: remove `#[cfg]`");
        }
        found.push(associated.ident.clone());
    }
    found
}

/// The associated types that are the error of methods, and occur nowhere else; those methods then convert
/// them. Anything else of the trait that names such a type would have to be the same on both sides.
pub(super) fn own_errors(
    item: &ItemTrait,
    associated: &[Ident],
    methods: &mut [Lowered],
) -> Vec<Ident> {
    let uses = |name: &Ident| -> usize {
        let items = item.items.iter().map(|item| match item {
            TraitItem::Type(declared) if declared.ident == *name => 0,
            item => count(item.to_token_stream(), name),
        });
        let generics = count(item.generics.where_clause.to_token_stream(), name);
        items.sum::<usize>() + generics + count(item.supertraits.to_token_stream(), name)
    };
    let mut found = Vec::new();
    for name in associated {
        let spelt = quote!(Self::#name).to_string();
        let is_error = |lowered: &Lowered| {
            lowered.error.as_ref().is_some_and(|ty| ty.to_token_stream().to_string() == spelt)
        };
        let errors = methods.iter().filter(|lowered| is_error(lowered)).count();
        if errors > 0 && errors == uses(name) {
            methods.iter_mut().filter(|m| is_error(m)).for_each(|m| m.method.converts = true);
            found.push(name.clone());
        }
    }
    found
}

fn count(tokens: TokenStream, name: &Ident) -> usize {
    let counts = tokens.into_iter().map(|token| match token {
        TokenTree::Ident(ident) => usize::from(ident == *name),
        TokenTree::Group(group) => count(group.stream(), name),
        TokenTree::Punct(_) | TokenTree::Literal(_) => 0,
    });
    counts.sum()
}

/// An associated constant.
pub(super) fn constant(constant: &TraitItemConst) -> Constant {
    Constant {
        name: constant.ident.clone(),
        ty: constant.ty.clone(),
        cfg: constant.attrs.iter().filter(|attribute| is_cfg(attribute)).cloned().collect(),
        equality: equality(&constant.ty),
    }
}

fn is_cfg(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
}

/// How two values of the type can be compared when the wrapper is compiled.
fn equality(ty: &Type) -> Equality {
    const OPERATOR: [&str; 16] = [
        "bool", "char", "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64",
        "i128", "isize", "f32", "f64",
    ];
    if let Type::Reference(reference) = peel(ty) {
        let is_text = last_segment(&reference.elem).is_some_and(|segment| segment.ident == "str");
        return if is_text { Equality::Text } else { Equality::Unknown };
    }
    match last_segment(ty) {
        Some(segment) if OPERATOR.iter().any(|name| segment.ident == name) => Equality::Operator,
        _ => Equality::Unknown,
    }
}
