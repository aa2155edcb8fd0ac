//! What the derive says of the fields of a row: where each is read from, and how it gets from old to new.

use crate::database::Alike;
use crate::stages::stage::Side;

/// Where a field of a record is read from, on each side.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub struct ReadColumn {
    /// As `sqlx::FromRow` looks for it.
    pub name: &'static str,
    pub old: Source,
    pub new: Source,
}

/// What a field is read from.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub enum Source {
    Column(&'static str),
    Null,
    /// It says that new has a value, and old answers.
    Unmarked,
    /// `sqlx::FromRow` has a default for it.
    Nothing,
}

impl ReadColumn {
    pub(crate) fn source(&self, side: Side) -> Source {
        match side {
            Side::Old => self.old,
            Side::New => self.new,
        }
    }
}

/// One logical field and its columns.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub struct Carried {
    pub field: &'static str,
    pub old: &'static [&'static str],
    pub new: &'static [&'static str],
    pub how: Carry,
}

/// How a logical field gets from old to new.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub enum Carry {
    /// As it is.
    Rename(Alike),
    /// By one SQL expression for each new column; back, and for a verification, in Rust.
    Sql(&'static [&'static str]),
    /// In Rust.
    Rust,
}

impl Carried {
    pub(crate) fn columns(&self, side: Side) -> &'static [&'static str] {
        match side {
            Side::Old => self.old,
            Side::New => self.new,
        }
    }

    /// Whether the database carries it to `side` by itself.
    pub(crate) fn is_set_based(&self, side: Side) -> bool {
        match self.how {
            Carry::Rename(_) => true,
            Carry::Sql(_) => side == Side::New,
            Carry::Rust => false,
        }
    }
}
