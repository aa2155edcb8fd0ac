//! `Self` in the trait means the wrapper in the wrapper's `impl`. Associated types are the old
//! side's there (and the new side's are the same), so `Self::Error` becomes `<O as Trait>::Error`
//! wherever the compiler would otherwise go in circles.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens as _, quote};
use syn::visit::{self, Visit};
use syn::visit_mut::{self, VisitMut};
use syn::{Generics, ItemTrait, Signature, Type, TypePath, WherePredicate, parse_quote};

use crate::diag::{Errors, suggestion};
use crate::names;

/// Replaces `Self::X` by `<O as Trait>::X`.
pub(super) struct Substitute<'m> {
    old: &'m Ident,
    trait_name: &'m Ident,
    trait_path: TokenStream,
    associated: &'m [Ident],
}

impl<'m> Substitute<'m> {
    pub(super) fn new(old: &'m Ident, item: &'m ItemTrait, associated: &'m [Ident]) -> Self {
        let (_, arguments, _) = item.generics.split_for_impl();
        let trait_name = &item.ident;
        Self { old, trait_name, trait_path: quote!(#trait_name #arguments), associated }
    }

    pub(super) fn in_generics(&self, generics: &mut Generics) {
        Replace(self).visit_generics_mut(generics);
    }

    pub(super) fn in_predicate(&self, predicate: &mut WherePredicate) {
        Replace(self).visit_where_predicate_mut(predicate);
    }

    pub(super) fn in_type(&self, ty: &mut Type) {
        Replace(self).visit_type_mut(ty);
    }

    fn replaced(&self, path: &TypePath) -> Option<TypePath> {
        let (old, trait_path) = (self.old, &self.trait_path);
        if let Some(qself) = &path.qself {
            let of_this_trait = qself.position > 0
                && path.path.segments.get(qself.position - 1)?.ident == *self.trait_name;
            let rest = path.path.segments.iter().skip(qself.position);
            let of_self = qself.ty.to_token_stream().to_string() == "Self";
            return (of_self && of_this_trait)
                .then(|| parse_quote!(<#old as #trait_path> #(:: #rest)*));
        }
        let mut segments = path.path.segments.iter();
        let first = segments.next()?;
        let known =
            path.path.segments.get(1).is_some_and(|second| self.associated.contains(&second.ident));
        (first.ident == "Self" && known)
            .then(|| parse_quote!(<#old as #trait_path> #(:: #segments)*))
    }
}

struct Replace<'s, 'm>(&'s Substitute<'m>);

impl VisitMut for Replace<'_, '_> {
    fn visit_type_path_mut(&mut self, path: &mut TypePath) {
        match self.0.replaced(path) {
            Some(replaced) => *path = replaced,
            None => visit_mut::visit_type_path_mut(self, path),
        }
    }
}

/// Reports uses of `Self` that cannot mean the same on both sides and on the wrapper.
pub(super) fn check(signature: &Signature, associated: &[Ident], errors: &mut Errors) {
    let mut uses = Uses { associated, errors };
    for argument in signature.inputs.iter().skip(1) {
        uses.visit_fn_arg(argument);
    }
    uses.visit_return_type(&signature.output);
}

struct Uses<'m> {
    associated: &'m [Ident],
    errors: &'m mut Errors,
}

impl<'ast> Visit<'ast> for Uses<'_> {
    fn visit_type_path(&mut self, path: &'ast TypePath) {
        let mut segments = path.path.segments.iter();
        if path.qself.is_some() || segments.next().is_none_or(|first| first.ident != "Self") {
            return visit::visit_path(self, &path.path);
        }
        match segments.next() {
            None => self.errors.on(
                path,
                "`Self` is another type on each side and on the wrapper: name a type that all three share",
            ),
            Some(name) if !self.associated.contains(&name.ident) => {
                let (name, known) = (&name.ident, self.associated.iter().map(names::plain));
                let near = suggestion(&names::plain(name), known);
                let rule = format!("`Self::{name}` is declared elsewhere, if at all: declare `type {name};` in this trait");
                self.errors.on(name, format!("{rule}{near}"));
            }
            Some(_) => {}
        }
    }
}

/// Whether a type is decided by the trait's parameters or associated types.
pub(super) fn depends_on(ty: &Type, item: &ItemTrait) -> bool {
    let parameters: Vec<&Ident> =
        item.generics.type_params().map(|parameter| &parameter.ident).collect();
    mentions(ty.to_token_stream(), &|ident| ident == "Self" || parameters.contains(&ident))
}

fn mentions(tokens: TokenStream, wanted: &dyn Fn(&Ident) -> bool) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => wanted(&ident),
        TokenTree::Group(group) => mentions(group.stream(), wanted),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}
