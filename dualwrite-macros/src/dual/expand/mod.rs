//! Model → tokens: the methods of each pair, those of the whole, and the `impl`s of the traits.

/// `quote!`, with local variables that meet no name of the user.
macro_rules! code {
    ($($tokens:tt)*) => {
        quote::quote_spanned!(proc_macro2::Span::mixed_site()=> $($tokens)*)
    };
}

mod getter;
mod row;
mod setter;
mod side;
mod table;
mod whole;

use proc_macro2::TokenStream;
use quote::ToTokens as _;
use syn::{DeriveInput, WhereClause, parse_quote};

use super::model::{Dual, Pair, Present};
use crate::names;
use crate::paths::Root;

/// The methods and the `impl`s of the traits.
pub(super) fn expand(model: &Dual) -> TokenStream {
    let Dual { root, name, generics, .. } = model;
    let (parameters, arguments, _) = generics.split_for_impl();
    let predicates = predicates(model);
    let methods = methods(model);
    let dual = whole::bodies(model);
    let table = model.table.as_ref().map(|table| table::table(model, table, &predicates));
    code! {
        #methods

        #[automatically_derived]
        #[allow(deprecated)]
        impl #parameters #root::Dual for #name #arguments #predicates {
            #dual
        }

        #table
    }
}

/// The getters and setters of each pair, and the methods of the whole.
pub(super) fn methods(model: &Dual) -> TokenStream {
    let Dual { root, name, generics, pairs, .. } = model;
    let (parameters, arguments, _) = generics.split_for_impl();
    let predicates = predicates(model);
    let methods = pairs.iter().map(|pair| {
        let (getters, setters) = (getter::getters(model, pair), setter::setters(model, pair));
        code!(#getters #setters)
    });
    let whole = whole::methods(root);
    code! {
        impl #parameters #name #arguments #predicates {
            #(#methods)*
            #whole
        }
    }
}

/// An `impl` of the trait for an item with mistakes.
pub(super) fn placeholder(input: &DeriveInput, root: &Root) -> TokenStream {
    let name = &input.ident;
    let (parameters, arguments, predicates) = input.generics.split_for_impl();
    code! {
        #[automatically_derived]
        impl #parameters #root::Dual for #name #arguments #predicates {
            fn is_migrated(&self) -> bool {
                false
            }
            fn migrate(&mut self) -> ::core::result::Result<(), #root::ConversionError> {
                ::core::result::Result::Ok(())
            }
            fn divergence(&self) -> ::std::vec::Vec<&'static ::core::primitive::str> {
                ::std::vec::Vec::new()
            }
        }
    }
}

/// The user's `where` clause, and what values need whose types the parameters decide.
fn predicates(model: &Dual) -> Option<WhereClause> {
    let mut clause = model.generics.where_clause.clone();
    for pair in &model.pairs {
        for part in pair.old.iter().chain(&pair.new).filter(|part| part.is_generic) {
            let ty = &part.value;
            let default = matches!(pair.present, Present::NonDefault)
                .then(|| code!(+ ::core::default::Default));
            let bound: syn::WherePredicate = parse_quote!(
                #ty: ::core::clone::Clone + ::core::cmp::PartialEq #default
            );
            let clause = clause.get_or_insert_with(|| parse_quote!(where));
            let is_there = clause.predicates.iter().any(|known| {
                known.to_token_stream().to_string() == bound.to_token_stream().to_string()
            });
            if !is_there {
                clause.predicates.push(bound);
            }
        }
    }
    clause
}

/// "`a` and `b`", as they are shown in documentation.
fn shown(parts: &[super::model::Part]) -> String {
    let names: Vec<String> = parts.iter().map(|part| format!("`{}`", part.shown())).collect();
    names.join(" and ")
}

/// The name of a logical field in errors and reports.
fn plain(pair: &Pair) -> String {
    names::plain(&pair.name)
}
