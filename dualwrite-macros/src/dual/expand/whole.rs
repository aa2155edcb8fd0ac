//! What the struct as a whole can say and do: `is_migrated`, `migrate`, `divergence`.

use proc_macro2::{Ident, Span, TokenStream};

use super::super::model::{Dual, Marker, Pair, Present};
use super::plain;
use super::side::{
    Which, all, clear, convert, is_present, locals, present, refuse_absent, tuple, unequal, values,
    views, with, write,
};
use crate::names;
use crate::paths::Root;

/// The inherent methods, for callers that have not imported the trait.
pub(super) fn methods(root: &Root) -> TokenStream {
    let [is_migrated, migrate, divergence] =
        names::DUAL_METHODS.map(|name| Ident::new(name, Span::call_site()));
    code! {
        /// Whether every new field is filled, or has nothing to take from old.
        #[must_use]
        pub fn #is_migrated(&self) -> bool {
            #root::Dual::is_migrated(self)
        }

        /// Fills the new fields that are not there from old.
        ///
        /// # Errors
        /// The first field that cannot be filled.
        pub fn #migrate(&mut self) -> ::core::result::Result<(), #root::ConversionError> {
            #root::Dual::migrate(self)
        }

        /// The fields whose two sides disagree.
        #[must_use]
        pub fn #divergence(&self) -> ::std::vec::Vec<&'static ::core::primitive::str> {
            #root::Dual::divergence(self)
        }
    }
}

/// The methods of the trait.
pub(super) fn bodies(model: &Dual) -> TokenStream {
    let root = &model.root;
    // Where NULL may be a value of new, only a copy of the database knows what is not there yet.
    let is_open =
        |pair: &&Pair| !pair.is_always_new() && (!pair.may_be_null() || pair.marker.is_some());
    let open: Vec<&Pair> = model.pairs.iter().filter(is_open).collect();
    let mut filled = open.iter().map(|pair| is_filled(model, pair));
    let is_migrated = match filled.next() {
        Some(first) => code!(#first #(&& #filled)*),
        None => code!(true),
    };
    let fills = open.iter().map(|pair| fill(model, pair));
    let checks = model.pairs.iter().map(|pair| {
        let (disagree, name) = (disagree(model, pair), plain(pair));
        let marked = pair.marker.as_ref().map(|Marker { name, .. }| code!(self.#name &&));
        code!(if #marked #disagree { fields.push(#name); })
    });
    code! {
        fn is_migrated(&self) -> bool {
            #is_migrated
        }

        fn migrate(&mut self) -> ::core::result::Result<(), #root::ConversionError> {
            #(#fills)*
            ::core::result::Result::Ok(())
        }

        fn divergence(&self) -> ::std::vec::Vec<&'static ::core::primitive::str> {
            let mut fields = ::std::vec::Vec::new();
            #(#checks)*
            fields
        }
    }
}

/// New is present, or old has nothing that would be.
fn is_filled(model: &Dual, pair: &Pair) -> TokenStream {
    if let Some(Marker { name, .. }) = &pair.marker {
        return code!(self.#name);
    }
    let present = present(model, pair);
    let filled = code!(::core::option::Option::is_some(&#present));
    let nothing = match (&pair.present, pair.old_is_total()) {
        (Present::Filled | Present::Some, true) => return filled,
        (Present::Filled | Present::Some, false) => {
            let all = all(pair, Which::Old);
            code!(::core::option::Option::is_none(&#all))
        }
        _ => with(pair, Which::Old, would_be_absent(model, pair), code!(true)),
    };
    code!((#filled || #nothing))
}

/// Whether old, out of references to its values, would not count as present in new either.
fn would_be_absent(model: &Dual, pair: &Pair) -> TokenStream {
    let old = Which::Old.locals(pair);
    match convert(model, pair, Which::New, &views(&pair.old, &old)) {
        None => {
            let condition = is_present(model, pair, &old).unwrap_or_else(|| code!(true));
            code!(!(#condition))
        }
        Some(converted) => {
            let values = locals("value", pair.new.len());
            let (pattern, condition) = (tuple(&values), is_present(model, pair, &values));
            let borrowed: Vec<_> = values.iter().map(|value| code!(&#value)).collect();
            let borrowed = tuple(&borrowed);
            code! {
                match #converted {
                    ::core::result::Result::Ok(#pattern) => {
                        let #pattern = #borrowed;
                        !(#condition)
                    }
                    ::core::result::Result::Err(_) => false,
                }
            }
        }
    }
}

fn fill(model: &Dual, pair: &Pair) -> TokenStream {
    let (present, absent) = (present(model, pair), refuse_absent(model, pair, None));
    let new = locals("value", pair.new.len());
    let pattern = tuple(&new);
    let values_of_new = values(model, pair, Which::New);
    let new: Vec<_> = new.iter().map(|value| code!(#value)).collect();
    let write = write(pair, Which::New, &new);
    let some = code!({ let #pattern = #values_of_new; #absent #write });
    if let Some(Marker { name, .. }) = &pair.marker {
        let null = clear(pair, Which::New);
        let filling = with(pair, Which::Old, some, code!({ #null }));
        return code! {
            if !self.#name {
                #filling
                self.#name = true;
            }
        };
    }
    let filling = with(pair, Which::Old, some, code!({}));
    code! {
        if ::core::option::Option::is_none(&#present) {
            #filling
        }
    }
}

fn disagree(model: &Dual, pair: &Pair) -> TokenStream {
    let (old, new) = (all(pair, Which::Old), present(model, pair));
    let (olds, news) = (Which::Old.locals(pair), Which::New.locals(pair));
    let (old_pattern, new_pattern) = (tuple(&olds), tuple(&news));
    let differ = match convert(model, pair, Which::New, &views(&pair.old, &olds)) {
        None => {
            let olds: Vec<_> = olds.iter().map(|old| code!(#old)).collect();
            unequal(model, &pair.new, &olds, &news)
        }
        Some(converted) => {
            let values = locals("value", pair.new.len());
            let pattern = tuple(&values);
            let values: Vec<_> = values.iter().map(|value| code!(&#value)).collect();
            let unequal = unequal(model, &pair.new, &values, &news);
            code! {
                match #converted {
                    ::core::result::Result::Ok(#pattern) => #unequal,
                    ::core::result::Result::Err(_) => true,
                }
            }
        }
    };
    let may_be_null = pair.may_be_null();
    let (old_alone, neither) = match may_be_null {
        true => (
            code!(::core::option::Option::Some(_)),
            Some(code!((::core::option::Option::None, ::core::option::Option::None) => false,)),
        ),
        false => (code!(_), None),
    };
    code! {
        match (#old, #new) {
            (::core::option::Option::Some(#old_pattern), ::core::option::Option::Some(#new_pattern)) => #differ,
            (::core::option::Option::None, ::core::option::Option::Some(_)) => true,
            (#old_alone, ::core::option::Option::None) => #may_be_null,
            #neither
        }
    }
}
