//! Model → tokens: the `impl` of the trait. Each field is one statement, which hands its two values and
//! its place to an ordinary function of the library.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{ToTokens as _, quote};
use syn::spanned::Spanned as _;
use syn::{DeriveInput, Member, Path};

use super::bounds;
use super::model::{Body, Compare, Field, Header, How, Key, Samples, Variant};
use crate::names;

/// The local variables of generated code; no item of the user can meet them.
fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// The `impl` of the trait.
pub(super) fn expand(model: &Compare) -> TokenStream {
    let generics = bounds::generics(model);
    let (parameters, arguments, predicates) = generics.split_for_impl();
    let (root, name, other) = (&model.header.root, &model.name, other(&model.header));
    let trait_arguments = model.header.other.as_ref().map(|other| quote!(<#other>));
    let (new, at) = match is_empty(&model.body) {
        true => (quote!(_), quote!(_)),
        false => (local("new").into_token_stream(), local("at").into_token_stream()),
    };
    let uses = uses(model);
    let body = match &model.body {
        Body::Struct(fields) => compare_fields(model, fields),
        Body::Enum(variants) => compare_variants(model, variants),
    };
    let shows = shows(model);
    // Whether the other type has variants of its own cannot be seen from here.
    let allow = match (&model.body, &model.header.other) {
        (Body::Enum(_), Some(_)) => quote!(deprecated, unreachable_patterns),
        _ => quote!(deprecated),
    };
    quote! {
        #[automatically_derived]
        #[allow(#allow)]
        impl #parameters #root::Compare #trait_arguments for #name #arguments #predicates {
            fn compare(&self, #new: &#other, #at: &mut #root::Comparison<'_>) {
                #uses
                #body
            }
            #shows
        }
    }
}

/// An `impl` of the trait for an item with mistakes.
pub(super) fn placeholder(input: &DeriveInput, header: &Header) -> TokenStream {
    let (parameters, arguments, predicates) = input.generics.split_for_impl();
    let (root, name, other) = (&header.root, &input.ident, other(header));
    let trait_arguments = header.other.as_ref().map(|other| quote!(<#other>));
    quote! {
        #[automatically_derived]
        impl #parameters #root::Compare #trait_arguments for #name #arguments #predicates {
            fn compare(&self, _: &#other, _: &mut #root::Comparison<'_>) {}
        }
    }
}

/// The type of the new side.
fn other(header: &Header) -> TokenStream {
    header.other.as_ref().map_or_else(|| quote!(Self), |other| other.to_token_stream())
}

fn is_empty(body: &Body) -> bool {
    match body {
        Body::Struct(fields) => fields.is_empty(),
        Body::Enum(variants) => variants.is_empty(),
    }
}

/// The traits among which a field's type chooses.
fn uses(model: &Compare) -> Option<TokenStream> {
    let chooses = |field: &Field| match field.how {
        How::Plain | How::Unordered | How::Keyed(_) => true,
        How::With(_) | How::Near { .. } => false,
    };
    let is_needed = match &model.body {
        Body::Struct(fields) => fields.iter().any(chooses),
        Body::Enum(variants) => variants.iter().flat_map(|variant| &variant.fields).any(chooses),
    };
    let private = model.header.root.private();
    is_needed.then(|| {
        quote! {
            use #private::{ByEquality as _, ByFields as _, ByNothing as _};
        }
    })
}

fn compare_fields(model: &Compare, fields: &[Field]) -> TokenStream {
    let new = local("new");
    // A pattern without `..`, so that no field of the other type is forgotten.
    let all = model.header.other.as_ref().map(|other| {
        let members = fields.iter().map(|field| &field.other);
        let ignored = &model.header.ignored_of_other;
        quote!(let #other { #(#members: _,)* #(#ignored: _,)* } = #new;)
    });
    let statements = fields.iter().map(|field| {
        let (member, other) = (&field.member, &field.other);
        statement(model, field, &quote!(&self.#member), &quote!(&#new.#other))
    });
    quote!(#all #(#statements)*)
}

fn compare_variants(model: &Compare, variants: &[Variant]) -> TokenStream {
    let (new, at, private) = (local("new"), local("at"), model.header.root.private());
    if variants.is_empty() {
        return quote!(match *self {});
    }
    let arms = variants.iter().map(|variant| arm(model, variant));
    let here = match model.header.samples {
        None => quote!(#at),
        Some(Samples::Revealed) => quote!(&mut #at.here().reveal()),
        Some(Samples::Redacted) => quote!(&mut #at.here().redact()),
    };
    let is_alone = variants.len() == 1 && model.header.other.is_none();
    let rest = (!is_alone).then(|| quote!(_ => #private::variants(self, #new, #here),));
    quote! {
        match (self, #new) {
            #(#arms)*
            #rest
        }
    }
}

/// What happens where both sides have this variant.
fn arm(model: &Compare, variant: &Variant) -> TokenStream {
    let (name, other) = (&variant.name, other(&model.header));
    let locals: Vec<(Ident, Ident)> = (0..variant.fields.len())
        .map(|index| (local(&format!("old_{index}")), local(&format!("new_{index}"))))
        .collect();
    let old = variant.fields.iter().zip(&locals).map(|(field, (old, _))| {
        let member = &field.member;
        quote!(#member: #old)
    });
    let new = variant.fields.iter().zip(&locals).map(|(field, (_, new))| {
        let member = &field.other;
        quote!(#member: #new)
    });
    let ignored: Vec<TokenStream> = match &model.header.other {
        // Without `..`, so that no field of the other type is forgotten.
        Some(_) => variant.ignored_of_other.iter().map(|member| quote!(#member: _)).collect(),
        None => variant.has_ignored.then(|| quote!(..)).into_iter().collect(),
    };
    let old_rest = variant.has_ignored.then(|| quote!(..));
    let statements = variant.fields.iter().zip(&locals).map(|(field, (old, new))| {
        statement(model, field, &old.to_token_stream(), &new.to_token_stream())
    });
    quote! {
        (Self::#name { #(#old,)* #old_rest }, #other::#name { #(#new,)* #(#ignored),* }) => {
            #(#statements)*
        }
    }
}

/// Compares one field, given references to its two values.
fn statement(model: &Compare, field: &Field, old: &TokenStream, new: &TokenStream) -> TokenStream {
    let (root, private, at, name) =
        (&model.header.root, model.header.root.private(), local("at"), &field.name);
    let is_revealed = field.samples == Samples::Revealed;
    let reveal = is_revealed.then(|| quote!(.reveal()));
    let place = quote!(&mut #at.field(#name)#reveal);
    // Shown at the type, which is what must change if it cannot be compared.
    let chosen = Ident::new(
        if is_revealed { "compare_or_eq_revealed" } else { "compare_or_eq" },
        field.ty.span().resolved_at(Span::call_site()),
    );
    let (pair, inner) = (local("pair"), local("at"));
    let elements = quote!(|#pair, #inner: &mut #root::Comparison<'_>| (&&&#pair).#chosen(#inner));
    match &field.how {
        How::Plain => quote!((&&&#private::Pair::of(#old, #new)).#chosen(#place);),
        How::With(function) if is_revealed => {
            quote!(#private::judge_revealed(#function(#old, #new), #old, #new, #place);)
        }
        How::With(function) => quote!(#private::judge(#function(#old, #new), #place);),
        How::Near { absolute, relative } => {
            let near = Ident::new("near", field.ty.span().resolved_at(Span::call_site()));
            let [absolute, relative] = [absolute, relative].map(|n| Literal::f64_unsuffixed(*n));
            quote!(#private::#near(#old, #new, #absolute, #relative, #place);)
        }
        How::Unordered => {
            let unordered = Ident::new("unordered", chosen.span());
            quote!(#private::#unordered(#old, #new, #elements, #place);)
        }
        How::Keyed(key) => {
            let keyed = Ident::new("keyed", chosen.span());
            let (label, of_element) = key_of_element(key);
            quote! {
                #private::#keyed(
                    #old, #new, #label, #of_element, #of_element, #elements, #place
                );
            }
        }
    }
}

/// The label of a key in paths, and what gets it out of an element.
fn key_of_element(key: &Key) -> (String, TokenStream) {
    let element = local("element");
    match key {
        Key::Function(path) => (function_name(path), path.to_token_stream()),
        Key::Fields(ways) => {
            let shown: Vec<String> = ways.iter().map(|way| shown_way(way)).collect();
            match ways.as_slice() {
                [way] => (shown.concat(), quote!(|#element| &#element #(.#way)*)),
                ways => {
                    let parts = ways.iter().map(|way| quote!(&#element #(.#way)*));
                    (format!("({})", shown.join(", ")), quote!(|#element| (#(#parts),*)))
                }
            }
        }
    }
}

fn function_name(path: &Path) -> String {
    path.segments.last().map_or_else(String::new, |segment| names::plain(&segment.ident))
}

fn shown_way(way: &[Member]) -> String {
    let members = way.iter().map(|member| match member {
        Member::Named(name) => names::plain(name),
        Member::Unnamed(index) => index.index.to_string(),
    });
    members.collect::<Vec<_>>().join(".")
}

/// How an enum that stands alone is shown: by its variant. A struct is not.
fn shows(model: &Compare) -> Option<TokenStream> {
    let variants = match &model.body {
        Body::Enum(variants) if !variants.is_empty() => variants,
        Body::Enum(_) | Body::Struct(_) => return None,
    };
    if model.header.samples == Some(Samples::Redacted) {
        return None;
    }
    let (root, other) = (&model.header.root, other(&model.header));
    let (new, f) = (local("new"), local("f"));
    let names = |ty: &TokenStream| {
        let arms =
            variants.iter().map(|Variant { name, shown, .. }| quote!(#ty::#name { .. } => #shown,));
        quote!(#(#arms)*)
    };
    let old_names = names(&quote!(Self));
    let show_new = match &model.header.other {
        None => quote!(#root::Compare::<Self>::show_old(#new, #f)),
        Some(_) => {
            let new_names = names(&other);
            quote!(#f.write_str(match #new { #new_names _ => "…" }))
        }
    };
    Some(quote! {
        fn show_old(&self, #f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
            #f.write_str(match self { #old_names })
        }
        fn show_new(
            #new: &#other,
            #f: &mut ::core::fmt::Formatter<'_>,
        ) -> ::core::fmt::Result {
            #show_new
        }
    })
}
