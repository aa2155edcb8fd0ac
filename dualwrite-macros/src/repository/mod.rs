//! `#[repository]` on a trait: the trait stays as written (`async fn` becomes `fn … -> impl Future +
//! Send`, unless `#[async_trait]` boxes it), and `Dual<Trait>` is added, which implements it over an old and a new implementation.
//!
//! `syntax` splits what was typed from our attributes, `lower` proves it valid, `model` is the
//! proof, `expand` and `docs` write the added items. With any mistake only the trait comes out, next
//! to all the mistakes: without it one typo would become forty "cannot find trait".

mod body;
mod conditional;
mod desugar;
mod docs;
mod expand;
mod fenced;
mod lower;
mod model;
mod supertraits;
mod syntax;
mod unit;

use proc_macro2::TokenStream;
use quote::quote;

/// The attribute, on tokens of `proc_macro2` so that tests can call it.
pub(crate) fn repository(args: TokenStream, item: TokenStream) -> TokenStream {
    if let Some(both) = conditional::split(&args, item.clone()) {
        return both;
    }
    let source = match syntax::parse(item.clone()) {
        Ok(source) => source,
        Err(error) => {
            let item = syntax::without_routing(item);
            let error = (!syntax::is_said(&error)).then(|| error.into_compile_error());
            return quote!(#item #error);
        }
    };
    match lower::repository(args, &source) {
        Ok(model) if model.fenced.is_some() => {
            let (of_fenced, added) = (fenced::expand(&model, &source), expand::expand(&model));
            quote!(#of_fenced #added)
        }
        // The trait is declared elsewhere.
        Ok(model) if model.remote.is_some() => expand::expand(&model),
        Ok(model) => {
            let (trait_item, added) = (trait_item(&source), expand::expand(&model));
            quote!(#trait_item #added)
        }
        Err(error) => {
            let (trait_item, error) = (trait_item(&source), error.into_compile_error());
            quote!(#trait_item #error)
        }
    }
}

fn trait_item(source: &syntax::Source) -> syn::ItemTrait {
    match source.async_trait() {
        Some(_) => source.declared(),
        None => desugar::trait_item(&source.declared()),
    }
}
