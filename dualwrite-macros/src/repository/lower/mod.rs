//! Syntax → model: all validation of `#[repository]`. This file proves the trait, the others one
//! part of a method each.

mod answer;
mod arguments;
mod method;
mod options;
mod owned;
mod route;
mod self_types;

use proc_macro2::{Ident, TokenStream};
use quote::ToTokens as _;
use syn::{Attribute, ItemTrait, TraitItem, WherePredicate, parse_quote};

use super::model::{Repository, Sides};
use super::syntax::Source;
use crate::diag::Errors;
use crate::names;
use crate::paths::Root;
use crate::settings::Settings;
use self_types::Substitute;

/// Proves the trait valid, or says everything that is wrong with it.
pub(super) fn repository(args: TokenStream, source: &Source) -> syn::Result<Repository> {
    let mut errors = Errors::default();
    let item = &source.item;
    let mut settings = Settings::new("`#[repository]`", &["crate"]);
    settings.add(args, &mut errors);
    let root = Root::from_settings(&mut settings, &mut errors);
    check_trait(item, &mut errors);
    let associated = associated_types(item, &mut errors);
    let (old, new) = names::side_parameters(item.to_token_stream());
    let substitute = Substitute::new(&old, item, &associated);
    let methods = methods(source, &associated, &mut errors);
    let (generics, predicates) = generics(item, &substitute);
    let model = Repository {
        root,
        wrapper: names::wrapper(&item.ident),
        errors: error_types(item, &methods, &substitute),
        sides: Sides { old, new },
        generics,
        predicates,
        associated,
        methods: methods.into_iter().map(|lowered| lowered.method).collect(),
        item: item.clone(),
    };
    errors.into_result(model)
}

fn check_trait(item: &ItemTrait, errors: &mut Errors) {
    if let Some(token) = &item.unsafety {
        errors
            .on(token, "an unsafe trait cannot be implemented by generated code: remove `unsafe`");
    }
    if let Some(token) = &item.modifiers.auto_token {
        errors.on(token, "an auto trait has no methods to route: remove `auto`");
    }
    for attribute in item.attrs.iter().filter(|attribute| is_async_trait(attribute)) {
        errors.on(
            attribute.path(),
            "`#[repository]` makes `async fn` futures `Send` itself: remove `#[async_trait]` here and \
             on the implementations",
        );
    }
}

fn is_async_trait(attribute: &Attribute) -> bool {
    attribute.path().segments.last().is_some_and(|last| last.ident == "async_trait")
}

fn associated_types(item: &ItemTrait, errors: &mut Errors) -> Vec<Ident> {
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
        if let Some(cfg) =
            associated.attrs.iter().find(|attribute| attribute.path().is_ident("cfg"))
        {
            errors.on(cfg.path(), "an associated type cannot come and go: remove `#[cfg]`");
        }
        found.push(associated.ident.clone());
    }
    found
}

fn methods(source: &Source, associated: &[Ident], errors: &mut Errors) -> Vec<method::Lowered> {
    let mut methods = Vec::new();
    for (item, routing) in source.item.items.iter().zip(&source.routing) {
        match item {
            TraitItem::Fn(function) => methods.extend(method::lower(function, routing, associated, errors)),
            TraitItem::Type(_) => {}
            TraitItem::Const(constant) => errors.on(
                &constant.ident,
                "an associated constant has a value on each side: make it a plain `const` beside the trait",
            ),
            other => errors.on(other, "only methods and associated types can stand here: write them out"),
        }
    }
    methods
}

/// The trait's parameters without defaults, which an `impl` cannot have; and what the trait asks of
/// its implementers, which the wrapper has to promise again.
fn generics(item: &ItemTrait, substitute: &Substitute<'_>) -> (syn::Generics, Vec<WherePredicate>) {
    let mut generics = item.generics.clone();
    for parameter in generics.type_params_mut() {
        parameter.default = None;
    }
    for parameter in generics.const_params_mut() {
        parameter.default = None;
    }
    substitute.in_generics(&mut generics);
    let mut predicates: Vec<WherePredicate> = generics
        .where_clause
        .take()
        .map(|clause| clause.predicates.into_iter().collect())
        .unwrap_or_default();
    if !item.supertraits.is_empty() {
        let supertraits = &item.supertraits;
        let mut predicate: WherePredicate = parse_quote!(Self: #supertraits);
        substitute.in_predicate(&mut predicate);
        predicates.push(predicate);
    }
    (generics, predicates)
}

/// The error types that only the caller's types decide: the wrapper has to ask that each can be made
/// from ours. Of any other error type the compiler knows already.
fn error_types(
    item: &ItemTrait,
    methods: &[method::Lowered],
    substitute: &Substitute<'_>,
) -> Vec<syn::Type> {
    let mut seen = Vec::new();
    let mut types = Vec::new();
    for error in methods.iter().filter_map(|lowered| lowered.error.clone()) {
        if !self_types::depends_on(&error, item) {
            continue;
        }
        let mut error = error;
        substitute.in_type(&mut error);
        let text = error.to_token_stream().to_string();
        if !seen.contains(&text) {
            seen.push(text);
            types.push(error);
        }
    }
    types
}
