//! What calls need of types that only the trait's parameters decide. The wrapper asks for it where it is
//! implemented: with `T = String` all is well, and the trait need not promise it for every `T`.

use quote::ToTokens as _;
use syn::{ItemTrait, Type, WherePredicate, parse_quote};

use super::super::model::{Argument, Passing, Read, ReadKind, Route};
use super::answer::{last_segment, ok_of};
use super::method::Lowered;
use super::self_types::{Substitute, depends_on};

/// The predicates of the wrapper's `impl`, each once.
pub(super) fn predicates(
    item: &ItemTrait,
    methods: &[Lowered],
    substitute: &Substitute<'_>,
) -> Vec<WherePredicate> {
    let mut found: Vec<WherePredicate> = Vec::new();
    let mut add = |ty: &Type, bounds: Bounds| {
        if !depends_on(ty, item) {
            return;
        }
        let mut ty = ty.clone();
        substitute.in_type(&mut ty);
        let predicate: WherePredicate = match bounds {
            Bounds::Copied => parse_quote!(#ty: ::core::clone::Clone),
            Bounds::Kept => parse_quote! {
                #ty: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync + 'static
            },
        };
        let text = predicate.to_token_stream().to_string();
        if !found.iter().any(|known| known.to_token_stream().to_string() == text) {
            found.push(predicate);
        }
    };
    for Lowered { method, answer, .. } in methods {
        match &method.route {
            Route::Read(Read { kind, .. }) => {
                if is_asked_again(kind) {
                    method.arguments.iter().for_each(|argument| add(owned(argument), Bounds::Kept));
                }
                if is_compared(kind)
                    && let Some(value) = ok_of(answer)
                {
                    add(value, Bounds::Kept);
                }
            }
            Route::Write(_) => method
                .arguments
                .iter()
                .filter(|argument| argument.passing == Passing::Value)
                .for_each(|argument| add(&argument.ty, Bounds::Copied)),
            Route::Primary => {}
        }
    }
    found
}

enum Bounds {
    /// Both sides get it.
    Copied,
    /// It outlives the call.
    Kept,
}

fn is_asked_again(kind: &ReadKind) -> bool {
    is_compared(kind) || matches!(kind, ReadKind::Lazy(_))
}

fn is_compared(kind: &ReadKind) -> bool {
    matches!(
        kind,
        ReadKind::Compared(_)
            | ReadKind::Lazy(Some(_))
            | ReadKind::Within { comparing: Some(_), .. }
    )
}

/// The type of the copy that is kept: of `&T` a `T`, where it has a name.
fn owned(argument: &Argument) -> &Type {
    match &argument.ty {
        Type::Reference(reference) if last_segment(&reference.elem).is_some() => &reference.elem,
        ty => ty,
    }
}
