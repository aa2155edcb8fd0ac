//! What has been proven valid: the two sides of each logical field, and how one becomes the other.

use proc_macro2::{Ident, Span};
use syn::spanned::Spanned;
use syn::{Generics, Member, Path, Type, Visibility};

use crate::paths::Root;

/// A struct with at least one pair.
pub(super) struct Dual {
    pub(super) root: Root,
    pub(super) name: Ident,
    pub(super) generics: Generics,
    /// The fields of the key, where the struct names them.
    pub(super) key: Vec<Ident>,
    pub(super) table: Option<Table>,
    pub(super) pairs: Vec<Pair>,
    pub(super) moved: Vec<Moved>,
}

/// A field whose column gets another name.
pub(super) struct Moved {
    pub(super) name: Ident,
    pub(super) old: String,
    pub(super) new: String,
    /// Stored as text.
    pub(super) is_text: bool,
    /// The field that says that the new column has been written.
    pub(super) marker: Option<Marker>,
}

/// The table that the struct is a row of.
pub(super) struct Table {
    pub(super) name: String,
    pub(super) key_types: Vec<Type>,
    pub(super) key: Vec<String>,
    pub(super) columns: Vec<String>,
    pub(super) old_columns: Vec<String>,
    pub(super) new_columns: Vec<String>,
    pub(super) fields: Vec<Field>,
}

/// A field that is a column.
pub(super) struct Field {
    pub(super) name: Ident,
    /// As `sqlx::FromRow` looks for it.
    pub(super) column: String,
    /// The type of the value: without `Option`, unless it is stored as JSON.
    pub(super) value: Type,
    pub(super) is_optional: bool,
    pub(super) is_json: bool,
    /// `#[sqlx(default)]`.
    pub(super) has_default: bool,
    pub(super) role: Role,
}

/// What a field is in the migration.
pub(super) enum Role {
    /// Nothing: both sides have it.
    Shared,
    /// It holds what either column says; this is the new one.
    Moved(String),
    /// A part of an old side; where it is a rename, with the column of the new side.
    Old { renamed: Option<String> },
    /// A part of a new side; where it is a rename, with the column of the old side.
    New { renamed: Option<String> },
    /// Whether a new side has been written.
    Marker,
}

/// Old and new parts that hold one value: a logical field.
pub(super) struct Pair {
    /// The getter, and the name of the logical field.
    pub(super) name: Ident,
    pub(super) setter: Ident,
    /// Of the new field, hence of getter and setter.
    pub(super) visibility: Visibility,
    pub(super) old: Vec<Part>,
    pub(super) new: Vec<Part>,
    pub(super) how: How,
    /// One expression for each new column, where SQL converts forward.
    pub(super) sql: Vec<String>,
    pub(super) present: Present,
    pub(super) absent: Absent,
    /// The field that says that new has been written, where NULL may be a value of new.
    pub(super) marker: Option<Marker>,
}

/// A `bool` field that tells "not copied yet" from NULL.
pub(super) struct Marker {
    pub(super) name: Ident,
    pub(super) column: String,
}

/// One field of a side.
pub(super) struct Part {
    pub(super) place: Place,
    /// The type of the value, without `Option`.
    pub(super) value: Type,
    pub(super) is_optional: bool,
    pub(super) view: View,
    /// Whether parameters decide the type.
    pub(super) is_generic: bool,
    pub(super) column: String,
}

/// Where a value is.
pub(super) enum Place {
    Field(Ident),
    /// In a record that a field holds.
    Within {
        record: Ident,
        is_optional: bool,
        rest: Vec<Member>,
    },
}

/// How old becomes new, and new old.
pub(super) enum How {
    Rename,
    Convert { forward: Path, backward: Path },
}

/// When the new side counts as there.
pub(super) enum Present {
    /// `Some`; always, where it is no `Option`.
    Filled,
    /// The same, and the user says that NULL is no value of new.
    Some,
    /// And not the default.
    NonDefault,
    /// And this function says so.
    By(Path),
}

/// What a setter does where the record of the new side is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    Refuse,
    MakeDefault,
}

/// What a getter answers.
pub(super) enum View {
    /// `&str` for a `String`.
    Str,
    /// `&[T]` for a `Vec<T>`.
    Slice(Box<Type>),
    /// `&T` for a `Box<T>`.
    Boxed(Box<Type>),
    /// The value itself, for numbers and the like.
    Copied,
    /// `&T`.
    Whole,
}

impl Dual {
    /// The markers, each with the field that it is of.
    pub(super) fn markers(&self) -> impl Iterator<Item = (&Ident, &Marker)> {
        let of_pairs =
            self.pairs.iter().filter_map(|pair| Some((&pair.name, pair.marker.as_ref()?)));
        let of_moved =
            self.moved.iter().filter_map(|moved| Some((&moved.name, moved.marker.as_ref()?)));
        of_pairs.chain(of_moved)
    }
}

impl Part {
    /// Whether there may be no value.
    pub(super) fn may_be_absent(&self) -> bool {
        self.is_optional || matches!(self.place, Place::Within { is_optional: true, .. })
    }

    /// Where to say that something is wrong with its type.
    pub(super) fn span(&self) -> Span {
        match &self.place {
            Place::Field(_) => self.value.span(),
            Place::Within { record, rest, .. } => {
                rest.last().map_or_else(|| record.span(), Spanned::span)
            }
        }
    }

    /// How it is called in messages and documentation.
    pub(super) fn shown(&self) -> String {
        match &self.place {
            Place::Field(name) => crate::names::plain(name),
            Place::Within { record, rest, .. } => {
                rest.iter().fold(crate::names::plain(record), |path, member| match member {
                    Member::Named(name) => format!("{path}.{}", crate::names::plain(name)),
                    Member::Unnamed(index) => format!("{path}.{}", index.index),
                })
            }
        }
    }
}

impl Pair {
    pub(super) fn old_is_total(&self) -> bool {
        !self.old.iter().any(Part::may_be_absent)
    }

    pub(super) fn new_is_total(&self) -> bool {
        !self.new.iter().any(Part::may_be_absent)
    }

    /// Whether the new side is there in every value of the struct.
    pub(super) fn is_always_new(&self) -> bool {
        self.new_is_total() && matches!(self.present, Present::Filled | Present::Some)
    }

    /// Whether NULL in new may be a value as well as "not copied yet": only who knows which side answers can
    /// tell, or a marker.
    pub(super) fn may_be_null(&self) -> bool {
        let may = |parts: &[Part]| parts.iter().any(|part| part.is_optional);
        matches!(self.present, Present::Filled) && may(&self.old) && may(&self.new)
    }

    /// Whether both sides can be made NULL.
    pub(super) fn can_be_cleared(&self) -> bool {
        self.may_be_null() && self.old.iter().chain(&self.new).all(|part| part.is_optional)
    }

    pub(super) fn is_converted(&self) -> bool {
        matches!(self.how, How::Convert { .. })
    }

    /// The record that a setter cannot do without.
    pub(super) fn needed_record(&self) -> Option<&Ident> {
        match (self.absent, self.new.as_slice()) {
            (
                Absent::Refuse,
                [Part { place: Place::Within { record, is_optional: true, .. }, .. }],
            ) => Some(record),
            _ => None,
        }
    }
}
