//! `#[derive(Compare)]`: differences field by field, with the path to each.
//!
//! `lower` proves the attributes, `model` is the proof, `expand` writes the `impl`, for which `bounds`
//! finds what must hold of type parameters. With any mistake a placeholder for the `impl` comes out next
//! to all the mistakes, so that code which needs `Compare` is not blamed.

mod bounds;
mod expand;
mod lower;
mod model;

use proc_macro2::TokenStream;
use quote::quote;
use syn::DeriveInput;

use crate::diag::Errors;

/// The derive, on tokens of `proc_macro2` so that tests can call it.
pub(crate) fn compare(item: TokenStream) -> TokenStream {
    let input: DeriveInput = match syn::parse2(item) {
        Ok(input) => input,
        Err(error) => return error.into_compile_error(),
    };
    match lower::compare(&input) {
        Ok(model) => expand::expand(&model),
        Err(error) => {
            let header = lower::header(&input, &mut Errors::default());
            let placeholder = header.root.unless_missing(expand::placeholder(&input, &header));
            let error = error.into_compile_error();
            quote!(#placeholder #error)
        }
    }
}
