//! [`Columns`]: which columns of a row a one-row implementation works with.

use crate::stages::stage::Side;

/// The columns that an implementation works with, where old and new are columns of one row. The wrapper's
/// `one_row` calls the constructor of the implementation once for each value, and every call goes to exactly
/// one of the implementations that it gets.
///
/// | value | used for |
/// |---|---|
/// | `Old` | reads that the old side answers; writes at `Off` |
/// | `Both(side)` | writes from `DualWrite` to `RampDown`: set both; what the write returns is read from `side` |
/// | `New` | reads that the new side answers; writes at `Complete` |
///
/// ```
/// use dualwrite::{Columns, Side};
///
/// fn deactivate(columns: Columns) -> &'static str {
///     match columns {
///         Columns::Old => "UPDATE customer SET active = false, email = ? WHERE id = ?",
///         Columns::Both(_) => "UPDATE customer SET active = false, email = ?1, email_address = ?1 WHERE id = ?2",
///         Columns::New => "UPDATE customer SET active = false, email_address = ? WHERE id = ?",
///     }
/// }
/// assert!(Columns::Both(Side::Old).write(Side::New));
/// assert_eq!(Columns::Both(Side::Old).answer(), Side::Old);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Columns {
    /// Only the old columns.
    Old,
    /// Writes set both; this side is the one that is read.
    Both(Side),
    /// Only the new columns.
    New,
}

impl Columns {
    /// Whether a write sets the columns of this side.
    #[must_use]
    pub const fn write(self, side: Side) -> bool {
        match self {
            Self::Old => matches!(side, Side::Old),
            Self::Both(_) => true,
            Self::New => matches!(side, Side::New),
        }
    }

    /// The side whose columns are read.
    #[must_use]
    pub const fn answer(self) -> Side {
        match self {
            Self::Old | Self::Both(Side::Old) => Side::Old,
            Self::New | Self::Both(Side::New) => Side::New,
        }
    }
}
