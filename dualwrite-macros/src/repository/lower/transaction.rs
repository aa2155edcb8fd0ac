//! Traits whose writes take no transaction: the form of the trait whose writes take one. What follows is proven
//! of that form.

use proc_macro2::{Ident, Span};
use syn::{Expr, FnArg, ItemTrait, Path, TraitItem, TraitItemFn, Type, parse_quote};

use super::super::model::Fenced;
use super::super::syntax::Source;
use super::{answer, arguments};
use crate::diag::Errors;
use crate::names;
use crate::paths::Root;

/// The other form of a trait.
pub(super) struct InForm {
    /// As if it had been typed.
    pub(super) source: Source,
    pub(super) fenced: Fenced,
}

/// The value of `transaction = …`.
pub(super) fn database(key: &Ident, value: &Expr, errors: &mut Errors) -> Option<Type> {
    match value {
        Expr::Path(path) => {
            let syn::ExprPath { attrs, qself, path } = path.clone();
            Some(Type::Path(syn::TypePath { attrs, qself, path }))
        }
        other => {
            let rule = format!("`{key}` takes the type of the database that the writes go to");
            errors.on(other, format!("{rule}: write `{key} = sqlx::Postgres`, without quotes"));
            None
        }
    }
}

/// Adds a transaction to every write.
pub(super) fn in_form(
    source: &Source,
    database: Type,
    remote: Option<Path>,
    root: &Root,
    errors: &mut Errors,
) -> InForm {
    let typed = &source.item;
    let mut item = ItemTrait { items: Vec::new(), ..typed.clone() };
    item.ident = names::in_form(&typed.ident);
    let mut routing = Vec::new();
    let mut has_write = false;
    for (of_trait, attributes) in typed.items.iter().zip(&source.routing) {
        let TraitItem::Fn(method) = of_trait else {
            item.items.push(of_trait.clone());
            routing.push(attributes.clone());
            continue;
        };
        check_name(method, errors);
        if attributes.is_empty() && method.default.is_some() {
            continue; // the body calls the trait as it was typed
        }
        let mut method = method.clone();
        if attributes.iter().any(|attribute| attribute.path().is_ident("write")) {
            has_write = true;
            add_transaction(&mut method, &database, root, errors);
        }
        item.items.push(TraitItem::Fn(method));
        routing.push(attributes.clone());
    }
    if !has_write {
        errors.on(&typed.ident, "remove `transaction = …`: this trait has no `#[write(…)]`");
    }
    let fenced = Fenced {
        item: typed.clone(),
        in_form: item.clone(),
        name: names::fenced(&typed.ident),
        database,
        remote,
    };
    InForm { source: Source { item, routing }, fenced }
}

fn check_name(method: &TraitItemFn, errors: &mut Errors) {
    let name = &method.sig.ident;
    if names::FENCED_FUNCTIONS.contains(&names::plain(name).as_str()) {
        let rule = format!("rename `{name}`: the generated wrapper has a function of this name");
        errors.on(name, format!("{rule}, which would hide it"));
    }
}

fn add_transaction(method: &mut TraitItemFn, database: &Type, root: &Root, errors: &mut Errors) {
    let signature = &mut method.sig;
    let taken = signature.inputs.iter().find_map(|argument| match argument {
        FnArg::Typed(argument) if arguments::is_transaction(&argument.ty) => Some(&argument.ty),
        _ => None,
    });
    if let Some(taken) = taken {
        let rule = "remove this argument, or `transaction = …` above";
        errors.on(taken, format!("{rule}: the wrapper begins the transaction of this write"));
        return;
    }
    if signature.asyncness.is_none() && answer::is_boxed(&signature.output) {
        let rule =
            "write `async fn`, with `#[async_trait]` below `#[repository]` where futures are boxed";
        let reason =
            "the sides get a transaction too, which this future does not say that it borrows";
        errors.on(&signature.output, format!("{rule}: {reason}"));
    }
    // A body would call writes without a transaction.
    method.default = None;
    method.semi_token = Some(syn::Token![;](Span::call_site()));
    let tx = Ident::new("tx", Span::mixed_site());
    let at = usize::from(matches!(signature.inputs.first(), Some(FnArg::Receiver(_))));
    signature.inputs.insert(at, parse_quote!(#tx: &mut #root::Tx<'_, #database>));
}
