//! What has been proven valid: pairs of fields that hold one value.

use proc_macro2::Ident;
use syn::{Generics, Type, Visibility};

use crate::paths::Root;

/// A struct with at least one pair.
pub(super) struct Dual {
    pub(super) root: Root,
    pub(super) name: Ident,
    pub(super) generics: Generics,
    pub(super) pairs: Vec<Pair>,
}

/// An old and a new field for the same value.
pub(super) struct Pair {
    pub(super) old: Field,
    pub(super) new: Field,
    /// The type of the value, without `Option`.
    pub(super) value: Type,
    pub(super) view: View,
    /// Of the new field, hence of getter and setter.
    pub(super) visibility: Visibility,
    pub(super) setter: Ident,
    /// Whether the setter must ask for `Clone`, since parameters decide the type.
    pub(super) is_generic: bool,
}

/// One field of a pair.
pub(super) struct Field {
    pub(super) name: Ident,
    pub(super) is_optional: bool,
}

/// What a getter answers.
pub(super) enum View {
    /// `&str` for a `String`.
    Str,
    /// `&[T]` for a `Vec<T>`.
    Slice(Box<Type>),
    /// The value itself, for numbers and the like.
    Copied,
    /// `&T`.
    Whole,
}
