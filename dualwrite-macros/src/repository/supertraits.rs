//! The supertraits whose methods the wrapper routes: an `impl` for each, over the same table of methods.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens as _, quote};
use syn::{GenericParam, Generics, Path, Type, WherePredicate, parse_quote};

use super::expand::{allow_deprecated, own_type};
use super::model::Repository;

/// One `impl` for each supertrait that a method names, in their order.
pub(super) fn expand(model: &Repository, methods: &[(Option<&Path>, TokenStream)]) -> TokenStream {
    let mut done: Vec<String> = Vec::new();
    let mut all = TokenStream::new();
    for path in methods.iter().filter_map(|(of, _)| *of) {
        let text = path.to_token_stream().to_string();
        if done.contains(&text) {
            continue;
        }
        let is_of_it =
            |of: &Option<&Path>| of.is_some_and(|of| of.to_token_stream().to_string() == text);
        let bodies = methods.iter().filter(|(of, _)| is_of_it(of)).map(|(_, body)| body);
        all.extend(implementation(model, path, bodies));
        done.push(text);
    }
    all
}

fn implementation<'m>(
    model: &Repository,
    path: &Path,
    bodies: impl Iterator<Item = &'m TokenStream>,
) -> TokenStream {
    let Repository { cfg, async_trait, .. } = model;
    let (allow, own_type, generics) =
        (allow_deprecated(model), own_type(model).1, generics(model, path));
    let (parameters, _, predicates) = generics.split_for_impl();
    quote! {
        #(#cfg)*
        #[automatically_derived]
        #allow
        #async_trait
        impl #parameters #path for #own_type #predicates {
            #(#bodies)*
        }
    }
}

/// The parameters that the supertrait has, and the sides, which need to be no more than that.
fn generics(model: &Repository, path: &Path) -> Generics {
    let Repository { sides, both, unsized_, .. } = model;
    let mut generics = model.generics.clone();
    let mut absent = Vec::new();
    generics.params = std::mem::take(&mut generics.params)
        .into_iter()
        .filter(|parameter| {
            let name = name_of(parameter);
            let is_named = mentions(path.to_token_stream(), name);
            absent.extend((!is_named).then(|| name.clone()));
            is_named
        })
        .collect();
    let count = if model.writes() { 3 } else { 2 };
    let lifetimes = generics.lifetimes().count();
    let implementers = [&sides.old, &sides.new, both].into_iter().take(count);
    for (place, parameter) in implementers.clone().enumerate() {
        generics.params.insert(lifetimes + place, parse_quote!(#parameter #unsized_));
    }
    let applies = |predicate: &&WherePredicate| {
        !is_of_self(predicate)
            && !absent.iter().any(|name| mentions(predicate.to_token_stream(), name))
    };
    let kept: Vec<_> = model.predicates.iter().filter(applies).cloned().collect();
    let clause = generics.make_where_clause();
    clause.predicates.extend(kept);
    for implementer in implementers {
        clause.predicates.push(parse_quote! {
            #implementer: #path + ::core::marker::Send + ::core::marker::Sync + 'static
        });
    }
    generics
}

fn name_of(parameter: &GenericParam) -> &Ident {
    match parameter {
        GenericParam::Lifetime(parameter) => &parameter.lifetime.ident,
        GenericParam::Type(parameter) => &parameter.ident,
        GenericParam::Const(parameter) => &parameter.ident,
    }
}

/// What the subtrait asks of its wrapper: this supertrait among others.
fn is_of_self(predicate: &WherePredicate) -> bool {
    let WherePredicate::Type(predicate) = predicate else { return false };
    matches!(&predicate.bounded_ty, Type::Path(path) if path.path.is_ident("Self"))
}

fn mentions(tokens: TokenStream, name: &Ident) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == *name,
        TokenTree::Group(group) => mentions(group.stream(), name),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}
