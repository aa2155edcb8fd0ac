//! `#[derive(Key)]`: a struct of one field is a key as that field is; of several fields each is a column, in
//! order. With any mistake a placeholder for the `impl` comes out next to all the mistakes, so that code
//! which needs `Key` is not blamed.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Data, DataStruct, DeriveInput, Field, Index, Member, Type, WhereClause, parse_quote};

use crate::diag::Errors;
use crate::paths::Root;
use crate::settings::Settings;

/// As the library has tuples.
const COLUMNS_MAX: usize = 4;

/// A struct that can be a key.
struct Model<'i> {
    root: Root,
    input: &'i DeriveInput,
    fields: Vec<(Member, &'i Type)>,
}

/// The derive, on tokens of `proc_macro2` so that tests can call it.
pub(crate) fn key(item: TokenStream) -> TokenStream {
    let input: DeriveInput = match syn::parse2(item) {
        Ok(input) => input,
        Err(error) => return error.into_compile_error(),
    };
    let mut errors = Errors::default();
    let root = root(&input, &mut errors);
    let fields = fields(&input, &mut errors);
    match errors.into_result(fields) {
        Ok(fields) => expand(&Model { root, input: &input, fields }),
        Err(error) => {
            let placeholder = root.unless_missing(placeholder(&input, &root));
            let error = error.into_compile_error();
            quote!(#placeholder #error)
        }
    }
}

fn root(input: &DeriveInput, errors: &mut Errors) -> Root {
    let mut settings = Settings::new("`#[key]`", &["crate"]);
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("key")) {
        settings.add_attribute(attribute, errors);
    }
    Root::from_settings(&mut settings, errors)
}

fn fields<'i>(input: &'i DeriveInput, errors: &mut Errors) -> Vec<(Member, &'i Type)> {
    let data = match &input.data {
        Data::Struct(data) => data,
        Data::Enum(data) => {
            errors.on(&data.enum_token, NO_STRUCT);
            return Vec::new();
        }
        Data::Union(data) => {
            errors.on(&data.union_token, NO_STRUCT);
            return Vec::new();
        }
    };
    let fields = members(data);
    if !(1..=COLUMNS_MAX).contains(&fields.len()) {
        let count = fields.len();
        errors.on(
            &input.ident,
            format!("a key has one column, or up to {COLUMNS_MAX}: this has {count} fields"),
        );
    }
    fields
}

const NO_STRUCT: &str = "`Key` needs a struct, whose fields are the columns of the key";

fn members(data: &DataStruct) -> Vec<(Member, &Type)> {
    let member = |(index, field): (usize, &Field)| match &field.ident {
        Some(name) => Member::Named(name.clone()),
        None => Member::Unnamed(Index::from(index)),
    };
    data.fields
        .iter()
        .enumerate()
        .map(|(index, field)| (member((index, field)), &field.ty))
        .collect()
}

fn expand(model: &Model<'_>) -> TokenStream {
    let Model { root, input, fields } = model;
    let name = &input.ident;
    let (parameters, arguments, _) = input.generics.split_for_impl();
    let types = fields.iter().map(|field| field.1);
    let ty = whole(types);
    let columns = fields.iter().map(|(member, _)| quote!(&self.#member));
    let value = match fields.as_slice() {
        [(only, _)] => quote!(&self.#only),
        _ => quote!(&(#(#columns),*)),
    };
    let where_key = predicates(model, &quote!(#root::Key));
    let owned = owned(model, &ty);
    quote! {
        #[automatically_derived]
        impl #parameters #root::Key for #name #arguments #where_key {
            const KIND: #root::KeyKind = <#ty as #root::Key>::KIND;
            #[inline]
            fn hash(&self, seed: ::core::primitive::u64) -> ::core::primitive::u64 {
                #root::Key::hash(#value, seed)
            }
            #[inline]
            fn integer(&self) -> ::core::option::Option<::core::primitive::i64> {
                #root::Key::integer(#value)
            }
            #[inline]
            fn check(&self) -> ::core::result::Result<(), #root::Error> {
                #root::Key::check(#value)
            }
            fn push_parts(&self, parts: &mut ::std::vec::Vec<#root::KeyPart>) {
                #root::Key::push_parts(#value, parts)
            }
        }
        #owned
    }
}

/// A key that borrows cannot be read back.
fn owned(model: &Model<'_>, ty: &TokenStream) -> Option<TokenStream> {
    let Model { root, input, fields } = model;
    if input.generics.lifetimes().next().is_some() {
        return None;
    }
    let name = &input.ident;
    let (parameters, arguments, _) = input.generics.split_for_impl();
    let mut predicates = predicates(model, &quote!(#root::OwnedKey));
    if input.generics.type_params().next().is_some() {
        let clause = predicates.get_or_insert_with(|| parse_quote!(where));
        clause.predicates.push(parse_quote!(Self: ::core::clone::Clone + 'static));
    }
    let members = fields.iter().map(|field| &field.0);
    let locals: Vec<_> = (0..fields.len()).map(|at| format_ident!("column_{at}")).collect();
    let pattern = match locals.as_slice() {
        [only] => quote!(#only),
        several => quote!((#(#several),*)),
    };
    Some(quote! {
        #[automatically_derived]
        impl #parameters #root::OwnedKey for #name #arguments #predicates {
            fn take(
                parts: &mut dyn ::core::iter::Iterator<Item = #root::KeyPart>,
            ) -> ::core::result::Result<Self, #root::Error> {
                let #pattern = <#ty as #root::OwnedKey>::take(parts)?;
                ::core::result::Result::Ok(Self { #(#members: #locals),* })
            }
        }
    })
}

/// The type of the field, or the tuple of several.
fn whole<'t>(types: impl Iterator<Item = &'t Type>) -> TokenStream {
    let types: Vec<_> = types.collect();
    match types.as_slice() {
        [only] => quote!(#only),
        several => quote!((#(#several),*)),
    }
}

/// The user's `where` clause, and what types must hold that parameters decide.
fn predicates(model: &Model<'_>, bound: &TokenStream) -> Option<WhereClause> {
    let generics = &model.input.generics;
    let mut clause = generics.where_clause.clone();
    if generics.type_params().next().is_some() {
        let wanted = clause.get_or_insert_with(|| parse_quote!(where));
        wanted.predicates.extend(
            model.fields.iter().map(|(_, ty)| -> syn::WherePredicate { parse_quote!(#ty: #bound) }),
        );
    }
    clause
}

fn placeholder(input: &DeriveInput, root: &Root) -> TokenStream {
    let name = &input.ident;
    let (parameters, arguments, clause) = input.generics.split_for_impl();
    quote! {
        impl #parameters #root::Key for #name #arguments #clause {
            const KIND: #root::KeyKind = <::core::primitive::i64 as #root::Key>::KIND;
            fn hash(&self, seed: ::core::primitive::u64) -> ::core::primitive::u64 {
                seed
            }
            fn push_parts(&self, _: &mut ::std::vec::Vec<#root::KeyPart>) {}
        }
    }
}
