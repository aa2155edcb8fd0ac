//! `#[derive(Dual)]`: a struct that holds an old and a new side for the same value gets getters that
//! read new where it is there, setters that write both, and forms of both that follow a plan.
//!
//! `lower` proves the pairs of fields, `model` is the proof, `expand` writes the methods. With any
//! mistake the methods of the valid pairs and a placeholder for the trait's `impl` come out next to all the
//! mistakes, so that code which needs them is not blamed.

mod expand;
mod lower;
mod model;
mod types;

use proc_macro2::TokenStream;
use quote::quote;
use syn::DeriveInput;

use crate::diag::Errors;

/// The derive, on tokens of `proc_macro2` so that tests can call it.
pub(crate) fn dual(item: TokenStream) -> TokenStream {
    let input: DeriveInput = match syn::parse2(item) {
        Ok(input) => input,
        Err(error) => return error.into_compile_error(),
    };
    let lower::Proven { dual, mistakes } = lower::dual(&input);
    let Some(error) = mistakes else {
        return dual.as_ref().map(expand::expand).unwrap_or_default();
    };
    let root = lower::Header::of(&input, &mut Errors::default()).root;
    // Whoever calls the getters of a valid pair has made no mistake.
    let methods = dual.as_ref().map(expand::methods).unwrap_or_default();
    let placeholder = expand::placeholder(&input, &root);
    let rest = root.unless_missing(quote!(#methods #placeholder));
    let error = error.into_compile_error();
    quote!(#rest #error)
}
