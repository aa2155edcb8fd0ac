//! Units of work: traits of `&mut self` methods, whose implementers borrow a connection.

use proc_macro2::{Ident, Span};
use quote::ToTokens as _;
use syn::{ItemTrait, ReceiverKind, Signature, Token, TraitItem};

use super::super::model::{Argument, Passing, Unit};
use crate::diag::Errors;
use crate::names;

/// Reports what both sides would have to share before either of them is built.
pub(super) fn check(item: &ItemTrait, errors: &mut Errors) {
    for associated in &item.items {
        let what = match associated {
            TraitItem::Type(associated) => &associated.ident,
            TraitItem::Const(constant) => &constant.ident,
            _ => continue,
        };
        let rule =
            "name the type or the value in the methods themselves, or give the trait a parameter";
        errors.on(what, format!("{rule}: a unit of work builds its sides for each call, and has no `Self::{what}` before"));
    }
}

/// The names of what is added.
pub(super) fn of(item: &ItemTrait) -> Unit {
    Unit {
        name: names::unit(&item.ident),
        database: names::database_parameter(item.to_token_stream()),
    }
}

/// The transaction, as the bodies name it.
pub(super) fn tx() -> Ident {
    Ident::new("tx", Span::mixed_site())
}

/// The `self` of `&mut self`.
pub(super) fn receiver(signature: &Signature, errors: &mut Errors) -> Option<Token![self]> {
    let Some(receiver) = signature.receiver() else {
        errors.on(
            &signature.ident,
            format!("write `&mut self` first: `{}` has no receiver", signature.ident),
        );
        return None;
    };
    match &receiver.kind {
        ReceiverKind::Reference(_, _, Some(_)) => Some(receiver.self_token),
        ReceiverKind::Reference(..) => {
            let rule =
                "write `&mut self`: a unit of work lends its connection to the side of each call";
            errors.on(receiver, rule);
            None
        }
        _ => {
            let rule = "take this method out of the trait, or give it a default body";
            errors.on(
                receiver,
                format!("{rule}: the owner of the transaction ends it, with `tx.commit().await`"),
            );
            None
        }
    }
}

/// Reports a transaction among the arguments.
pub(super) fn check_arguments(arguments: &[Argument], errors: &mut Errors) {
    for argument in arguments.iter().filter(|argument| argument.passing == Passing::Tx) {
        errors.on(
            &argument.ty,
            "remove this argument: the unit of work has the transaction of all its calls",
        );
    }
}
