//! Methods of supertraits: copies of their signatures, which say how the wrapper routes them.

use proc_macro2::Ident;
use quote::ToTokens as _;
use syn::{Attribute, Meta, Path, TraitItemFn};

use super::super::syntax::SUPERTRAIT;
use super::method::Around;
use crate::diag::Errors;

/// The supertrait that `#[supertrait(…)]` names, and the other attributes.
pub(super) fn lower(
    function: &TraitItemFn,
    routing: &[Attribute],
    around: &Around<'_>,
    errors: &mut Errors,
) -> (Option<Path>, Vec<Attribute>) {
    let (named, rest): (Vec<_>, Vec<_>) =
        routing.iter().cloned().partition(|attribute| attribute.path().is_ident(SUPERTRAIT));
    let Some(attribute) = named.first() else {
        return (None, rest);
    };
    for other in named.iter().skip(1) {
        errors.on(other.path(), "a method is declared by one trait: keep one `#[supertrait(…)]`");
    }
    if let Some(body) = &function.default {
        errors.on(
            body,
            "write `;` here: this is a copy of a signature, and a default body stays with the supertrait",
        );
    }
    if let Some(refused) = refused(around) {
        errors.on(attribute.path(), refused);
    }
    let path = path(attribute, around, errors);
    (path, rest)
}

fn refused(around: &Around<'_>) -> Option<String> {
    let (what, way) = match (around.is_unit, around.is_fenced) {
        (true, _) => ("a unit of work", "declare this method in the trait itself"),
        (_, true) => (
            "a trait with `transaction = …`",
            "implement the supertrait for the wrapper, by calls of a repository of its own",
        ),
        _ => return None,
    };
    Some(format!("{way}: {what} has no wrapper that could have a supertrait's methods"))
}

fn path(attribute: &Attribute, around: &Around<'_>, errors: &mut Errors) -> Option<Path> {
    let named = match &attribute.meta {
        Meta::List(list) => syn::parse2::<Path>(list.tokens.clone()).ok(),
        Meta::Path(_) | Meta::NameValue(_) => None,
    };
    let Some(path) = named else {
        errors.on(
            &attribute.meta,
            "name the supertrait that declares this method: write `#[supertrait(CustomerReads)]`, without quotes",
        );
        return None;
    };
    let is_listed = around.item.supertraits.iter().any(|bound| match bound {
        syn::TypeParamBound::Trait(bound) => {
            bound.path.to_token_stream().to_string() == path.to_token_stream().to_string()
        }
        _ => false,
    });
    if !is_listed {
        let name: &Ident = &around.item.ident;
        errors.on(
            &path,
            format!(
                "write it as it stands behind `trait {name}: …`: `{}` is no supertrait there",
                path.to_token_stream()
            ),
        );
        return None;
    }
    Some(path)
}
