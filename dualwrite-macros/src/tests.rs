//! The macros on source text: what comes out of them (`…snapshots`), and what they say (`…refusals`).

mod compare_refusals;
mod compare_snapshots;
mod conditional;
mod dual_refusals;
mod dual_snapshots;
mod keys;
mod names_of_the_library;
mod option_refusals;
mod refusals;
mod snapshots;
mod streams;
mod supertraits;

use proc_macro2::{Ident, TokenStream};
use quote::ToTokens as _;
use syn::{Attribute, DeriveInput, File, Item, LitStr, Meta};

/// Expands the one item in a source text: the trait under `#[repository]`, the item under
/// `#[derive(Compare)]` or `#[derive(Key)]`, or else the item under `#[derive(Dual)]`.
fn expand(source: &str) -> TokenStream {
    let file: File = syn::parse_str(source).unwrap();
    match <[Item; 1]>::try_from(file.items).ok().unwrap() {
        [Item::Trait(mut item)] => {
            let is_ours = |meta: &Meta| meta.path().is_ident("repository");
            let ours = item.attrs.iter().position(|attribute| is_ours(&attribute.meta)).unwrap();
            let args = match item.attrs.remove(ours).meta {
                Meta::List(list) => list.tokens,
                _ => TokenStream::new(),
            };
            crate::repository::repository(args, item.into_token_stream())
        }
        [other] => {
            let item = other.into_token_stream();
            let input = syn::parse2::<DeriveInput>(item.clone()).unwrap();
            match input.attrs.iter().find_map(derived).as_deref() {
                Some("Compare") => crate::compare::compare(item),
                Some("Key") => crate::key::key(item),
                _ => crate::dual::dual(item),
            }
        }
    }
}

fn derived(attribute: &Attribute) -> Option<String> {
    let name = attribute.path().is_ident("derive").then(|| attribute.parse_args::<Ident>());
    name?.ok().map(|name| name.to_string())
}

/// What an expansion reports, and the items beside that.
fn reported(expansion: TokenStream) -> (Vec<String>, Vec<Item>) {
    let file: File = syn::parse2(expansion).unwrap();
    let mut messages = Vec::new();
    let mut items = Vec::new();
    for item in file.items {
        match item {
            Item::Macro(item)
                if item.mac.path.segments.last().unwrap().ident == "compile_error" =>
            {
                messages.push(item.mac.parse_body::<LitStr>().unwrap().value());
            }
            item => items.push(item),
        }
    }
    (messages, items)
}

/// Expects exactly these messages, in this order.
fn check_refused(source: &str, expected: &[&str]) {
    let (messages, items) = reported(expand(source));
    assert_eq!(messages, expected);
    for message in messages {
        let first = message.chars().next().unwrap();
        assert!(first == '`' || first.is_lowercase(), "not in lower case: {message}");
        assert!(!message.ends_with('.'), "a final stop: {message}");
    }
    let is_placeholder =
        |item: &&Item| !matches!(item, Item::Impl(block) if block.trait_.is_none());
    let rest = items.iter().filter(is_placeholder).count();
    assert_eq!(rest, 1, "only the user's trait, or a placeholder, is left beside mistakes");
}
