//! What was typed: the user's trait, and our attributes taken off it. Decides nothing.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::quote_spanned;
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

/// Whether the compiler has reported this in words of its own: a method without an end is none for it, either.
pub(super) fn is_said(error: &syn::Error) -> bool {
    error.to_string() == "expected curly braces or `;`"
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

/// What cannot be read, with attributes in place of ours that mean nothing: nobody else knows ours. All stands where
/// it stood, so that the compiler, which has said already what it could not read, does not say it again.
pub(super) fn without_routing(item: TokenStream) -> TokenStream {
    let mut is_attribute = false;
    let tokens = item.into_iter().map(|token| match token {
        TokenTree::Group(group) => {
            if !(has_routing(group.stream()) || is_attribute && is_routing(group.stream())) {
                is_attribute = false;
                return TokenTree::Group(group);
            }
            let inner = match is_attribute && is_routing(group.stream()) {
                true => quote_spanned!(group.span()=> cfg(all())),
                false => without_routing(group.stream()),
            };
            let mut changed = Group::new(group.delimiter(), inner);
            changed.set_span(group.span());
            is_attribute = false;
            TokenTree::Group(changed)
        }
        token => {
            is_attribute = matches!(&token, TokenTree::Punct(sign) if sign.as_char() == '#');
            token
        }
    });
    tokens.collect()
}

/// Whether one of our attributes may stand in it.
fn has_routing(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Group(group) => is_routing(group.stream()) || has_routing(group.stream()),
        _ => false,
    })
}

fn is_routing(attribute: TokenStream) -> bool {
    match attribute.into_iter().next() {
        Some(TokenTree::Ident(name)) => OURS.iter().any(|ours| name == ours),
        _ => false,
    }
}

impl Source {
    /// The trait as it is declared: without the copies of what its supertraits declare.
    pub(super) fn declared(&self) -> ItemTrait {
        let mut item = self.item.clone();
        let mut routing = self.routing.iter();
        let is_copy = |attributes: &Vec<Attribute>| {
            attributes.iter().any(|attribute| attribute.path().is_ident(SUPERTRAIT))
        };
        item.items.retain(|_| !routing.next().is_some_and(is_copy));
        item
    }

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

const OURS: [&str; 4] = ["read", "write", "primary", SUPERTRAIT];

/// Above the copy of a method that a supertrait declares.
pub(super) const SUPERTRAIT: &str = "supertrait";

fn is_ours(attribute: &Attribute) -> bool {
    is_routing_path(attribute.path())
}

/// Whether this is the name of one of ours.
pub(super) fn is_routing_path(path: &syn::Path) -> bool {
    OURS.iter().any(|name| path.is_ident(name))
}
