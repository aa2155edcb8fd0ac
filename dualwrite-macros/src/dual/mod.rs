//! `#[derive(Dual)]`: a struct that holds an old and a new side for the same value gets getters that
//! read new where it is there, setters that write both, and forms of both that follow a plan.
//!
//! `lower` proves the pairs of fields, `model` is the proof, `expand` writes the methods. With any
//! mistake a placeholder for the trait's `impl` comes out next to all the mistakes, so that code which
//! needs `Dual` is not blamed.

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
    match lower::dual(&input) {
        Ok(model) => expand::expand(&model),
        Err(error) => {
            let root = lower::Header::of(&input, &mut Errors::default()).root;
            let placeholder = expand::placeholder(&input, &root);
            let error = error.into_compile_error();
            quote!(#placeholder #error)
        }
    }
}
