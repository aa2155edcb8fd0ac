//! Our attributes inside of `#[cfg_attr(…)]`. Only the compiler knows whether a condition holds, and an attribute macro
//! sees it before anybody has asked. So the trait comes out twice, each time with one of the answers and under a `#[cfg]`;
//! of these the compiler keeps one, and this macro reads that. It comes here once for each condition.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens as _, quote};
use syn::punctuated::Punctuated;
use syn::{Attribute, ItemTrait, Meta, Token, TraitItem};

use super::syntax::is_routing_path;
use crate::manifest::Dependency;

/// The trait with both answers to its first condition, where it has one.
pub(super) fn split(args: &TokenStream, item: TokenStream) -> Option<TokenStream> {
    let item: ItemTrait = syn::parse2(item).ok()?;
    let mut conditions = methods(&item).flat_map(|attributes| attributes.iter().filter_map(parts));
    let (condition, _) = conditions.find(|(_, given)| given.iter().any(is_ours))?;
    let root = root(args);
    let [with, without] = [true, false].map(|holds| answered(&item, &condition, holds));
    Some(quote! {
        #[cfg(#condition)]
        #[#root::repository(#args)]
        #with
        #[cfg(not(#condition))]
        #[#root::repository(#args)]
        #without
    })
}

fn methods(item: &ItemTrait) -> impl Iterator<Item = &Vec<Attribute>> {
    item.items.iter().filter_map(|item| match item {
        TraitItem::Fn(method) => Some(&method.attrs),
        _ => None,
    })
}

/// The condition of a `#[cfg_attr(…)]`, and the attributes that stand there if it holds.
fn parts(attribute: &Attribute) -> Option<(Meta, Vec<Meta>)> {
    if !attribute.path().is_ident("cfg_attr") {
        return None;
    }
    let list = Punctuated::<Meta, Token![,]>::parse_terminated;
    let mut all = attribute.parse_args_with(list).ok()?.into_iter();
    Some((all.next()?, all.collect()))
}

fn is_ours(attribute: &Meta) -> bool {
    is_routing_path(attribute.path())
}

/// The trait where the condition holds, or does not.
fn answered(item: &ItemTrait, condition: &Meta, holds: bool) -> ItemTrait {
    let asked = condition.to_token_stream().to_string();
    let mut item = item.clone();
    for method in &mut item.items {
        let TraitItem::Fn(method) = method else { continue };
        let attributes = std::mem::take(&mut method.attrs);
        for attribute in attributes {
            match parts(&attribute) {
                Some((found, given)) if found.to_token_stream().to_string() == asked => {
                    let given = given.into_iter().filter(|_| holds);
                    method.attrs.extend(given.map(|meta| Attribute { meta, ..attribute.clone() }));
                }
                _ => method.attrs.push(attribute),
            }
        }
    }
    item
}

/// Where this macro is found again: what stands behind `crate =`, or the name of the library in this package. Whatever is
/// wrong with that, the next run says.
fn root(args: &TokenStream) -> TokenStream {
    let mut words = args.clone().into_iter();
    while let Some(word) = words.next() {
        if matches!(&word, TokenTree::Ident(word) if word == "crate") {
            let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(sign) if sign.as_char() == ',');
            return words.skip(1).take_while(|token| !is_comma(token)).collect();
        }
    }
    match Dependency::of_this_package() {
        Dependency::Renamed(name) => {
            let name = syn::Ident::new(&name, proc_macro2::Span::call_site());
            quote!(::#name)
        }
        Dependency::AsPublished | Dependency::Absent => quote!(::dualwrite),
    }
}
