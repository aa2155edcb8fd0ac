//! The columns of the table, and the conversions of a row for the ready copy function.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::ToTokens as _;
use syn::{GenericParam, WhereClause, parse_quote};

use super::super::model::{Dual, Moved, Pair, Part, Table};
use super::super::types::is_text;
use super::side::{Which, convert, locals, tuple, views};
use super::{plain, row};
use crate::names;

/// The `impl`s of `DualTable` and of its hidden companion.
pub(super) fn table(model: &Dual, table: &Table, predicates: &Option<WhereClause>) -> TokenStream {
    let Dual { root, name: item, generics, pairs, .. } = model;
    let (parameters, arguments, _) = generics.split_for_impl();
    let Table { name, key_types, key, columns, old_columns, new_columns, .. } = table;
    let key_type = match key_types.as_slice() {
        [only] => only.to_token_stream(),
        several => code!((#(#several),*)),
    };
    let record = names::plain(item);
    let private = root.private();
    let carried = pairs.iter().map(|pair| carried(model, pair));
    let moved = model.moved.iter().map(|moved| self::moved(model, moved));
    let read = row::read(model, table);
    let markers = markers(model);
    let list = code!(&'static [&'static ::core::primitive::str]);
    // A row is handed from task to task, and its parameters with it.
    let predicates = owned(model, predicates);
    let conversions = conversions(model, &predicates);
    let bind = row::bind(model, table, &predicates);
    code! {
        #[automatically_derived]
        impl #parameters #root::DualTable for #item #arguments #predicates {
            type Key = #key_type;
            const TABLE: &'static ::core::primitive::str = #name;
            const KEY: #list = &[#(#key),*];
            const COLUMNS: #list = &[#(#columns),*];
            const OLD_COLUMNS: #list = &[#(#old_columns),*];
            const NEW_COLUMNS: #list = &[#(#new_columns),*];
            const RECORD: &'static ::core::primitive::str = #record;
            const CARRIED: &'static [#private::Carried] = &[#(#carried,)* #(#moved,)*];
            #markers
            #read
        }

        #conversions

        #bind
    }
}

/// The columns that say of a field that new has it.
fn markers(model: &Dual) -> Option<TokenStream> {
    let marked: Vec<_> = model
        .markers()
        .map(|(field, marker)| {
            let (field, column) = (names::plain(field), &marker.column);
            code!((#field, #column))
        })
        .collect();
    let text = code!(&'static ::core::primitive::str);
    (!marked.is_empty()).then(|| code!(const MARKERS: &'static [(#text, #text)] = &[#(#marked),*];))
}

fn owned(model: &Dual, predicates: &Option<WhereClause>) -> Option<WhereClause> {
    let mut clause = predicates.clone();
    let name = &model.name;
    let (_, arguments, _) = model.generics.split_for_impl();
    if model.generics.type_params().next().is_some() {
        let clause = clause.get_or_insert_with(|| parse_quote!(where));
        clause.predicates.push(parse_quote!(#name #arguments: ::core::marker::Send + 'static));
    }
    clause
}

fn moved(model: &Dual, Moved { name, old, new, is_text, .. }: &Moved) -> TokenStream {
    let (private, field) = (model.root.private(), names::plain(name));
    let alike = if *is_text { code!(Letters) } else { code!(Equal) };
    code! {
        #private::Carried {
            field: #field,
            old: &[#old],
            new: &[#new],
            how: #private::Carry::Rename(#private::Alike::#alike),
        }
    }
}

fn carried(model: &Dual, pair: &Pair) -> TokenStream {
    let private = model.root.private();
    let field = plain(pair);
    let columns = |parts: &[Part]| {
        let names: Vec<String> = parts.iter().map(|part| part.column.clone()).collect();
        code!(&[#(#names),*])
    };
    let (old, new, sql) = (columns(&pair.old), columns(&pair.new), &pair.sql);
    let how = match (pair.is_converted(), sql.is_empty()) {
        (true, true) => code!(Rust),
        (true, false) => code!(Sql(&[#(#sql),*])),
        (false, _) => {
            let is_text = pair.old.iter().any(|part| is_text(&part.value));
            let alike = if is_text { code!(Letters) } else { code!(Equal) };
            code!(Rename(#private::Alike::#alike))
        }
    };
    code! {
        #private::Carried { field: #field, old: #old, new: #new, how: #private::Carry::#how }
    }
}

/// The predicates, with one for each type of a converted column.
fn with_columns(
    model: &Dual,
    predicates: &Option<WhereClause>,
    converted: &[(usize, &Pair)],
    database: &Ident,
) -> Option<WhereClause> {
    let private = model.root.private();
    let mut clause = predicates.clone();
    let mut seen = Vec::new();
    for part in converted.iter().flat_map(|(_, pair)| pair.old.iter().chain(&pair.new)) {
        let (ty, shown) = (&part.value, part.value.to_token_stream().to_string());
        if !seen.contains(&shown) {
            let clause = clause.get_or_insert_with(|| parse_quote!(where));
            clause.predicates.push(parse_quote!(#ty: #private::Column<#database>));
            seen.push(shown);
        }
    }
    clause
}

fn conversions(model: &Dual, predicates: &Option<WhereClause>) -> TokenStream {
    let Dual { root, name: item, generics, pairs, .. } = model;
    let private = root.private();
    let database = Ident::new("__Database", proc_macro2::Span::call_site());
    let mut with_database = generics.clone();
    let parameter: GenericParam = parse_quote!(#database: #root::Backend);
    with_database.params.push(parameter);
    let converted: Vec<(usize, &Pair)> =
        pairs.iter().enumerate().filter(|(_, pair)| pair.is_converted()).collect();
    let clause = with_columns(model, predicates, &converted, &database);
    let (parameters, _, _) = with_database.split_for_impl();
    let (_, arguments, _) = generics.split_for_impl();
    let body = (!converted.is_empty()).then(|| {
        let arms = converted.iter().map(|(index, pair)| arm(model, pair, *index));
        let types = converted.iter().flat_map(|(_, pair)| &pair.new).map(|part| {
            let (column, ty) = (&part.column, &part.value);
            code!((#column, #private::type_name::<#ty, #database>()))
        });
        code! {
            fn new_types() -> ::std::vec::Vec<(
                &'static ::core::primitive::str,
                ::std::string::String,
            )> {
                ::core::convert::From::from([#(#types),*])
            }

            fn convert(
                index: ::core::primitive::usize,
                to: #root::Side,
                row: &mut #private::Columns<'_, #database>,
                into: &mut #private::Assigned<#database>,
            ) -> ::core::result::Result<(), #private::Unconverted> {
                match index {
                    #(#arms)*
                    _ => {}
                }
                ::core::result::Result::Ok(())
            }
        }
    });
    code! {
        #[automatically_derived]
        #[allow(deprecated)]
        impl #parameters #private::ConvertColumns<#database> for #item #arguments #clause {
            #body
        }
    }
}

fn arm(model: &Dual, pair: &Pair, index: usize) -> TokenStream {
    let root = &model.root;
    let index = Literal::usize_unsuffixed(index);
    let (old, new) = (Which::Old.locals(pair), Which::New.locals(pair));
    let take = |part: &Part, local: &Ident| {
        let ty = &part.value;
        code!(let #local = row.take::<#ty>()?;)
    };
    let taken = pair.old.iter().zip(&old).chain(pair.new.iter().zip(&new));
    let taken = taken.map(|(part, local)| take(part, local));
    let to_old = assign(model, pair, Which::New, Which::Old);
    let to_new = assign(model, pair, Which::Old, Which::New);
    code! {
        #index => {
            #(#taken)*
            match to {
                #root::Side::Old => { #to_old }
                #root::Side::New => { #to_new }
            }
        }
    }
}

/// Converts one side, whose locals hold an `Option` each, and assigns the other.
fn assign(model: &Dual, pair: &Pair, from: Which, to: Which) -> TokenStream {
    let (given, current) = (from.locals(pair), to.locals(pair));
    let values = locals("value", to.parts(pair).len());
    let pattern = tuple(&values);
    let converted = convert(model, pair, to, &views(from.parts(pair), &given));
    let some = values.iter().map(|value| code!(::core::option::Option::Some(#value)));
    let some = tuple(&some.collect::<Vec<_>>());
    let none = values.iter().map(|_| code!(::core::option::Option::None));
    let none = tuple(&none.collect::<Vec<_>>());
    let looks = given.iter().map(|given| code!(&#given)).collect::<Vec<_>>();
    let looks = tuple(&looks);
    let all = given.iter().map(|given| code!(::core::option::Option::Some(#given)));
    let all = tuple(&all.collect::<Vec<_>>());
    let sets = to.parts(pair).iter().zip(&values).zip(&current).map(|((part, value), current)| {
        let set = if part.is_optional { code!(set) } else { code!(fill) };
        code!(into.#set(#value, #current)?;)
    });
    code! {
        let #pattern = match #looks {
            #all => {
                let #pattern = #converted?;
                #some
            }
            _ => #none,
        };
        #(#sets)*
    }
}
