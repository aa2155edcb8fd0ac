//! What must hold of type parameters: that the fields whose types they decide can be compared.
//!
//! The requirement is on the type of the field, since only that says what a map asks of its keys or a
//! list of its elements. A type that contains itself cannot be required of itself, so there it is on the
//! parameters beside it.

use std::collections::HashSet;

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::visit::{Visit, visit_type_path};
use syn::{Generics, Type, TypePath, WherePredicate, parse_quote};

use super::model::{Body, Compare, Field, How, Samples};

/// The generics of the `impl`.
pub(super) fn generics(model: &Compare) -> Generics {
    let mut generics = model.generics.clone();
    let fields: Vec<&Field> = match &model.body {
        Body::Struct(fields) => fields.iter().collect(),
        Body::Enum(variants) => variants.iter().flat_map(|variant| &variant.fields).collect(),
    };
    let mut seen = HashSet::new();
    let predicates: Vec<WherePredicate> = fields
        .into_iter()
        .flat_map(|field| of_field(model, field))
        .filter(|predicate| seen.insert(predicate.to_token_stream().to_string()))
        .collect();
    if !predicates.is_empty() {
        generics.make_where_clause().predicates.extend(predicates);
    }
    generics
}

fn of_field(model: &Compare, field: &Field) -> Vec<WherePredicate> {
    let (root, private, ty) = (&model.header.root, model.header.root.private(), &field.ty);
    let mut parameters = model.generics.type_params();
    if !parameters.any(|parameter| mentions(ty.to_token_stream(), &parameter.ident)) {
        return Vec::new();
    }
    match field.how {
        How::With(_) => match field.samples {
            Samples::Revealed => vec![parse_quote!(#ty: ::core::fmt::Debug)],
            Samples::Redacted => Vec::new(),
        },
        How::Near { .. } => vec![parse_quote!(#ty: #private::Near)],
        How::Plain | How::Unordered | How::Keyed(_) if is_recursive(model, ty) => {
            beside_itself(model, ty).iter().map(|ty| parse_quote!(#ty: #root::Compare)).collect()
        }
        How::Plain => vec![parse_quote!(#ty: #root::Compare)],
        How::Unordered | How::Keyed(_) => {
            vec![parse_quote!(<#ty as #private::List>::Item: #root::Compare)]
        }
    }
}

fn is_recursive(model: &Compare, ty: &Type) -> bool {
    let tokens = ty.to_token_stream();
    mentions(tokens.clone(), &model.name) || mentions(tokens, &quote::format_ident!("Self"))
}

fn mentions(tokens: TokenStream, name: &Ident) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == *name,
        TokenTree::Group(group) => mentions(group.stream(), name),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

/// What depends on a parameter in a type that contains itself, but for the parameters of that.
fn beside_itself<'m>(model: &'m Compare, ty: &'m Type) -> Vec<&'m TypePath> {
    struct Found<'m> {
        model: &'m Compare,
        paths: Vec<&'m TypePath>,
    }

    impl<'m> Visit<'m> for Found<'m> {
        fn visit_type_path(&mut self, path: &'m TypePath) {
            let Some(first) = path.path.segments.first() else { return };
            if self.model.generics.type_params().any(|parameter| parameter.ident == first.ident) {
                self.paths.push(path);
            } else if path.path.segments.iter().all(|segment| segment.ident != self.model.name) {
                visit_type_path(self, path);
            }
        }
    }

    let mut found = Found { model, paths: Vec::new() };
    found.visit_type(ty);
    found.paths
}
