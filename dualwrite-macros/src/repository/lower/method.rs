//! One method: its attribute, receiver, arguments and answer, put together.

use proc_macro2::Ident;
use syn::{Attribute, Expr, ExprPath, ItemTrait, Safety, Signature, Token, TraitItemFn, Type};

use super::super::desugar;
use super::super::model::{Argument, Failing, Form, Method, Passing, Read, ReadKind, Route, Write};
use super::answer::Answer;
use super::options::Shadow;
use super::route::{Declared, DeclaredFailing};
use super::{answer, arguments, keys, owned, route, self_types, stream, supertrait, unit};
use crate::diag::Errors;
use crate::names;

/// A valid method, with what the trait's proof needs of it.
pub(super) struct Lowered {
    pub(super) method: Method,
    /// The error, and whether our own become one.
    pub(super) error: Option<Type>,
    pub(super) takes_ours: bool,
    /// What it answers, a `Result` or not.
    pub(super) answer: Type,
}

/// What a method needs to know of its trait.
#[derive(Clone, Copy)]
pub(super) struct Around<'t> {
    pub(super) item: &'t ItemTrait,
    pub(super) associated: &'t [Ident],
    pub(super) of_async_fn: Form,
    /// What makes the user's error of ours, unless a method says otherwise.
    pub(super) error: Option<&'t ExprPath>,
    /// Its implementers borrow a connection.
    pub(super) is_unit: bool,
    /// Its writes take no transaction.
    pub(super) is_fenced: bool,
}

/// Proves one method. None for a method that failed, and for one that is not routed: its default
/// body is inherited by the wrapper.
pub(super) fn lower(
    function: &TraitItemFn,
    routing: &[Attribute],
    of_trait: &Around<'_>,
    errors: &mut Errors,
) -> Option<Lowered> {
    let Around { item, associated, of_async_fn, error, is_unit, .. } = *of_trait;
    if routing.is_empty() && function.default.is_some() {
        return None;
    }
    let before = errors.count();
    let (of, routing) = supertrait::lower(function, routing, of_trait, errors);
    let routing = routing.as_slice();
    // Of the futures of a trait that is declared elsewhere nobody knows here whether they are `Send`.
    let of_async_fn = if of.is_some() { Form::Async } else { of_async_fn };
    let signature = &function.sig;
    let (declared, failing) = match route::lower(&signature.ident, routing, errors) {
        Some((declared, failing)) => (Some(declared), failing),
        None => (None, DeclaredFailing::default()),
    };
    check_signature(signature, associated, is_unit, errors);
    let this = receiver(signature, is_unit, errors);
    let answer = match routing.first().is_some_and(route::is_keyed) {
        true => answer::lower(signature, of_async_fn, failing.on_unknown.is_some(), errors),
        false => answer::of_primary(signature, of_async_fn, errors),
    };
    let mut arguments = arguments::lower(signature, errors);
    let around = transaction_of(&arguments, is_unit, errors);
    let is_stream = answer.as_ref().is_some_and(Answer::is_stream);
    if let (true, Some(answer)) = (is_stream, &answer) {
        check_stream(declared.as_ref(), answer, is_unit, errors);
    }
    let route = match declared {
        Some(declared) => match around {
            Some(tx) => route_of(declared, is_stream, tx, signature, &mut arguments, item, errors),
            None => route_within(declared, signature, &arguments, item, errors),
        },
        None => None,
    };
    let failing = failing_by(failing, error.cloned());
    let (this, answer, route) = (this?, answer?, route?);
    check_answer(&answer, &route, errors);
    if errors.count() > before {
        return None;
    }
    Some(lowered(of, function, this, arguments, answer, failing, route))
}

fn lowered(
    of: Option<syn::Path>,
    function: &TraitItemFn,
    this: Token![self],
    arguments: Vec<Argument>,
    answer: Answer,
    failing: Failing,
    route: Route,
) -> Lowered {
    let signature = &function.sig;
    Lowered {
        takes_ours: answer.takes_ours && matches!(failing, Failing::From),
        method: Method {
            of,
            signature: match answer.form {
                Form::Async => signature.clone(),
                _ => desugar::signature(signature),
            },
            this,
            arguments,
            cfg: attributes(function, &["cfg"]),
            attributes: attributes(function, &["doc", "allow", "warn", "deny"]),
            answer: answer.place,
            form: answer.form,
            converts: false,
            failing,
            route,
        },
        error: answer.error,
        answer: answer.ty,
    }
}

fn attributes(function: &TraitItemFn, names: &[&str]) -> Vec<Attribute> {
    let wanted = |attribute: &&Attribute| names.iter().any(|name| attribute.path().is_ident(name));
    function.attrs.iter().filter(wanted).cloned().collect()
}

fn check_signature(
    signature: &Signature,
    associated: &[Ident],
    is_unit: bool,
    errors: &mut Errors,
) {
    let name = &signature.ident;
    let hides = !is_unit && names::WRAPPER_FUNCTIONS.contains(&names::plain(name).as_str());
    if hides {
        errors.on(
            name,
            format!("the generated wrapper has a function `{name}` of its own, which would hide this: rename it"),
        );
    }
    if let Some(token) = &signature.constness {
        errors.on(token, "a routed method cannot be `const`: remove it");
    }
    if let Safety::Unsafe(token) = &signature.safety {
        errors.on(token, "generated code calls no unsafe method: remove `unsafe`");
    }
    if let Some(abi) = &signature.abi {
        errors.on(abi, "a routed method is a plain Rust function: remove this");
    }
    self_types::check(signature, associated, errors);
}

fn check_stream(declared: Option<&Declared>, answer: &Answer, is_unit: bool, errors: &mut Errors) {
    if is_unit {
        errors.at(
            answer.place,
            "answer a `Vec`, with `async fn`: a unit of work builds the side for the call, and a stream would outlive it",
        );
    }
    match declared {
        Some(Declared::Read { lazy, shadow, .. }) => {
            stream::check_read(lazy.as_ref(), shadow, errors);
        }
        Some(Declared::Write { .. }) => stream::refuse_write(answer, errors),
        Some(Declared::Primary) | None => {}
    }
}

fn receiver(signature: &Signature, is_unit: bool, errors: &mut Errors) -> Option<Token![self]> {
    match is_unit {
        true => unit::receiver(signature, errors),
        false => arguments::receiver(signature, errors),
    }
}

fn check_read(kind: &ReadKind, signature: &Signature, arguments: &[Argument], errors: &mut Errors) {
    if let ReadKind::LazyIn { .. } = kind {
        report_exclusive(READS_BOTH, arguments, errors);
    }
    check_kept(kind, signature, arguments, errors);
}

/// What a call does that has no answer of its own.
fn failing_by(declared: DeclaredFailing, error: Option<ExprPath>) -> Failing {
    match (declared.on_unknown, declared.error.or(error)) {
        (Some((_, answer)), _) => Failing::Answer(answer),
        (None, Some(convert)) => Failing::By(convert),
        (None, None) => Failing::From,
    }
}

/// The transaction among the arguments; `None` in a unit of work, which is one itself.
fn transaction_of(
    arguments: &[Argument],
    is_unit: bool,
    errors: &mut Errors,
) -> Option<Option<Ident>> {
    if is_unit {
        unit::check_arguments(arguments, errors);
        return None;
    }
    Some(arguments::transaction(arguments, errors))
}

fn route_of(
    declared: Declared,
    is_stream: bool,
    tx: Option<Ident>,
    signature: &Signature,
    arguments: &mut [Argument],
    item: &ItemTrait,
    errors: &mut Errors,
) -> Option<Route> {
    // A read that is asked again cannot lend a `&mut` but to the transaction that it takes part in.
    let tx = tx.or_else(|| match &declared {
        Declared::Write { .. } => arguments::adopt_alias(arguments, false),
        Declared::Read { shadow, .. } if shadow.never.is_none() => {
            arguments::adopt_alias(arguments, true)
        }
        Declared::Read { .. } | Declared::Primary => None,
    });
    match (declared, tx) {
        (Declared::Write { keys, on_mirror_error, limits, on_difference }, Some(tx)) => {
            report_exclusive(WRITES_BOTH, arguments, errors);
            let keys = keys::lower(keys, arguments, item, errors)?;
            Some(Route::Write(Write { keys, tx, on_mirror_error, limits, on_difference }))
        }
        (Declared::Write { .. }, None) => {
            arguments::report_missing_transaction(&signature.ident, arguments, errors);
            None
        }
        (Declared::Read { key, ramp, lazy, shadow }, tx) => {
            check_keys(&key, &ramp, arguments, errors);
            if tx.is_some() && !is_stream {
                report_never_compared(&shadow, errors);
            }
            let kind = match is_stream {
                true => ReadKind::Plain { tx },
                false => read_kind(lazy.is_some(), shadow, tx),
            };
            check_read(&kind, signature, arguments, errors);
            Some(Route::Read(Read { key, ramp, kind }))
        }
        (Declared::Primary, None) => Some(Route::Primary),
        (Declared::Primary, Some(tx)) => {
            errors.on(
                &tx,
                "a call in a transaction reads or writes: say `#[read(…)]` or `#[write(…)]`",
            );
            None
        }
    }
}

/// The route of a method of a unit of work: every one of them has the transaction.
fn route_within(
    declared: Declared,
    signature: &Signature,
    arguments: &[Argument],
    item: &ItemTrait,
    errors: &mut Errors,
) -> Option<Route> {
    match declared {
        Declared::Write { keys, on_mirror_error, limits, on_difference } => {
            report_exclusive(WRITES_BOTH, arguments, errors);
            let keys = keys::lower(keys, arguments, item, errors)?;
            let tx = unit::tx();
            Some(Route::Write(Write { keys, tx, on_mirror_error, limits, on_difference }))
        }
        Declared::Read { key, ramp, lazy, shadow } => {
            check_keys(&key, &ramp, arguments, errors);
            let (lazy, comparing) =
                (lazy.is_some(), shadow.never.is_none().then_some(shadow.comparing));
            if lazy && comparing.is_none() {
                report_exclusive(READS_BOTH, arguments, errors);
            }
            let kind = ReadKind::Within { tx: unit::tx(), lazy, comparing };
            check_kept(&kind, signature, arguments, errors);
            Some(Route::Read(Read { key, ramp, kind }))
        }
        Declared::Primary => Some(Route::Primary),
    }
}

fn check_keys(
    key: &Option<Expr>,
    ramp: &Option<Expr>,
    arguments: &[Argument],
    errors: &mut Errors,
) {
    for (setting, expression) in [("key", key), ("ramp", ramp)] {
        if let Some(expression) = expression {
            keys::check(setting, expression, arguments, errors);
        }
    }
}

const WRITES_BOTH: &str = "a write may go to both sides, and each would change this";
const READS_BOTH: &str = "a lazy read may ask both sides, and each would change this";

/// Reports what only one side can be lent.
fn report_exclusive(rule: &str, arguments: &[Argument], errors: &mut Errors) {
    for argument in arguments.iter().filter(|argument| argument.passing == Passing::Exclusive) {
        errors.on(&argument.ty, format!("{rule}: take `&T` or `T`, and answer what changes"));
    }
}

fn read_kind(lazy: bool, Shadow { never, comparing, .. }: Shadow, tx: Option<Ident>) -> ReadKind {
    let comparing = never.is_none().then_some(comparing);
    match (lazy, comparing, tx) {
        (true, _, Some(tx)) => ReadKind::LazyIn { tx },
        (true, comparing, None) => ReadKind::Lazy(comparing),
        (false, Some(comparing), None) => ReadKind::Compared(comparing),
        // Inside the caller's transaction there is no later moment at which to compare.
        (false, _, tx) => ReadKind::Plain { tx },
    }
}

fn report_never_compared(shadow: &Shadow, errors: &mut Errors) {
    if shadow.never.is_some() {
        return; // which has been reported already
    }
    for name in &shadow.given {
        errors.on(
            name,
            format!("a read in the caller's transaction is never compared: remove `{name}`"),
        );
    }
}

fn check_kept(kind: &ReadKind, signature: &Signature, arguments: &[Argument], errors: &mut Errors) {
    if let Some(way_out) = way_out(kind) {
        for argument in arguments {
            arguments::check_kept(argument, signature, way_out, errors);
        }
    }
}

/// What else than owned values a read that is asked again could use; none if it is not.
fn way_out(kind: &ReadKind) -> Option<&'static str> {
    match kind {
        ReadKind::Compared(_) | ReadKind::Within { comparing: Some(_), .. } => {
            Some(", or write `shadow = never`")
        }
        ReadKind::Lazy(_) => Some(""),
        ReadKind::Plain { .. } | ReadKind::LazyIn { .. } | ReadKind::Within { .. } => None,
    }
}

fn check_answer(answer: &Answer, route: &Route, errors: &mut Errors) {
    let way_out = match route {
        Route::Read(Read { kind: ReadKind::LazyIn { .. }, .. })
        | Route::Read(Read {
            kind: ReadKind::Within { lazy: true, comparing: None, .. }, ..
        }) => Some(""),
        Route::Read(read) => way_out(&read.kind),
        Route::Write(_) | Route::Primary => None,
    };
    if let (Some(way_out), Some(borrow)) = (way_out, owned::borrow_in(&answer.ty)) {
        errors.on(
            &borrow,
            format!("this read is asked twice, so its answers cannot borrow: answer an owned value{way_out}"),
        );
    }
}
