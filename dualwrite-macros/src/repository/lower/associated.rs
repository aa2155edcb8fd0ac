//! Associated types and constants: both sides must have the same ones, and the wrapper takes old's.

use proc_macro2::Ident;
use syn::{Attribute, ItemTrait, TraitItem, TraitItemConst, Type};

use super::super::model::{Constant, Equality};
use super::answer::{last_segment, peel};
use crate::diag::Errors;

/// The names of the associated types.
pub(super) fn types(item: &ItemTrait, errors: &mut Errors) -> Vec<Ident> {
    let mut found = Vec::new();
    for item in &item.items {
        let TraitItem::Type(associated) = item else {
            continue;
        };
        if !associated.generics.params.is_empty() {
            errors.on(
                &associated.generics,
                "an associated type with parameters cannot be shared by both sides: remove the parameters",
            );
        }
        if let Some(cfg) = associated.attrs.iter().find(|attribute| is_cfg(attribute)) {
            errors.on(cfg.path(), "an associated type cannot come and go: remove `#[cfg]`");
        }
        found.push(associated.ident.clone());
    }
    found
}

/// An associated constant.
pub(super) fn constant(constant: &TraitItemConst) -> Constant {
    Constant {
        name: constant.ident.clone(),
        ty: constant.ty.clone(),
        cfg: constant.attrs.iter().filter(|attribute| is_cfg(attribute)).cloned().collect(),
        equality: equality(&constant.ty),
    }
}

fn is_cfg(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
}

/// How two values of the type can be compared when the wrapper is compiled.
fn equality(ty: &Type) -> Equality {
    const OPERATOR: [&str; 16] = [
        "bool", "char", "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64",
        "i128", "isize", "f32", "f64",
    ];
    if let Type::Reference(reference) = peel(ty) {
        let is_text = last_segment(&reference.elem).is_some_and(|segment| segment.ident == "str");
        return if is_text { Equality::Text } else { Equality::Unknown };
    }
    match last_segment(ty) {
        Some(segment) if OPERATOR.iter().any(|name| segment.ident == name) => Equality::Operator,
        _ => Equality::Unknown,
    }
}
