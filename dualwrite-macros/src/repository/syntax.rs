//! What was typed: the user's trait, and our attributes taken off it. Decides nothing.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{Attribute, ItemTrait, TraitItem};

/// A trait under `#[repository]`.
pub(super) struct Source {
    /// The trait without our attributes, otherwise untouched.
    pub(super) item: ItemTrait,
    /// Our attributes, for each item of the trait.
    pub(super) routing: Vec<Vec<Attribute>>,
}

/// Splits the trait from our attributes.
pub(super) fn parse(item: TokenStream) -> syn::Result<Source> {
    let mut item: ItemTrait = syn::parse2(item.clone()).map_err(|error| {
        // It is one, and something in it is not finished.
        if is_trait(item.clone()) {
            return error;
        }
        // Another kind of item is the likely mistake, and the only one rustc lets through to here.
        match syn::parse2::<syn::Item>(item) {
            Ok(syn::Item::Impl(_)) => syn::Error::new(
                error.span(),
                "`#[repository]` goes on the trait: put it above `trait …`, and implement that twice",
            ),
            _ => syn::Error::new(error.span(), "`#[repository]` goes on a trait: write it above `trait …`"),
        }
    })?;
    let routing = item.items.iter_mut().map(take_routing).collect();
    Ok(Source { item, routing })
}

fn is_trait(item: TokenStream) -> bool {
    let words = item.into_iter().take_while(
        |token| !matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace),
    );
    let mut words = words.filter_map(|token| match token {
        TokenTree::Ident(word) => Some(word),
        _ => None,
    });
    words.any(|word| word == "trait")
}

impl Source {
    /// `#[async_trait]` below our attribute. Above ours, it has done its work already.
    pub(super) fn async_trait(&self) -> Option<&Attribute> {
        self.item.attrs.iter().find(|attribute| is_async_trait(attribute))
    }
}

fn is_async_trait(attribute: &Attribute) -> bool {
    attribute.path().segments.last().is_some_and(|last| last.ident == "async_trait")
}

fn take_routing(item: &mut TraitItem) -> Vec<Attribute> {
    match item {
        TraitItem::Fn(method) => {
            method.attrs.extract_if(.., |attribute| is_ours(attribute)).collect()
        }
        _ => Vec::new(),
    }
}

fn is_ours(attribute: &Attribute) -> bool {
    ["read", "write", "primary"].iter().any(|name| attribute.path().is_ident(name))
}
