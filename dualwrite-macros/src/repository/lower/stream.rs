//! Answers that are streams: of `Result`s, `Send`, and of reads alone.

use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{GenericArgument, PathSegment, Type, TypeParamBound};

use super::super::model::Form;
use super::answer::{
    Answer, Bounds, arguments, cannot_fail, check_named, error_of, last_segment, peel, traits,
    types,
};
use super::options::Shadow;
use crate::diag::Errors;

/// A type that is a stream.
pub(super) enum Stream<'t> {
    /// The bounds of `impl Stream<…> + Send` or `dyn Stream<…> + Send`.
    Bounds(&'t Bounds),
    /// `BoxStream<'_, R>` and its `R`.
    Alias(&'t Type),
}

/// `impl Stream<…>`, `Pin<Box<dyn Stream<…>>>` or `BoxStream<…>`, and the form of such a method.
pub(super) fn of(ty: &Type) -> Option<(Stream<'_>, Form)> {
    if let Type::ImplTrait(stream) = peel(ty) {
        let is_stream = traits(&stream.bounds).any(is_named);
        return is_stream
            .then_some((Stream::Bounds(&stream.bounds), Form::Stream { is_boxed: false }));
    }
    let (segment, boxed) = (last_segment(ty)?, Form::Stream { is_boxed: true });
    if segment.ident == "BoxStream" {
        return Some((Stream::Alias(types(segment).next()?), boxed));
    }
    let pointer = types(segment).next().filter(|_| segment.ident == "Pin")?;
    let pointer = last_segment(pointer).filter(|pointer| pointer.ident == "Box")?;
    match peel(types(pointer).next()?) {
        Type::TraitObject(stream) if traits(&stream.bounds).any(is_named) => {
            Some((Stream::Bounds(&stream.bounds), boxed))
        }
        _ => None,
    }
}

fn is_named(segment: &PathSegment) -> bool {
    segment.ident == "Stream"
}

/// Proves a stream as the answer of a method.
pub(super) fn lower(ty: &Type, on_unknown: bool, errors: &mut Errors) -> Option<Answer> {
    let (stream, form) = of(ty)?;
    let item = match stream {
        Stream::Alias(item) => item.clone(),
        Stream::Bounds(bounds) => {
            let Some(item) = item_of(bounds) else {
                errors.on(ty, "say what the stream is of: write `Stream<Item = Result<T, E>>`");
                return None;
            };
            if !traits(bounds).any(|segment| segment.ident == "Send") {
                errors.on(ty, "add `+ Send`: a task that reads this stream could not be spawned");
                return None;
            }
            item
        }
    };
    if on_unknown {
        errors.on(ty, "remove `on_unknown`: an item of this stream says that the stage is unknown");
        return None;
    }
    check_named(&item, errors)?;
    if cannot_fail(&item) {
        errors.on(
            &item,
            "write `Result<T, E>` for the items, where `E` can be made from `dualwrite::Error`: a stage can be unknown",
        );
        return None;
    }
    let error = last_segment(&item).filter(|segment| segment.ident == "Result").and_then(error_of);
    Some(Answer { error, takes_ours: true, place: item.span(), form, ty: item })
}

fn item_of(bounds: &Bounds) -> Option<Type> {
    let segment = traits(bounds).find(|segment| is_named(segment))?;
    arguments(segment).find_map(|argument| match argument {
        GenericArgument::AssocType(binding) if binding.ident == "Item" => Some(binding.ty.clone()),
        _ => None,
    })
}

/// Reports a stream inside of an answer that is waited for: the call would be over before it.
pub(super) fn refuse_within(ty: &Type, errors: &mut Errors) -> Option<()> {
    let mut streams = Streams(None);
    streams.visit_type(ty);
    let Some(segment) = streams.0 else {
        return Some(());
    };
    let rule = "answer the stream itself, `fn list(&self) -> BoxStream<'_, Result<T, E>>`";
    errors.on(
        &segment.ident,
        format!("{rule}: this call would be over before its stream, and the side could be taken away under it"),
    );
    None
}

struct Streams<'ast>(Option<&'ast PathSegment>);

impl<'ast> Visit<'ast> for Streams<'ast> {
    fn visit_type_param_bound(&mut self, bound: &'ast TypeParamBound) {
        if let TypeParamBound::Trait(bound) = bound {
            let named = bound.path.segments.last().filter(|segment| is_named(segment));
            self.0 = self.0.or(named);
        }
        visit::visit_type_param_bound(self, bound);
    }

    fn visit_path_segment(&mut self, segment: &'ast PathSegment) {
        if segment.ident == "BoxStream" || segment.ident == "LocalBoxStream" {
            self.0.get_or_insert(segment);
        }
        visit::visit_path_segment(self, segment);
    }
}

/// Reports what a read that answers with a stream cannot be asked for.
pub(super) fn check_read(lazy: Option<&proc_macro2::Ident>, shadow: &Shadow, errors: &mut Errors) {
    if let Some(lazy) = lazy {
        errors.on(
            lazy,
            "remove `lazy`: what a stream lacks is known at its end, when its items are gone; copy by a method that \
             answers the record",
        );
    }
    if shadow.never.is_none() {
        for name in &shadow.given {
            errors.on(
                name,
                format!(
                    "remove `{name}`: a stream is never compared, its items are gone when it ends"
                ),
            );
        }
    }
}

/// Says that a write ends with its transaction.
pub(super) fn refuse_write(answer: &Answer, errors: &mut Errors) {
    errors.at(
        answer.place,
        "answer what was written when all of it is, with `async fn`: nobody could roll back a side whose stream is \
         still being read",
    );
}
