//! What a method answers, and in which form: a `Result` in a future that is `Send`, and for methods
//! that are passed to the primary anything at all.

use proc_macro2::Span;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::{
    GenericArgument, PathArguments, PathSegment, ReturnType, Signature, Token, Type, TypeParamBound,
};

use super::super::model::Form;
use super::{owned, stream};
use crate::diag::Errors;

/// The answer of a method.
pub(super) struct Answer {
    /// `Result<T, E>`, or an alias of it.
    pub(super) ty: Type,
    /// `E`, where it is spelt out.
    pub(super) error: Option<Type>,
    /// Whether our own errors become `E`.
    pub(super) takes_ours: bool,
    /// Where to say what is wrong with it.
    pub(super) place: Span,
    pub(super) form: Form,
}

impl Answer {
    pub(super) fn is_stream(&self) -> bool {
        matches!(self.form, Form::Stream { .. })
    }
}

/// Finds the `Result` in a signature as it was typed.
pub(super) fn lower(
    signature: &Signature,
    of_async_fn: Form,
    on_unknown: bool,
    errors: &mut Errors,
) -> Option<Answer> {
    let (ty, form) = match (&signature.output, &signature.asyncness) {
        (ReturnType::Default, Some(_)) if on_unknown => (syn::parse_quote!(()), of_async_fn),
        (ReturnType::Type(_, ty), Some(_)) => ((**ty).clone(), of_async_fn),
        (ReturnType::Type(_, ty), None) if stream::of(ty).is_some() => {
            return stream::lower(ty, on_unknown, errors);
        }
        (ReturnType::Type(_, ty), None) => {
            let (future, form) = future(ty).or_else(|| {
                errors.on(&signature.fn_token, SYNC);
                None
            })?;
            (future_output(ty, future, errors)?, form)
        }
        (ReturnType::Default, Some(_)) => {
            errors.on(
                &signature.ident,
                format!("{RESULT}: `{}` cannot fail, and a stage can be unknown", signature.ident),
            );
            return None;
        }
        (ReturnType::Default, None) => {
            errors.on(&signature.fn_token, SYNC);
            return None;
        }
    };
    stream::refuse_within(&ty, errors)?;
    check_named(&ty, errors)?;
    let result = last_segment(&ty).filter(|segment| segment.ident == "Result");
    if on_unknown {
        if result.is_some() {
            errors.on(&ty, "remove `on_unknown`: this answer has an error, which says that the stage is unknown");
        }
    } else if result.is_none() && cannot_fail(&ty) {
        errors.on(&ty, format!("{RESULT}: this cannot fail, and a stage can be unknown"));
        return None;
    }
    // Any other name may be that of a `Result`.
    let error = result.and_then(error_of);
    Some(Answer { error, takes_ours: !on_unknown, place: ty.span(), form, ty })
}

/// Whether a type is known to be no `Result` by the way it is spelt.
pub(super) fn cannot_fail(ty: &Type) -> bool {
    const NAMES: [&str; 28] = [
        "Option", "Vec", "String", "Box", "Arc", "HashMap", "BTreeMap", "HashSet", "BTreeSet",
        "bool", "char", "str", "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32",
        "i64", "i128", "isize", "f32", "f64", "Uuid", "Self",
    ];
    match last_segment(ty) {
        Some(segment) if segment.ident == "Self" => {
            matches!(peel(ty), Type::Path(path) if path.path.segments.len() == 1)
        }
        Some(segment) => NAMES.iter().any(|name| segment.ident == name),
        None => true,
    }
}

/// The answer of a method that is passed to the primary: of any type, waited for or not.
pub(super) fn of_primary(
    signature: &Signature,
    of_async_fn: Form,
    errors: &mut Errors,
) -> Option<Answer> {
    let output = match &signature.output {
        ReturnType::Type(_, ty) => (**ty).clone(),
        ReturnType::Default => syn::parse_quote!(()),
    };
    let (ty, form) = match (&signature.asyncness, future(&output)) {
        (Some(_), _) => (output, of_async_fn),
        (None, Some((future, form))) => (future_output(&output, future, errors)?, form),
        (None, None) => (output, Form::Sync),
    };
    check_named(&ty, errors)?;
    let result = last_segment(&ty).filter(|segment| segment.ident == "Result");
    let error = result.and_then(error_of);
    Some(Answer { error, takes_ours: false, place: ty.span(), form, ty })
}

const RESULT: &str = "answer `Result<T, E>` where `E` can be made from `dualwrite::Error`, or say what to answer \
                      then with `on_unknown = …`";
const SYNC: &str = "a call may wait for a database: write `async fn`, or answer `impl Future<Output = Result<T, E>> + Send`; \
                    what does not read or write is marked `#[primary]`";

/// Whether this is a future in a box.
pub(super) fn is_boxed(output: &ReturnType) -> bool {
    match output {
        ReturnType::Type(_, ty) => matches!(future(ty), Some((_, Form::Boxed))),
        ReturnType::Default => false,
    }
}

/// Two sides have one type of answer only if it has a name.
pub(super) fn check_named(ty: &Type, errors: &mut Errors) -> Option<()> {
    let Some(hidden) = owned::impl_trait_in(ty) else {
        return Some(());
    };
    errors.on(hidden, "each side would answer with a type of its own: name the type");
    None
}

pub(super) type Bounds = Punctuated<TypeParamBound, Token![+]>;

/// A type that is a future.
enum Future<'t> {
    /// The bounds of `impl Future<…> + Send` or `dyn Future<…> + Send`.
    Bounds(&'t Bounds),
    /// `BoxFuture<'_, R>` and its `R`.
    Alias(&'t Type),
}

/// `impl Future<…>`, `Pin<Box<dyn Future<…>>>` or `BoxFuture<…>`, and the form of such a method.
fn future(ty: &Type) -> Option<(Future<'_>, Form)> {
    if let Type::ImplTrait(future) = peel(ty) {
        return Some((Future::Bounds(&future.bounds), Form::Future));
    }
    let segment = last_segment(ty)?;
    if segment.ident == "BoxFuture" {
        return Some((Future::Alias(types(segment).next()?), Form::Boxed));
    }
    let pointer = types(segment).next().filter(|_| segment.ident == "Pin")?;
    let pointer = last_segment(pointer).filter(|pointer| pointer.ident == "Box")?;
    match peel(types(pointer).next()?) {
        Type::TraitObject(future) => Some((Future::Bounds(&future.bounds), Form::Boxed)),
        _ => None,
    }
}

/// The `R` of a future of `R` that is `Send`.
fn future_output(ty: &Type, future: Future<'_>, errors: &mut Errors) -> Option<Type> {
    let bounds = match future {
        Future::Alias(output) => return Some(output.clone()),
        Future::Bounds(bounds) => bounds,
    };
    let Some(output) = output_of(bounds) else {
        errors.on(ty, "this is not a future: write `impl Future<Output = Result<T, E>> + Send`");
        return None;
    };
    if !traits(bounds).any(|segment| segment.ident == "Send") {
        errors.on(ty, "a future that is not `Send` cannot be spawned: add `+ Send`");
        return None;
    }
    Some(output)
}

pub(super) fn traits(bounds: &Bounds) -> impl Iterator<Item = &PathSegment> {
    bounds.iter().filter_map(|bound| match bound {
        TypeParamBound::Trait(bound) => bound.path.segments.last(),
        _ => None,
    })
}

fn output_of(bounds: &Bounds) -> Option<Type> {
    let segment = traits(bounds).find(|segment| segment.ident == "Future")?;
    arguments(segment).find_map(|argument| match argument {
        GenericArgument::AssocType(binding) if binding.ident == "Output" => {
            Some(binding.ty.clone())
        }
        _ => None,
    })
}

/// The `T` of `Result<T, E>`, where it is spelt out.
pub(super) fn ok_of(ty: &Type) -> Option<&Type> {
    types(last_segment(ty).filter(|segment| segment.ident == "Result")?).next()
}

pub(super) fn error_of(result: &PathSegment) -> Option<Type> {
    types(result).nth(1).cloned()
}

pub(super) fn types(segment: &PathSegment) -> impl Iterator<Item = &Type> {
    arguments(segment).filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

pub(super) fn arguments(segment: &PathSegment) -> impl Iterator<Item = &GenericArgument> {
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
