//! The getter of a logical field, its source, and the getter that follows a route.

use proc_macro2::{Ident, TokenStream};
use quote::ToTokens as _;

use super::super::model::{Dual, Marker, Pair, Part, Present, View};
use super::shown;
use super::side::{Which, all, convert, locals, or_failed, present, tuple, views, with};
use crate::names;

/// All methods that read.
pub(super) fn getters(model: &Dual, pair: &Pair) -> TokenStream {
    let by_plan = by_plan(model, pair);
    if let Some(marker) = &pair.marker {
        let (getter, source) = (marked(model, pair, marker), source(model, pair));
        return code!(#getter #source #by_plan);
    }
    if pair.may_be_null() {
        let by_side = by_side(model, pair);
        return code!(#by_side #by_plan);
    }
    let (getter, source) = (getter(model, pair), source(model, pair));
    code!(#getter #source #by_plan)
}

/// How an answer is wrapped.
#[derive(Clone, Copy)]
struct Answer {
    /// It is an `Option`, since neither side need have the value.
    is_optional: bool,
    /// Old may have to be converted: a `Result` of what is borrowed or owned.
    is_converted: bool,
}

impl Answer {
    fn ty(self, model: &Dual, pair: &Pair) -> TokenStream {
        let each: Vec<_> = pair.new.iter().map(|part| self.part(part)).collect();
        let whole = tuple(&each);
        let whole = match self.is_optional {
            true => code!(::core::option::Option<#whole>),
            false => whole,
        };
        let root = &model.root;
        match self.is_converted {
            true => code!(::core::result::Result<#whole, #root::ConversionError>),
            false => whole,
        }
    }

    fn part(self, Part { view, value, .. }: &Part) -> TokenStream {
        let borrowed = match view {
            View::Copied => return value.to_token_stream(),
            View::Str => code!(::core::primitive::str),
            View::Slice(element) => code!([#element]),
            View::Boxed(inner) if !self.is_converted => inner.to_token_stream(),
            View::Boxed(_) | View::Whole => value.to_token_stream(),
        };
        match self.is_converted {
            true => code!(::std::borrow::Cow<'_, #borrowed>),
            false => code!(&#borrowed),
        }
    }

    fn wrap(self, whole: TokenStream) -> TokenStream {
        let whole = match self.is_optional {
            true => code!(::core::option::Option::Some(#whole)),
            false => whole,
        };
        self.ok(whole)
    }

    fn none(self) -> TokenStream {
        self.ok(code!(::core::option::Option::None))
    }

    fn ok(self, whole: TokenStream) -> TokenStream {
        match self.is_converted {
            true => code!(::core::result::Result::Ok(#whole)),
            false => whole,
        }
    }

    /// The new side, out of references to its values.
    fn of_new(self, pair: &Pair) -> TokenStream {
        let locals = Which::New.locals(pair);
        let views = views(&pair.new, &locals);
        if !self.is_converted {
            return self.wrap(tuple(&views));
        }
        let each =
            pair.new.iter().zip(&locals).zip(views).map(|((part, local), view)| match part.view {
                View::Copied => view,
                View::Boxed(_) | View::Whole => code!(::std::borrow::Cow::Borrowed(#local)),
                View::Str | View::Slice(_) => code!(::std::borrow::Cow::Borrowed(#view)),
            });
        self.wrap(tuple(&each.collect::<Vec<_>>()))
    }

    /// The old side as new, out of references to its values.
    fn of_old(self, model: &Dual, pair: &Pair) -> TokenStream {
        let old = views(&pair.old, &Which::Old.locals(pair));
        let Some(converted) = convert(model, pair, Which::New, &old) else {
            return self.wrap(tuple(&old));
        };
        let converted = or_failed(model, pair, Which::New, converted);
        let values = locals("value", pair.new.len());
        let pattern = tuple(&values);
        let each = pair.new.iter().zip(&values).map(|(part, local)| match part.view {
            View::Copied => local.to_token_stream(),
            _ => code!(::std::borrow::Cow::Owned(#local)),
        });
        let answer = self.wrap(tuple(&each.collect::<Vec<_>>()));
        code!({ let #pattern = #converted; #answer })
    }
}

fn getter(model: &Dual, pair: &Pair) -> TokenStream {
    let Pair { name, visibility, .. } = pair;
    let answer = Answer {
        is_optional: !pair.old_is_total() && !pair.new_is_total(),
        is_converted: pair.is_converted() && !pair.is_always_new(),
    };
    let (docs, body) = if pair.is_always_new() {
        let docs = format!(
            " {}, which {} taken the place of {}.",
            shown(&pair.new),
            if pair.new.len() == 1 { "has" } else { "have" },
            shown(&pair.old)
        );
        (docs, with(pair, Which::New, answer.of_new(pair), TokenStream::new()))
    } else {
        let docs = format!(" {} where it is filled, else {}.", shown(&pair.new), shown(&pair.old));
        (docs, first_filled(model, pair, answer))
    };
    let (head, ty) = (head(&docs, answer), answer.ty(model, pair));
    code! {
        #head
        #visibility fn #name(&self) -> #ty {
            #body
        }
    }
}

/// New where it is present, else old where it is there, else new as it is.
fn first_filled(model: &Dual, pair: &Pair, answer: Answer) -> TokenStream {
    let as_it_is =
        match pair.new_is_total() || !matches!(pair.present, Present::Filled | Present::Some) {
            true => with(pair, Which::New, answer.of_new(pair), answer.none()),
            false => answer.none(),
        };
    let old = with(pair, Which::Old, answer.of_old(model, pair), as_it_is);
    let (present, pattern) = (present(model, pair), tuple(&Which::New.locals(pair)));
    let new = answer.of_new(pair);
    code! {
        match #present {
            ::core::option::Option::Some(#pattern) => #new,
            ::core::option::Option::None => #old,
        }
    }
}

fn source(model: &Dual, pair: &Pair) -> TokenStream {
    let (root, visibility) = (&model.root, &pair.visibility);
    let name = names::source(&pair.name);
    let docs = format!(" The side that `{}` answers from.", names::plain(&pair.name));
    let (old, new) = (side(model, Which::Old), side(model, Which::New));
    let body = if let Some(Marker { name, .. }) = &pair.marker {
        code!(if self.#name { #new } else { #old })
    } else if pair.is_always_new() {
        new
    } else {
        let present = present(model, pair);
        let or_old = (!pair.old_is_total()).then(|| {
            let all = all(pair, Which::Old);
            code!(|| ::core::option::Option::is_none(&#all))
        });
        code! {
            if ::core::option::Option::is_some(&#present) #or_old { #new } else { #old }
        }
    };
    code! {
        #[doc = #docs]
        #[must_use]
        #[allow(deprecated)]
        #visibility fn #name(&self) -> #root::Side {
            #body
        }
    }
}

fn by_plan(model: &Dual, pair: &Pair) -> TokenStream {
    let root = &model.root;
    let docs = format!(
        " {} alone, or {} alone: the side that answers under this route.",
        shown(&pair.old),
        shown(&pair.new)
    );
    let (argument, side) = (code!(route: &#root::Route), code!(route.primary));
    one_side(model, pair, &names::by_plan(&pair.name), &docs, (argument, side))
}

/// The getter where NULL is a value of both sides, and a field says which of them has it.
fn marked(model: &Dual, pair: &Pair, Marker { name: marker, .. }: &Marker) -> TokenStream {
    let Pair { name, visibility, .. } = pair;
    let docs = format!(
        " {} where `{}` says that it has been written, also if that is NULL; else {}.",
        shown(&pair.new),
        names::plain(marker),
        shown(&pair.old)
    );
    let answer = Answer { is_optional: true, is_converted: pair.is_converted() };
    let (head, ty) = (head(&docs, answer), answer.ty(model, pair));
    let from_old = with(pair, Which::Old, answer.of_old(model, pair), answer.none());
    let from_new = with(pair, Which::New, answer.of_new(pair), answer.none());
    code! {
        #head
        #visibility fn #name(&self) -> #ty {
            if self.#marker { #from_new } else { #from_old }
        }
    }
}

/// The getter where NULL is a value of both sides.
fn by_side(model: &Dual, pair: &Pair) -> TokenStream {
    let root = &model.root;
    let docs = format!(
        " {} alone, or {} alone, as the side says: NULL is a value, and does not tell that the new side is not copied.",
        shown(&pair.old),
        shown(&pair.new)
    );
    one_side(model, pair, &pair.name, &docs, (code!(side: #root::Side), code!(side)))
}

fn one_side(
    model: &Dual,
    pair: &Pair,
    name: &Ident,
    docs: &str,
    (argument, side_of_it): (TokenStream, TokenStream),
) -> TokenStream {
    let visibility = &pair.visibility;
    let answer = Answer {
        is_optional: !(pair.old_is_total() && pair.new_is_total()),
        is_converted: pair.is_converted(),
    };
    let (head, ty) = (head(docs, answer), answer.ty(model, pair));
    let (old, new) = (side(model, Which::Old), side(model, Which::New));
    let from_old = with(pair, Which::Old, answer.of_old(model, pair), answer.none());
    let from_new = with(pair, Which::New, answer.of_new(pair), answer.none());
    code! {
        #head
        #visibility fn #name(&self, #argument) -> #ty {
            match #side_of_it {
                #old => #from_old,
                #new => #from_new,
            }
        }
    }
}

fn side(model: &Dual, which: Which) -> TokenStream {
    let (root, variant): (_, Ident) = (&model.root, which.variant());
    code!(#root::Side::#variant)
}

/// Documentation and attributes of a getter.
fn head(docs: &str, answer: Answer) -> TokenStream {
    let rest = match answer.is_converted {
        true => code! {
            ///
            /// # Errors
            /// Old cannot be converted.
        },
        false => code!(#[must_use]),
    };
    code! {
        #[doc = #docs]
        #rest
        #[allow(deprecated)]
    }
}
