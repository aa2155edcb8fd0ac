//! What a method answers: a `Result` in a future that is `Send`.

use syn::{
    GenericArgument, PathArguments, PathSegment, ReturnType, Signature, Type, TypeImplTrait,
    TypeParamBound,
};

use super::owned;
use crate::diag::Errors;

/// The answer of a method.
pub(super) struct Answer {
    /// `Result<T, E>`, or an alias of it.
    pub(super) ty: Type,
    /// `E`, where it is spelt out.
    pub(super) error: Option<Type>,
}

/// Finds the `Result` in a signature as it was typed.
pub(super) fn lower(signature: &Signature, errors: &mut Errors) -> Option<Answer> {
    let output = match (&signature.output, &signature.asyncness) {
        (ReturnType::Type(_, ty), Some(_)) => (**ty).clone(),
        (ReturnType::Type(_, ty), None) => future_output(signature, ty, errors)?,
        (ReturnType::Default, Some(_)) => {
            errors.on(&signature.ident, format!("`{}` cannot fail: {RESULT}", signature.ident));
            return None;
        }
        (ReturnType::Default, None) => {
            errors.on(&signature.fn_token, SYNC);
            return None;
        }
    };
    if let Some(hidden) = owned::impl_trait_in(&output) {
        errors.on(hidden, "each side would answer with a type of its own: name the type");
        return None;
    }
    let Some(segment) = last_segment(&output).filter(|segment| segment.ident == "Result") else {
        errors.on(&output, format!("this is not a `Result`: {RESULT}"));
        return None;
    };
    Some(Answer { error: error_of(segment), ty: output })
}

const RESULT: &str = "write `-> Result<T, E>`, where `E` can be made from `dualwrite::Error`";
const SYNC: &str = "a call may wait for a database: write `async fn`, or answer `impl Future<Output = Result<T, E>> + Send`";

/// The `R` of `impl Future<Output = R> + Send`.
fn future_output(signature: &Signature, ty: &Type, errors: &mut Errors) -> Option<Type> {
    let ty = peel(ty);
    if last_segment(ty)
        .is_some_and(|segment| segment.ident == "Pin" || segment.ident == "BoxFuture")
    {
        errors.on(
            ty,
            "boxed futures, as `#[async_trait]` makes them, are not supported yet: write `async fn` and \
             remove `#[async_trait]`",
        );
        return None;
    }
    let Type::ImplTrait(future) = ty else {
        errors.on(&signature.fn_token, SYNC);
        return None;
    };
    let Some(output) = output_of(future) else {
        errors.on(ty, "this is not a future: write `impl Future<Output = Result<T, E>> + Send`");
        return None;
    };
    if !bounds(future).any(|segment| segment.ident == "Send") {
        errors.on(ty, "a future that is not `Send` cannot be spawned: add `+ Send`");
        return None;
    }
    Some(output)
}

fn bounds(future: &TypeImplTrait) -> impl Iterator<Item = &PathSegment> {
    future.bounds.iter().filter_map(|bound| match bound {
        TypeParamBound::Trait(bound) => bound.path.segments.last(),
        _ => None,
    })
}

fn output_of(future: &TypeImplTrait) -> Option<Type> {
    let segment = bounds(future).find(|segment| segment.ident == "Future")?;
    arguments(segment).find_map(|argument| match argument {
        GenericArgument::AssocType(binding) if binding.ident == "Output" => {
            Some(binding.ty.clone())
        }
        _ => None,
    })
}

fn error_of(result: &PathSegment) -> Option<Type> {
    let mut types = arguments(result).filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    types.nth(1).cloned()
}

fn arguments(segment: &PathSegment) -> impl Iterator<Item = &GenericArgument> {
    let arguments = match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => Some(arguments.args.iter()),
        _ => None,
    };
    arguments.into_iter().flatten()
}

/// The last segment of a type that is a path.
pub(super) fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match peel(ty) {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    }
}

/// The type without the parentheses and invisible groups around it.
pub(super) fn peel(ty: &Type) -> &Type {
    match ty {
        Type::Paren(inner) => peel(&inner.elem),
        Type::Group(inner) => peel(&inner.elem),
        _ => ty,
    }
}
