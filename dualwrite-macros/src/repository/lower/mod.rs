//! Syntax → model: all validation of `#[repository]`. This file proves the trait, the others one
//! part of a method each.

mod answer;
mod arguments;
mod associated;
mod keys;
mod method;
mod options;
mod owned;
mod parameters;
mod route;
mod self_types;
mod stream;
mod supertrait;
mod transaction;
mod unit;

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens as _, quote};
use syn::{
    Attribute, Expr, ExprPath, ItemTrait, Meta, Path, TraitItem, Type, TypeParamBound,
    WherePredicate, parse_quote,
};

use super::model::{Constant, Form, Repository, Sides};
use super::syntax::Source;
use crate::diag::Errors;
use crate::names;
use crate::paths::Root;
use crate::settings::Settings;
use self_types::Substitute;

/// What `#[repository(…)]` says of the whole trait.
struct Header {
    /// The wrapper.
    name: Ident,
    /// What makes the user's error of ours.
    error: Option<ExprPath>,
    /// The trait that this one is a copy of.
    remote: Option<Path>,
    /// The kind of database whose transactions the wrapper begins.
    database: Option<Type>,
    /// Its implementers borrow a connection.
    unit: Option<Ident>,
}

impl Header {
    fn of(item: &ItemTrait, settings: &mut Settings, errors: &mut Errors) -> Self {
        let name = names::wrapper(&item.ident);
        let mut header = Self { name, error: None, remote: None, database: None, unit: None };
        if let Some((key, value)) = settings.value("transaction", "a type of database", errors) {
            header.database = transaction::database(&key, &value, errors);
        }
        header.unit = settings.flag("unit_of_work", errors);
        if let (Some(_), Some(unit)) = (&header.database, &header.unit) {
            errors.on(
                unit,
                "keep `transaction` or `unit_of_work`: a unit of work has its transaction already",
            );
            header.database = None;
        }
        if let Some((key, value)) = settings.value("name", "a name for the wrapper", errors) {
            match options::name(&value) {
                Some(name) => header.name = name,
                None => {
                    let rule = format!("`{key}` takes a name for the wrapper");
                    errors.on(&value, format!("{rule}: write `{key} = Customers`, without quotes"));
                }
            }
        }
        if let Some((key, value)) = settings.value("error", options::ERROR, errors) {
            header.error = options::converter(&key, &value, errors);
        }
        if let Some((key, value)) = settings.value("remote", "the path of a trait", errors) {
            match value {
                Expr::Path(path) if path.qself.is_none() => header.remote = Some(path.path),
                other => {
                    let rule =
                        format!("`{key}` takes the path of the trait that this is a copy of");
                    errors.on(
                        &other,
                        format!("{rule}: write `{key} = domain::Customers`, without quotes"),
                    );
                }
            }
        }
        header
    }
}

/// The attributes that say when the trait is compiled.
fn conditions(item: &syn::ItemTrait) -> Vec<syn::Attribute> {
    item.attrs.iter().filter(|attribute| attribute.path().is_ident("cfg")).cloned().collect()
}

/// Where the writes take no transaction, the form whose writes take one.
fn fenced_form(
    source: &Source,
    header: &mut Header,
    root: &Root,
    errors: &mut Errors,
) -> Option<transaction::InForm> {
    let database = header.database.take()?;
    Some(transaction::in_form(source, database, header.remote.take(), root, errors))
}

/// Proves the trait valid, or says everything that is wrong with it.
pub(super) fn repository(args: TokenStream, source: &Source) -> syn::Result<Repository> {
    let mut errors = Errors::default();
    const SETTINGS: &[&str] = &["crate", "name", "error", "remote", "transaction", "unit_of_work"];
    let mut settings = Settings::new("`#[repository]`", SETTINGS);
    settings.add(args, &mut errors);
    let root = Root::from_settings(&mut settings, &mut errors);
    let mut header = Header::of(&source.item, &mut settings, &mut errors);
    check_trait(source, &mut errors);
    // All that follows is about that form.
    let in_form = fenced_form(source, &mut header, &root, &mut errors);
    let source = in_form.as_ref().map_or(source, |in_form| &in_form.source);
    let item = &source.item;
    if header.unit.is_some() {
        unit::check(item, &mut errors);
    }
    let associated = associated::types(item, &mut errors);
    let [old, new, both] = names::side_parameters(item.to_token_stream());
    let substitute = Substitute::new(&old, item, &associated);
    let is_fenced = in_form.is_some();
    let mut methods = methods(source, &associated, &header, is_fenced, &mut errors);
    let own_errors = associated::own_errors(item, &associated, &mut methods);
    let (generics, mut predicates) = generics(item, &substitute);
    predicates.extend(parameters::predicates(item, &methods, &substitute));
    let unit = header.unit.as_ref().map(|_| unit::of(item));
    let is_unsized = unit.is_none() && may_be_unsized(&methods);
    let unsized_ = is_unsized.then(|| quote!(: ?::core::marker::Sized));
    let model = Repository {
        root,
        wrapper: header.name,
        remote: header.remote,
        errors: error_types(item, &methods, &substitute),
        sides: Sides { old, new },
        both,
        unsized_,
        async_trait: source.async_trait().cloned(),
        cfg: conditions(item),
        generics,
        predicates,
        associated,
        own_errors,
        constants: constants(item),
        methods: methods.into_iter().map(|lowered| lowered.method).collect(),
        item: item.clone(),
        fenced: None,
        unit,
    };
    let fenced = in_form.map(|in_form| in_form.fenced);
    errors.into_result(Repository { fenced, ..model })
}

fn check_trait(source: &Source, errors: &mut Errors) {
    let item = &source.item;
    if let Some(token) = &item.unsafety {
        errors
            .on(token, "an unsafe trait cannot be implemented by generated code: remove `unsafe`");
    }
    if let Some(token) = &item.modifiers.auto_token {
        errors.on(token, "an auto trait has no methods to route: remove `auto`");
    }
    if let Some(not_send) = source.async_trait().and_then(not_send) {
        errors.on(&not_send, "a future that is not `Send` cannot be spawned: remove `?Send`");
    }
}

/// The `?Send` of `#[async_trait(?Send)]`.
fn not_send(attribute: &Attribute) -> Option<TokenStream> {
    match &attribute.meta {
        Meta::List(list) => {
            let mut tokens = list.tokens.clone().into_iter();
            let found =
                tokens.any(|token| matches!(token, TokenTree::Ident(name) if name == "Send"));
            found.then(|| list.tokens.clone())
        }
        _ => None,
    }
}

/// Whether the sides can be trait objects.
fn may_be_unsized(methods: &[method::Lowered]) -> bool {
    let is_native = |lowered: &method::Lowered| {
        matches!(lowered.method.form, Form::Future | Form::Stream { is_boxed: false })
    };
    let clauses = methods
        .iter()
        .filter_map(|lowered| lowered.method.signature.generics.where_clause.as_ref());
    !methods.iter().any(is_native)
        && !clauses.flat_map(|clause| &clause.predicates).any(asks_for_size)
}

/// `Self: Sized`.
fn asks_for_size(predicate: &WherePredicate) -> bool {
    let WherePredicate::Type(predicate) = predicate else {
        return false;
    };
    let is_sized = |bound: &TypeParamBound| match bound {
        TypeParamBound::Trait(bound) => {
            bound.path.segments.last().is_some_and(|last| last.ident == "Sized")
        }
        _ => false,
    };
    let of_self =
        answer::last_segment(&predicate.bounded_ty).is_some_and(|segment| segment.ident == "Self");
    of_self && predicate.bounds.iter().any(is_sized)
}

fn constants(item: &ItemTrait) -> Vec<Constant> {
    let constants = item.items.iter().filter_map(|item| match item {
        TraitItem::Const(constant) => Some(associated::constant(constant)),
        _ => None,
    });
    constants.collect()
}

fn methods(
    source: &Source,
    associated: &[Ident],
    header: &Header,
    is_fenced: bool,
    errors: &mut Errors,
) -> Vec<method::Lowered> {
    // Of the futures of a trait that is declared elsewhere nobody knows here whether they are `Send`.
    let of_async_fn = match source.async_trait().is_some() || header.remote.is_some() {
        true => Form::Async,
        false => Form::Future,
    };
    let around = method::Around {
        item: &source.item,
        associated,
        of_async_fn,
        error: header.error.as_ref(),
        is_unit: header.unit.is_some(),
        is_fenced,
    };
    let mut methods = Vec::new();
    for (item, routing) in source.item.items.iter().zip(&source.routing) {
        match item {
            TraitItem::Fn(function) => {
                methods.extend(method::lower(function, routing, &around, errors))
            }
            TraitItem::Type(_) | TraitItem::Const(_) => {}
            other => {
                errors.on(other, "only methods, types and constants can stand here: write them out")
            }
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
    for error in methods.iter().filter(|lowered| lowered.takes_ours).filter_map(|m| m.error.clone())
    {
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
