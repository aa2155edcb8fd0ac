//! Which types can outlive the call. The second ask of a compared or lazy read runs after the caller
//! has its answer, so what it takes and what it answers must not borrow.

use proc_macro2::TokenStream;
use quote::ToTokens as _;
use syn::visit::{self, Visit};
use syn::{Lifetime, ParenthesizedGenericArguments, Type, TypeFnPtr, TypeImplTrait, TypeReference};

/// The first borrow in a type, as tokens to point at.
pub(super) fn borrow_in(ty: &Type) -> Option<TokenStream> {
    let mut borrows = Borrows(None);
    borrows.visit_type(ty);
    borrows.0
}

struct Borrows(Option<TokenStream>);

impl<'ast> Visit<'ast> for Borrows {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        match &reference.lifetime {
            Some(lifetime) if lifetime.ident == "static" => self.visit_type(&reference.elem),
            _ => {
                self.0.get_or_insert_with(|| reference.to_token_stream());
            }
        }
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        if lifetime.ident != "static" {
            self.0.get_or_insert_with(|| lifetime.to_token_stream());
        }
    }

    // A function that takes a reference borrows nothing itself.
    fn visit_type_fn_ptr(&mut self, _: &'ast TypeFnPtr) {}
    fn visit_parenthesized_generic_arguments(&mut self, _: &'ast ParenthesizedGenericArguments) {}
}

/// The first `impl Trait` in a type.
pub(super) fn impl_trait_in(ty: &Type) -> Option<&TypeImplTrait> {
    let mut found = ImplTraits(None);
    found.visit_type(ty);
    found.0
}

struct ImplTraits<'ast>(Option<&'ast TypeImplTrait>);

impl<'ast> Visit<'ast> for ImplTraits<'ast> {
    fn visit_type_impl_trait(&mut self, found: &'ast TypeImplTrait) {
        self.0.get_or_insert(found);
        visit::visit_type_impl_trait(self, found);
    }
}
