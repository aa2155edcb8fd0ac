//! The columns that a record is read from, and the values that are bound to them, side by side.

use proc_macro2::{Ident, TokenStream};
use quote::ToTokens as _;
use syn::{GenericParam, WhereClause, parse_quote};

use super::super::model::{Dual, Field, Marker, Pair, Part, Place, Role, Table};
use super::side::{Which, cloned, locals, present, tuple, values, with};

/// Where each field is read from: a constant of `DualTable`.
pub(super) fn read(model: &Dual, table: &Table) -> TokenStream {
    let private = model.root.private();
    let columns = table.fields.iter().map(|field| {
        let name = &field.column;
        let column = |name: &str| code!(#private::Source::Column(#name));
        let own = column(name);
        let other = match (field.has_default, field.is_optional) {
            (true, _) => code!(#private::Source::Nothing),
            (false, true) => code!(#private::Source::Null),
            (false, false) => own.clone(),
        };
        let (old, new) = match &field.role {
            Role::Shared => (own.clone(), own),
            Role::Marker => (code!(#private::Source::Unmarked), own),
            Role::Moved(new) => (own, column(new)),
            Role::Old { renamed: Some(new) } => (own, column(new)),
            Role::New { renamed: Some(old) } => (column(old), own),
            Role::Old { renamed: None } => (own, other),
            Role::New { renamed: None } => (other, own),
        };
        code!(#private::ReadColumn { name: #name, old: #old, new: #new })
    });
    code!(const READ: &'static [#private::ReadColumn] = &[#(#columns),*];)
}

/// The `impl` of `BindColumns`.
pub(super) fn bind(model: &Dual, table: &Table, predicates: &Option<WhereClause>) -> TokenStream {
    let Dual { root, name: item, generics, pairs, .. } = model;
    let private = root.private();
    let database = Ident::new("__Database", proc_macro2::Span::call_site());
    let mut with_database = generics.clone();
    let parameter: GenericParam = parse_quote!(#database: #root::Backend);
    with_database.params.push(parameter);
    let mut clause = predicates.clone();
    let mut seen = Vec::new();
    for field in &table.fields {
        let ty = field.bound();
        let shown = ty.to_string();
        if !seen.contains(&shown) {
            let clause = clause.get_or_insert_with(|| parse_quote!(where));
            clause.predicates.push(parse_quote!(#ty: #private::Bound<#database>));
            seen.push(shown);
        }
    }
    let plain = table.fields.iter().filter_map(|field| plain(model, field));
    let of_pairs = pairs.iter().map(|pair| {
        let (old, new) = (of_side(model, pair, Which::Old), of_side(model, pair, Which::New));
        code!(#old #new)
    });
    let (parameters, _, _) = with_database.split_for_impl();
    let (_, arguments, _) = generics.split_for_impl();
    code! {
        #[automatically_derived]
        #[allow(deprecated)]
        impl #parameters #root::BindColumns<#database> for #item #arguments #clause {
            fn bind(
                &self,
                into: &mut #private::Binds<#database>,
            ) -> ::core::result::Result<(), #root::ConversionError> {
                #(#plain)*
                #(#of_pairs)*
                ::core::result::Result::Ok(())
            }
        }
    }
}

/// A field that holds its value itself.
fn plain(model: &Dual, field: &Field) -> Option<TokenStream> {
    let name = &field.name;
    let value = match (field.is_json, field.is_optional) {
        (true, _) => code! {
            ::core::option::Option::Some(::sqlx::types::Json(::core::clone::Clone::clone(&self.#name)))
        },
        (false, true) => code!(::core::clone::Clone::clone(&self.#name)),
        (false, false) => code! {
            ::core::option::Option::Some(::core::clone::Clone::clone(&self.#name))
        },
    };
    let column = &field.column;
    match &field.role {
        Role::Shared => Some(code!(into.shared(#column, #value);)),
        // What is written to new is there then, whatever was read.
        Role::Marker => {
            let root = &model.root;
            let written = code!(::core::option::Option::Some(true));
            Some(code!(into.of::<::core::primitive::bool>(#root::Side::New, #column, #written);))
        }
        Role::Moved(new) => Some(code!(into.moved(#column, #new, #value);)),
        Role::Old { .. } | Role::New { .. } => None,
    }
}

/// One side of a pair: what new says where it is there, else what old says.
fn of_side(model: &Dual, pair: &Pair, which: Which) -> TokenStream {
    let (root, parts, variant) = (&model.root, which.parts(pair), which.variant());
    if parts.iter().any(|part| !matches!(part.place, Place::Field(_))) {
        return TokenStream::new();
    }
    let found = locals("value", parts.len());
    let pattern = tuple(&found);
    let some: Vec<_> =
        found.iter().map(|value| code!(::core::option::Option::Some(#value))).collect();
    let none: Vec<_> = found.iter().map(|_| code!(::core::option::Option::None)).collect();
    let (some, none) = (tuple(&some), tuple(&none));
    let same = {
        let copies = parts.iter().zip(which.locals(pair));
        let copies: Vec<_> = copies.map(|(part, local)| cloned(part, code!(#local))).collect();
        tuple(&copies)
    };
    let other = values(model, pair, which);
    let (of_new, of_old) = match which {
        Which::New => (same, other),
        Which::Old => (other, same),
    };
    let (news, present) = (tuple(&Which::New.locals(pair)), present(model, pair));
    let from_old = with(pair, Which::Old, code!({ let #pattern = #of_old; #some }), none.clone());
    let binds = parts.iter().zip(&found).map(|(Part { column, value: ty, .. }, value)| {
        let ty = ty.to_token_stream();
        code!(into.of::<#ty>(#root::Side::#variant, #column, #value);)
    });
    if let Some(Marker { name, .. }) = &pair.marker {
        let from_new = with(pair, Which::New, code!({ let #pattern = #of_new; #some }), none);
        return code! {
            let #pattern = if self.#name { #from_new } else { #from_old };
            #(#binds)*
        };
    }
    code! {
        let #pattern = match #present {
            ::core::option::Option::Some(#news) => { let #pattern = #of_new; #some }
            ::core::option::Option::None => #from_old,
        };
        #(#binds)*
    }
}

impl Field {
    /// The type whose values are bound.
    fn bound(&self) -> TokenStream {
        let ty = &self.value;
        match self.is_json {
            true => code!(::sqlx::types::Json<#ty>),
            false => code!(#ty),
        }
    }
}
