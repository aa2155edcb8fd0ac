//! Pieces of code about one side of a pair: looking at its values, converting them, writing them.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident};
use syn::spanned::Spanned as _;

use super::super::model::{Absent, Dual, How, Pair, Part, Place, Present, View};
use super::plain;

/// Which side a piece of code is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Old,
    New,
}

impl Which {
    pub(super) fn parts(self, pair: &Pair) -> &[Part] {
        match self {
            Self::Old => &pair.old,
            Self::New => &pair.new,
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Old => Self::New,
            Self::New => Self::Old,
        }
    }

    /// The variant of `Side`.
    pub(super) fn variant(self) -> Ident {
        let name = match self {
            Self::Old => "Old",
            Self::New => "New",
        };
        Ident::new(name, Span::call_site())
    }

    /// Local variables for the parts, which meet no name of the user.
    pub(super) fn locals(self, pair: &Pair) -> Vec<Ident> {
        let name = match self {
            Self::Old => "old",
            Self::New => "new",
        };
        locals(name, self.parts(pair).len())
    }

    /// Whether every part is there in every value.
    pub(super) fn is_total(self, pair: &Pair) -> bool {
        match self {
            Self::Old => pair.old_is_total(),
            Self::New => pair.new_is_total(),
        }
    }
}

pub(super) fn locals(name: &str, count: usize) -> Vec<Ident> {
    let local = |index| match count {
        1 => Ident::new(name, Span::mixed_site()),
        _ => format_ident!("{name}_{index}", span = Span::mixed_site()),
    };
    (0..count).map(local).collect()
}

/// The same tokens, which errors show as if they stood at a piece of the user's source.
pub(super) fn at(place: Span, tokens: TokenStream) -> TokenStream {
    let moved = tokens.into_iter().map(|token| {
        let mut token = match token {
            TokenTree::Group(group) => {
                TokenTree::Group(Group::new(group.delimiter(), at(place, group.stream())))
            }
            token => token,
        };
        token.set_span(token.span().located_at(place));
        token
    });
    moved.collect()
}

/// `a`, or `(a, b)`.
pub(super) fn tuple(items: &[impl ToTokens]) -> TokenStream {
    match items {
        [only] => only.to_token_stream(),
        items => code!((#(#items),*)),
    }
}

/// The types of the values of a side.
pub(super) fn types(parts: &[Part]) -> TokenStream {
    tuple(&parts.iter().map(|part| &part.value).collect::<Vec<_>>())
}

/// `Option<&T>`: one part, where it is there.
pub(super) fn presence(part: &Part) -> TokenStream {
    let found = |place: TokenStream| match part.is_optional {
        true => code!(::core::option::Option::as_ref(&#place)),
        false => code!(::core::option::Option::Some(&#place)),
    };
    match &part.place {
        Place::Field(name) => found(code!(self.#name)),
        Place::Within { record, is_optional: false, rest } => found(code!(self.#record #(.#rest)*)),
        Place::Within { record, is_optional: true, rest } => {
            let inside = found(code!(record #(.#rest)*));
            code! {
                match &self.#record {
                    ::core::option::Option::Some(record) => #inside,
                    ::core::option::Option::None => ::core::option::Option::None,
                }
            }
        }
    }
}

/// `&T`: one part that is always there.
fn direct(part: &Part) -> TokenStream {
    match &part.place {
        Place::Field(name) => code!(&self.#name),
        Place::Within { record, rest, .. } => code!(&self.#record #(.#rest)*),
    }
}

/// `Option<&T>`, or `Option<(&A, &B)>`: the whole side, where all of it is there.
pub(super) fn all(pair: &Pair, which: Which) -> TokenStream {
    let parts = which.parts(pair);
    if let [only] = parts {
        return presence(only);
    }
    if which.is_total(pair) {
        let each = parts.iter().map(direct);
        return code!(::core::option::Option::Some((#(#each),*)));
    }
    let (presences, locals) = (parts.iter().map(presence), which.locals(pair));
    code! {
        match (#(#presences),*) {
            (#(::core::option::Option::Some(#locals)),*) => ::core::option::Option::Some((#(#locals),*)),
            _ => ::core::option::Option::None,
        }
    }
}

/// The new side, where it counts as present.
pub(super) fn present(model: &Dual, pair: &Pair) -> TokenStream {
    let all = all(pair, Which::New);
    match is_present(model, pair, &Which::New.locals(pair)) {
        None => all,
        Some(condition) => {
            let pattern = tuple(&Which::New.locals(pair));
            code!(::core::option::Option::filter(#all, |&#pattern| #condition))
        }
    }
}

/// The condition on references to the values of the new side.
pub(super) fn is_present(model: &Dual, pair: &Pair, locals: &[Ident]) -> Option<TokenStream> {
    let private = model.root.private();
    match &pair.present {
        Present::Filled | Present::Some => None,
        Present::NonDefault => Some(code!(#(#private::is_filled(#locals))||*)),
        Present::By(function) => {
            let arguments = views(&pair.new, locals);
            Some(code!(#function(#(#arguments),*)))
        }
    }
}

/// What getters answer and functions take, from references.
pub(super) fn views(parts: &[Part], locals: &[Ident]) -> Vec<TokenStream> {
    let view = |(part, local): (&Part, &Ident)| match part.view {
        View::Copied => code!(*#local),
        View::Str | View::Slice(_) | View::Boxed(_) => code!(&**#local),
        View::Whole => code!(#local),
    };
    parts.iter().zip(locals).map(view).collect()
}

/// The same from the values themselves.
pub(super) fn views_of_values(parts: &[Part], locals: &[Ident]) -> Vec<TokenStream> {
    let view = |(part, local): (&Part, &Ident)| match part.view {
        View::Copied => code!(#local),
        View::Str | View::Slice(_) | View::Boxed(_) => code!(&*#local),
        View::Whole => code!(&#local),
    };
    parts.iter().zip(locals).map(view).collect()
}

/// `some`, with the side's locals bound to references, or `none` where the side is not all there.
pub(super) fn with(pair: &Pair, which: Which, some: TokenStream, none: TokenStream) -> TokenStream {
    let pattern = tuple(&which.locals(pair));
    if which.is_total(pair) {
        let each: Vec<_> = which.parts(pair).iter().map(direct).collect();
        let values = tuple(&each);
        return code!({ let #pattern = #values; #some });
    }
    let all = all(pair, which);
    code! {
        match #all {
            ::core::option::Option::Some(#pattern) => #some,
            ::core::option::Option::None => #none,
        }
    }
}

/// `Result<T, BoxError>`: the values of the side `to`, converted from these arguments.
pub(super) fn convert(
    model: &Dual,
    pair: &Pair,
    to: Which,
    arguments: &[TokenStream],
) -> Option<TokenStream> {
    let How::Convert { forward, backward } = &pair.how else { return None };
    let function = match to {
        Which::New => forward,
        Which::Old => backward,
    };
    let (private, types) = (model.root.private(), types(to.parts(pair)));
    let converted = code!(#private::answered::<#types, _>(#function(#(#arguments),*)));
    Some(at(function.span(), converted))
}

/// Values of the side `to` out of references to the values of the other one, in a function that answers
/// with `ConversionError`.
pub(super) fn values(model: &Dual, pair: &Pair, to: Which) -> TokenStream {
    let from = to.other();
    let locals = from.locals(pair);
    match convert(model, pair, to, &views(from.parts(pair), &locals)) {
        Some(converted) => or_failed(model, pair, to, converted),
        None => {
            // What is said about the type is said at the new field, once.
            let parts = pair.new.iter().zip(&locals);
            tuple(&parts.map(|(part, local)| cloned(part, code!(#local))).collect::<Vec<_>>())
        }
    }
}

/// A copy of the value behind a reference.
pub(super) fn cloned(part: &Part, reference: TokenStream) -> TokenStream {
    at(part.span(), code!(::core::clone::Clone::clone(#reference)))
}

/// Whether any of these values, given by references, differ.
pub(super) fn unequal(
    model: &Dual,
    parts: &[Part],
    left: &[TokenStream],
    right: &[Ident],
) -> TokenStream {
    let private = model.root.private();
    let each = parts
        .iter()
        .zip(left)
        .zip(right)
        .map(|((part, left), right)| at(part.span(), code!(!#private::same(#left, #right))));
    code!(#(#each)||*)
}

/// Turns what a conversion function said into our error.
pub(super) fn or_failed(
    model: &Dual,
    pair: &Pair,
    to: Which,
    converted: TokenStream,
) -> TokenStream {
    let (place, key) = (place(model, pair, to), key(model));
    code!(#place.checked(#converted, || #key)?)
}

/// Where a conversion happens, for its error.
pub(super) fn place(model: &Dual, pair: &Pair, to: Which) -> TokenStream {
    let (private, root) = (model.root.private(), &model.root);
    let (record, field) = (crate::names::plain(&model.name), plain(pair));
    let variant = to.variant();
    code! {
        #private::Conversion { record: #record, field: #field, to: #root::Side::#variant }
    }
}

/// The key of this value, for an error.
pub(super) fn key(model: &Dual) -> TokenStream {
    let private = model.root.private();
    match model.key.as_slice() {
        [] => code!(::core::option::Option::None),
        [only] => at(only.span(), code!(#private::shown_key(&self.#only))),
        several => code!(#private::shown_key(&(#(&self.#several),*))),
    }
}

/// Writes values, which locals hold, to a side.
pub(super) fn write(pair: &Pair, which: Which, values: &[TokenStream]) -> TokenStream {
    let values = which.parts(pair).iter().zip(values).map(|(part, value)| match part.is_optional {
        true => code!(::core::option::Option::Some(#value)),
        false => code!(#value),
    });
    assign(pair, which, values)
}

/// Writes NULL to a side whose every part is optional.
pub(super) fn clear(pair: &Pair, which: Which) -> TokenStream {
    let nulls = which.parts(pair).iter().map(|_| code!(::core::option::Option::None));
    assign(pair, which, nulls)
}

fn assign(pair: &Pair, which: Which, values: impl Iterator<Item = TokenStream>) -> TokenStream {
    let each = which.parts(pair).iter().zip(values).map(|(part, value)| {
        let assignment = match (&part.place, pair.absent) {
            (Place::Field(name), _) => code!(self.#name = #value;),
            (Place::Within { record, is_optional: false, rest }, _) => {
                code!(self.#record #(.#rest)* = #value;)
            }
            (Place::Within { record, rest, .. }, Absent::MakeDefault) => code! {
                ::core::option::Option::get_or_insert_default(&mut self.#record) #(.#rest)* = #value;
            },
            (Place::Within { record, rest, .. }, Absent::Refuse) => code! {
                if let ::core::option::Option::Some(record) = &mut self.#record {
                    record #(.#rest)* = #value;
                }
            },
        };
        // The type of a field of another record was taken on trust; here it may turn out wrong.
        match part.place {
            Place::Within { .. } => at(part.span(), assignment),
            Place::Field(_) => assignment,
        }
    });
    code!(#(#each)*)
}

/// Answers with an error where the record to write to is not there; `condition` is what else must hold.
pub(super) fn refuse_absent(
    model: &Dual,
    pair: &Pair,
    condition: Option<TokenStream>,
) -> Option<TokenStream> {
    let record = pair.needed_record()?;
    let (place, key) = (place(model, pair, Which::New), key(model));
    let shown = crate::names::plain(record);
    let condition = condition.map(|condition| code!(#condition &&));
    Some(code! {
        if #condition ::core::option::Option::is_none(&self.#record) {
            return ::core::result::Result::Err(#place.absent(#key, #shown));
        }
    })
}
