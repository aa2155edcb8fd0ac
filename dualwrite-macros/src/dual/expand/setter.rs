//! The setter of a logical field, which writes both sides, and the one that follows a route.

use proc_macro2::{Ident, Span, TokenStream};
use quote::format_ident;

use super::super::model::{Dual, Pair, Place};
use super::shown;
use super::side::{
    Which, clear, cloned, convert, locals, or_failed, refuse_absent, tuple, views_of_values, write,
};
use crate::names;

/// Both setters.
pub(super) fn setters(model: &Dual, pair: &Pair) -> TokenStream {
    let plain = {
        let (absent, old, new) =
            (refuse_absent(model, pair, None), write_old(model, pair), write_new(pair));
        let docs = format!(" Writes {} and {}.", shown(&pair.old), shown(&pair.new));
        let mark = mark(pair, true);
        setter(model, pair, &pair.setter, &docs, None, code!(#absent #old #new #mark))
    };
    let by_plan = {
        let root = &model.root;
        let writes = |which: Which| {
            let variant = which.variant();
            code!(route.stage.writes(#root::Side::#variant))
        };
        let (to_old, to_new) = (writes(Which::Old), writes(Which::New));
        let absent = refuse_absent(model, pair, Some(to_new.clone()));
        let (mark, unmark) = (mark(pair, true), unmark(pair));
        let (old, new) = (write_old(model, pair), write_new(pair));
        let docs = format!(
            " Writes {}, {}, or both, as this route says.",
            shown(&pair.old),
            shown(&pair.new)
        );
        setter(
            model,
            pair,
            &names::by_plan(&pair.setter),
            &docs,
            Some(code!(route: &#root::Route,)),
            code! {
                #absent
                if #to_old { #old }
                if #to_new { #new #mark } #unmark
            },
        )
    };
    let clears = pair.can_be_cleared().then(|| clears(model, pair));
    code!(#plain #by_plan #clears)
}

/// The methods that write NULL, where both sides can hold it.
fn clears(model: &Dual, pair: &Pair) -> TokenStream {
    let (root, visibility) = (&model.root, &pair.visibility);
    let name = names::clear(&pair.name);
    let name_by_plan = names::by_plan(&name);
    let sides = (shown(&pair.old), shown(&pair.new));
    let docs = format!(" Writes NULL to {} and {}.", sides.0, sides.1);
    let docs_by_plan =
        format!(" Writes NULL to {}, {}, or both, as this route says.", sides.0, sides.1);
    let (old, new) = (clear(pair, Which::Old), clear(pair, Which::New));
    let (mark, unmark) = (mark(pair, true), unmark(pair));
    code! {
        #[doc = #docs]
        #[allow(deprecated)]
        #visibility fn #name(&mut self) {
            #old
            #new
            #mark
        }
        #[doc = #docs_by_plan]
        #[allow(deprecated)]
        #visibility fn #name_by_plan(&mut self, route: &#root::Route) {
            if route.stage.writes(#root::Side::Old) { #old }
            if route.stage.writes(#root::Side::New) { #new #mark } #unmark
        }
    }
}

/// When a setter fails, as its documentation.
fn errors_section(pair: &Pair) -> TokenStream {
    let what = match (pair.is_converted(), pair.needed_record().is_some()) {
        (true, false) => " The value cannot be converted to the old side; then nothing is written.",
        (false, _) => " The record to write to is not there; then nothing is written.",
        (true, true) => {
            " The value cannot be converted to the old side, or the record to write to is not there; then nothing is written."
        }
    };
    code! {
        ///
        /// # Errors
        #[doc = #what]
    }
}

fn setter(
    model: &Dual,
    pair: &Pair,
    name: &Ident,
    docs: &str,
    route: Option<TokenStream>,
    body: TokenStream,
) -> TokenStream {
    let visibility = &pair.visibility;
    let arguments = arguments(pair);
    let types: Vec<_> = pair.new.iter().map(|part| &part.value).collect();
    let root = &model.root;
    let can_fail = pair.is_converted() || pair.needed_record().is_some();
    let errors = can_fail.then(|| errors_section(pair));
    let answer = can_fail.then(|| code!(-> ::core::result::Result<(), #root::ConversionError>));
    let ok = can_fail.then(|| code!(::core::result::Result::Ok(())));
    code! {
        #[doc = #docs]
        #errors
        #[allow(deprecated)]
        #visibility fn #name(
            &mut self,
            #route
            #(#arguments: impl ::core::convert::Into<#types>),*
        ) #answer {
            #(let #arguments: #types = ::core::convert::Into::into(#arguments);)*
            #body
            #ok
        }
    }
}

/// One argument for each part of the new side, called as the part.
fn arguments(pair: &Pair) -> Vec<Ident> {
    if let [_] = pair.new.as_slice() {
        return vec![Ident::new("value", Span::mixed_site())];
    }
    let name = |part: &super::super::model::Part| match &part.place {
        Place::Field(name) => names::plain(name),
        Place::Within { .. } => "value".to_owned(),
    };
    let fresh = |name: String| match syn::parse_str::<Ident>(&name) {
        Ok(name) if name != "route" => Ident::new(&name.to_string(), Span::mixed_site()),
        _ => format_ident!("new_{name}", span = Span::mixed_site()),
    };
    pair.new.iter().map(name).map(fresh).collect()
}

fn write_old(model: &Dual, pair: &Pair) -> TokenStream {
    let arguments = arguments(pair);
    let views = views_of_values(&pair.new, &arguments);
    match convert(model, pair, Which::Old, &views) {
        Some(converted) => {
            let converted = or_failed(model, pair, Which::Old, converted);
            let values = locals("old", pair.old.len());
            let pattern = tuple(&values);
            let values: Vec<_> = values.iter().map(|value| code!(#value)).collect();
            let write = write(pair, Which::Old, &values);
            code!(let #pattern = #converted; #write)
        }
        None => {
            let values = pair.new.iter().zip(&arguments);
            let copies: Vec<_> = values.map(|(part, value)| cloned(part, code!(&#value))).collect();
            write(pair, Which::Old, &copies)
        }
    }
}

/// Says whether the new side has what the field holds.
fn mark(pair: &Pair, is_written: bool) -> Option<TokenStream> {
    let name = &pair.marker.as_ref()?.name;
    Some(code!(self.#name = #is_written;))
}

/// What a plan does not write to new, new has no more.
fn unmark(pair: &Pair) -> Option<TokenStream> {
    let not_written = mark(pair, false)?;
    Some(code!(else { #not_written }))
}

fn write_new(pair: &Pair) -> TokenStream {
    let values: Vec<_> = arguments(pair).iter().map(|value| code!(#value)).collect();
    write(pair, Which::New, &values)
}
