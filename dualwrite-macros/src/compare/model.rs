//! What has been proven valid: how each field is compared, and whether it is shown.

use proc_macro2::Ident;
use syn::{Generics, Member, Path, Type};

use crate::paths::Root;

/// A type that can be compared.
pub(super) struct Compare {
    pub(super) header: Header,
    pub(super) name: Ident,
    pub(super) generics: Generics,
    pub(super) body: Body,
}

/// What the attribute on the item says.
pub(super) struct Header {
    pub(super) root: Root,
    /// The type to compare with, where it is not this one.
    pub(super) other: Option<Path>,
    /// Fields of the other type that are not compared.
    pub(super) ignored_of_other: Vec<Member>,
    pub(super) samples: Option<Samples>,
}

/// Whether values are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Samples {
    Revealed,
    Redacted,
}

pub(super) enum Body {
    Struct(Vec<Field>),
    Enum(Vec<Variant>),
}

pub(super) struct Variant {
    pub(super) name: Ident,
    /// How it is called where it is shown.
    pub(super) shown: String,
    pub(super) fields: Vec<Field>,
    /// Whether it has fields that are not compared.
    pub(super) has_ignored: bool,
    /// Fields of the other type's variant that are not compared.
    pub(super) ignored_of_other: Vec<Member>,
}

/// A field that is compared.
pub(super) struct Field {
    pub(super) member: Member,
    /// The same field of the other side.
    pub(super) other: Member,
    pub(super) ty: Type,
    /// How it is called in paths.
    pub(super) name: String,
    pub(super) how: How,
    pub(super) samples: Samples,
}

/// How two values of a field are compared.
pub(super) enum How {
    /// By `Compare`, else by `PartialEq`.
    Plain,
    /// By a function of the user.
    With(Path),
    /// As floats that may differ by either of these.
    Near { absolute: f64, relative: f64 },
    /// As lists in any order.
    Unordered,
    /// As lists whose elements are matched by a key.
    Keyed(Key),
}

/// What identifies an element of a list.
pub(super) enum Key {
    /// Fields of it, each a way through fields of fields.
    Fields(Vec<Vec<Member>>),
    /// What a function says.
    Function(Path),
}
