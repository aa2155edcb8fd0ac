//! Model → tokens: getter and setter of each pair, and the trait's `impl`.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote};
use syn::DeriveInput;

use super::model::{Dual, Pair, View};
use crate::names;
use crate::paths::Root;

/// The methods and the `impl` of the trait.
pub(super) fn expand(model: &Dual) -> TokenStream {
    let Dual { root, name, generics, pairs } = model;
    let (parameters, arguments, predicates) = generics.split_for_impl();
    let methods = pairs.iter().map(|pair| {
        let (getter, setter) = (getter(pair), setter(pair));
        quote!(#getter #setter)
    });
    let is_migrated = proc_macro2::Ident::new(names::IS_MIGRATED, proc_macro2::Span::call_site());
    let migrated = migrated(pairs);
    quote! {
        impl #parameters #name #arguments #predicates {
            #(#methods)*

            /// Whether every new field is filled.
            #[must_use]
            #[allow(dead_code)]
            pub fn #is_migrated(&self) -> bool {
                #root::Dual::is_migrated(self)
            }
        }

        #[automatically_derived]
        #[allow(deprecated)]
        impl #parameters #root::Dual for #name #arguments #predicates {
            fn is_migrated(&self) -> bool {
                #migrated
            }
        }
    }
}

/// An `impl` of the trait for an item with mistakes.
pub(super) fn placeholder(input: &DeriveInput, root: &Root) -> TokenStream {
    let name = &input.ident;
    let (parameters, arguments, predicates) = input.generics.split_for_impl();
    quote! {
        #[automatically_derived]
        impl #parameters #root::Dual for #name #arguments #predicates {
            fn is_migrated(&self) -> bool {
                false
            }
        }
    }
}

fn getter(pair: &Pair) -> TokenStream {
    let Pair { old, new, visibility, .. } = pair;
    let name = &new.name;
    let (docs, answer, body) = match (old.is_optional, new.is_optional) {
        (_, false) => (read_always(pair), viewed(pair), stored(pair)),
        (false, true) => (read_first(pair), viewed(pair), filled_or_old(pair)),
        (true, true) => {
            let viewed = viewed(pair);
            (read_first(pair), quote!(::core::option::Option<#viewed>), first_filled(pair))
        }
    };
    quote! {
        #[doc = #docs]
        #[must_use]
        #[allow(dead_code, deprecated)]
        #visibility fn #name(&self) -> #answer {
            #body
        }
    }
}

fn read_first(Pair { old, new, .. }: &Pair) -> String {
    format!(
        " `{}` where it is filled, else `{}`.",
        names::plain(&new.name),
        names::plain(&old.name)
    )
}

fn read_always(Pair { old, new, .. }: &Pair) -> String {
    format!(
        " `{}`, which has taken the place of `{}`.",
        names::plain(&new.name),
        names::plain(&old.name)
    )
}

fn viewed(Pair { view, value, .. }: &Pair) -> TokenStream {
    match view {
        View::Str => quote!(&::core::primitive::str),
        View::Slice(element) => quote!(&[#element]),
        View::Copied => value.to_token_stream(),
        View::Whole => quote!(&#value),
    }
}

/// The new field, which is always filled.
fn stored(Pair { new, view, .. }: &Pair) -> TokenStream {
    let new = &new.name;
    match view {
        View::Copied => quote!(self.#new),
        View::Str | View::Slice(_) | View::Whole => quote!(&self.#new),
    }
}

fn filled_or_old(Pair { old, new, view, .. }: &Pair) -> TokenStream {
    let (old, new) = (&old.name, &new.name);
    let borrow = match view {
        View::Copied => None,
        View::Str | View::Slice(_) | View::Whole => Some(quote!(&)),
    };
    quote! {
        match #borrow self.#new {
            ::core::option::Option::Some(value) => value,
            ::core::option::Option::None => #borrow self.#old,
        }
    }
}

fn first_filled(Pair { old, new, view, .. }: &Pair) -> TokenStream {
    let look = match view {
        View::Copied => None,
        View::Str | View::Slice(_) => Some(quote!(::core::option::Option::as_deref)),
        View::Whole => Some(quote!(::core::option::Option::as_ref)),
    };
    let [old, new] = [&old.name, &new.name].map(|field| match &look {
        Some(look) => quote!(#look(&self.#field)),
        None => quote!(self.#field),
    });
    quote!(::core::option::Option::or(#new, #old))
}

fn setter(pair: &Pair) -> TokenStream {
    let Pair { old, new, value, visibility, setter, is_generic, .. } = pair;
    let docs = format!(" Writes `{}` and `{}`.", names::plain(&old.name), names::plain(&new.name));
    let (old_value, new_value) = (
        filling(old.is_optional, quote!(::core::clone::Clone::clone(&value))),
        filling(new.is_optional, quote!(value)),
    );
    let (old, new) = (&old.name, &new.name);
    let bound = is_generic.then(|| quote!(where #value: ::core::clone::Clone));
    quote! {
        #[doc = #docs]
        #[allow(dead_code, deprecated)]
        #visibility fn #setter(&mut self, value: impl ::core::convert::Into<#value>) #bound {
            let value: #value = ::core::convert::Into::into(value);
            self.#old = #old_value;
            self.#new = #new_value;
        }
    }
}

fn filling(is_optional: bool, value: TokenStream) -> TokenStream {
    if is_optional { quote!(::core::option::Option::Some(#value)) } else { value }
}

fn migrated(pairs: &[Pair]) -> TokenStream {
    let mut filled = pairs.iter().filter(|pair| pair.new.is_optional).map(|pair| {
        let new = &pair.new.name;
        quote!(::core::option::Option::is_some(&self.#new))
    });
    match filled.next() {
        Some(first) => quote!(#first #(&& #filled)*),
        None => quote!(true),
    }
}
