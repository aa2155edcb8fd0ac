//! The arguments of a method: how each is handed to the sides, and which of them is the transaction.

use proc_macro2::{Ident, TokenStream};
use quote::ToTokens as _;
use syn::{FnArg, Pat, PatType, ReceiverKind, Signature, Token, Type, TypeReference};

use super::super::model::{Argument, Passing};
use super::answer::{last_segment, peel};
use super::owned;
use crate::diag::Errors;

/// The `self` of `&self`.
pub(super) fn receiver(signature: &Signature, errors: &mut Errors) -> Option<Token![self]> {
    const SHARED: &str = "write `&self`: a repository is shared by many calls at once; where it borrows a connection, \
                          write `#[repository(unit_of_work)]`";
    let Some(receiver) = signature.receiver() else {
        errors.on(
            &signature.ident,
            format!("`{}` has no receiver: write `&self` first", signature.ident),
        );
        return None;
    };
    match &receiver.kind {
        ReceiverKind::Reference(_, _, None) => Some(receiver.self_token),
        _ => {
            errors.on(receiver, SHARED);
            None
        }
    }
}

/// The arguments after the receiver.
pub(super) fn lower(signature: &Signature, errors: &mut Errors) -> Vec<Argument> {
    let typed = signature.inputs.iter().filter_map(|argument| match argument {
        FnArg::Typed(argument) => Some(argument),
        FnArg::Receiver(_) => None,
    });
    typed.filter_map(|argument| lower_one(argument, errors)).collect()
}

fn lower_one(argument: &PatType, errors: &mut Errors) -> Option<Argument> {
    for attribute in argument.attrs.iter().filter(|attribute| !attribute.path().is_ident("allow")) {
        errors.on(attribute, "attributes on arguments are not supported: remove this");
    }
    let name = name(&argument.pat, errors)?;
    let ty = peel(&argument.ty);
    let passing = match ty {
        // It never ends, so the reference itself can be kept.
        Type::Reference(reference) if lifetime_is(reference, "static") => Passing::Value,
        Type::Reference(reference) if reference.mutability.is_none() => Passing::Shared,
        Type::Reference(reference) if is_tx(&reference.elem) => Passing::Tx,
        Type::Reference(_) => Passing::Exclusive,
        _ => Passing::Value,
    };
    Some(Argument { name, ty: ty.clone(), passing, is_named_tx: passing == Passing::Tx })
}

fn lifetime_is(reference: &TypeReference, name: &str) -> bool {
    reference.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == name)
}

fn name(pattern: &Pat, errors: &mut Errors) -> Option<Ident> {
    match pattern {
        Pat::Ident(plain)
            if plain.by_ref.is_none() && plain.mutability.is_none() && plain.subpat.is_none() =>
        {
            Some(plain.ident.clone())
        }
        Pat::Wild(_) => {
            errors.on(pattern, "this argument is handed on to both sides: give it a name");
            None
        }
        _ => {
            errors.on(pattern, "arguments are handed on by name: write a plain name here");
            None
        }
    }
}

/// Whether this is `&mut Tx<'_, DB>`.
pub(super) fn is_transaction(ty: &Type) -> bool {
    matches!(peel(ty), Type::Reference(reference) if reference.mutability.is_some() && is_tx(&reference.elem))
}

/// Takes the one `&mut` of a call that must have a transaction for it: a type may have any name. What it
/// is the compiler finds out.
pub(super) fn adopt_alias(arguments: &mut [Argument], must_borrow: bool) -> Option<Ident> {
    let mut exclusive =
        arguments.iter_mut().filter(|argument| argument.passing == Passing::Exclusive);
    let only = exclusive.next()?;
    let borrows = || match &only.ty {
        Type::Reference(reference) => owned::borrow_in(&reference.elem).is_some(),
        _ => false,
    };
    if exclusive.next().is_some()
        || is_unfenced(&only.ty)
        || !is_named(&only.ty)
        || (must_borrow && !borrows())
    {
        return None;
    }
    only.passing = Passing::Tx;
    Some(only.name.clone())
}

fn is_named(ty: &Type) -> bool {
    last_segment(referent(ty)).is_some()
}

/// A transaction or connection of the driver.
fn is_unfenced(ty: &Type) -> bool {
    last_segment(referent(ty)).is_some_and(|segment| {
        let name = segment.ident.to_string();
        name == "Transaction" || name.ends_with("Connection")
    })
}

/// The one `&mut Tx<'_, DB>`, if any.
pub(super) fn transaction(arguments: &[Argument], errors: &mut Errors) -> Option<Ident> {
    for argument in arguments.iter().filter(|argument| argument.passing != Passing::Tx) {
        if is_tx(referent(&argument.ty)) {
            errors.on(
                &argument.ty,
                "a transaction is lent to each side in turn: write `&mut Tx<'_, DB>`",
            );
        }
    }
    let mut found = arguments.iter().filter(|argument| argument.passing == Passing::Tx);
    let first = found.next()?;
    for second in found {
        errors.on(&second.ty, "a call takes part in one transaction: keep one `&mut Tx<'_, DB>`");
    }
    Some(first.name.clone())
}

/// Says what a write without `&mut Tx<'_, DB>` has to take.
pub(super) fn report_missing_transaction(
    name: &Ident,
    arguments: &[Argument],
    errors: &mut Errors,
) {
    const TX: &str = "`&mut dualwrite::Tx<'_, DB>`, which `migration.begin(..)` gives";
    let unfenced = arguments.iter().find(|argument| is_unfenced(&argument.ty));
    match unfenced {
        Some(argument) => errors.on(
            &argument.ty,
            format!("a dual write must not run under a stage that has passed: take {TX}"),
        ),
        // A `Tx` in another form has been reported already.
        None if arguments.iter().any(|argument| is_tx(referent(&argument.ty))) => {}
        None => errors.on(
            name,
            format!(
                "add `tx`, {TX}, or keep the trait as it is and write `#[repository(transaction = DB)]`: \
                 a write must not run under a stage that has passed"
            ),
        ),
    }
}

/// Reports an argument that cannot be kept for a second ask, which runs after the call.
pub(super) fn check_kept(
    argument: &Argument,
    signature: &Signature,
    way_out: &str,
    errors: &mut Errors,
) {
    let borrow = match &argument.ty {
        Type::Reference(_) if argument.passing == Passing::Exclusive => {
            let rule = "this read is asked twice, and a `&mut` can be lent once: take `&T` or `T`";
            return errors.on(&argument.ty, format!("{rule}{way_out}"));
        }
        Type::Reference(reference)
            if matches!(peel(&reference.elem), Type::ImplTrait(_) | Type::TraitObject(_)) =>
        {
            let rule =
                "this read keeps a copy of its arguments: name a type parameter, `value: &T`";
            return errors.on(&reference.elem, format!("{rule}{way_out}"));
        }
        Type::Reference(reference) if argument.passing == Passing::Shared => {
            outer_lifetime(reference, signature).or_else(|| owned::borrow_in(&reference.elem))
        }
        ty => owned::borrow_in(ty),
    };
    if let Some(borrow) = borrow {
        let rule = "this read is asked again after the call, when this borrow has ended: take an owned value";
        errors.on(&borrow, format!("{rule}{way_out}"));
    }
}

/// A lifetime that the method does not choose: a copy cannot be lent for that long.
fn outer_lifetime(reference: &TypeReference, signature: &Signature) -> Option<TokenStream> {
    let lifetime = reference.lifetime.as_ref().filter(|lifetime| lifetime.ident != "_")?;
    let mut chosen = signature.generics.lifetimes();
    (!chosen.any(|parameter| parameter.lifetime == *lifetime)).then(|| lifetime.to_token_stream())
}

fn is_tx(ty: &Type) -> bool {
    last_segment(ty).is_some_and(|segment| segment.ident == "Tx")
}

fn referent(ty: &Type) -> &Type {
    match peel(ty) {
        Type::Reference(reference) => &reference.elem,
        other => other,
    }
}
