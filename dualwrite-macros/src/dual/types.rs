//! What the derive knows of types from how they are spelt.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{GenericArgument, Generics, PathArguments, Type};

use super::model::View;

/// `T` of `Option<T>`.
pub(super) fn without_option(ty: &Type) -> (&Type, bool) {
    match generic_argument(ty, "Option") {
        Some(inner) => (inner, true),
        None => (ty, false),
    }
}

pub(super) fn view(ty: &Type) -> View {
    const COPIED: [&str; 16] = [
        "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "u8", "u16",
        "u32", "u64", "u128", "usize",
    ];
    if let Some(element) = generic_argument(ty, "Vec") {
        return View::Slice(Box::new(element.clone()));
    }
    if let Some(inner) = generic_argument(ty, "Box") {
        return View::Boxed(Box::new(inner.clone()));
    }
    match peel(ty) {
        Type::Path(path)
            if path.path.segments.last().is_some_and(|last| last.ident == "String") =>
        {
            View::Str
        }
        Type::Path(path) if COPIED.iter().any(|name| path.path.is_ident(name)) => View::Copied,
        _ => View::Whole,
    }
}

/// Whether values of the type are stored as text, so that a collation may take different ones for equal
/// (or, as with JSON, there may be no equality at all).
pub(super) fn is_text(ty: &Type) -> bool {
    let inner = ["Box", "Arc", "Rc", "Cow"].iter().find_map(|name| generic_argument(ty, name));
    match peel(inner.unwrap_or(ty)) {
        Type::Path(path) => path.path.segments.last().is_some_and(|last| {
            ["String", "str", "Value", "Json"].iter().any(|name| last.ident == name)
        }),
        _ => false,
    }
}

fn generic_argument<'t>(ty: &'t Type, name: &str) -> Option<&'t Type> {
    let Type::Path(path) = peel(ty) else {
        return None;
    };
    let last = path.path.segments.last().filter(|last| last.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    match (arguments.args.first(), arguments.args.len()) {
        (Some(GenericArgument::Type(ty)), 1) => Some(ty),
        _ => None,
    }
}

fn peel(ty: &Type) -> &Type {
    match ty {
        Type::Paren(inner) => peel(&inner.elem),
        Type::Group(inner) => peel(&inner.elem),
        _ => ty,
    }
}

/// Whether two types are spelt alike, where `std::string::String` and `String` are. Whether they
/// *are* the same is for the compiler, which checks the generated assignments.
pub(super) fn is_same(left: &Type, right: &Type) -> bool {
    unqualified(peel(left).to_token_stream()) == unqualified(peel(right).to_token_stream())
}

/// The tokens of a type without what stands before `::`.
fn unqualified(tokens: TokenStream) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                words.push(format!("{:?}", group.delimiter()));
                words.extend(unqualified(group.stream()));
                words.push(String::new());
            }
            token => words.push(token.to_string()),
        }
        if let [.., first, second] = words.as_slice()
            && (first.as_str(), second.as_str()) == (":", ":")
        {
            words.truncate(words.len() - 2);
            // A path may begin with `::`, after a mark such as `<` or nothing at all.
            if words
                .last()
                .is_some_and(|word| word.starts_with(|c: char| c == '_' || c.is_alphabetic()))
            {
                words.pop();
            }
        }
    }
    words
}

/// The type as the user would write it: tokens alone have spaces between all of them.
pub(super) fn shown(ty: &Type) -> String {
    let spaced = ty.to_token_stream().to_string();
    [(" :: ", "::"), (" <", "<"), ("< ", "<"), (" >", ">"), ("& ", "&"), (" ,", ",")]
        .into_iter()
        .fold(spaced, |text, (from, to)| text.replace(from, to))
}

/// Whether the struct's own parameters decide the type.
pub(super) fn mentions_parameter(tokens: TokenStream, generics: &Generics) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => generics.type_params().any(|parameter| parameter.ident == ident),
        TokenTree::Group(group) => mentions_parameter(group.stream(), generics),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}
