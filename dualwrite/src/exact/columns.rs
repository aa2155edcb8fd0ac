//! The columns of a record that a verification compares inside the databases.

use crate::compare::canonical::Canonical;
use crate::database::Identifier;
use crate::error::{Error, ErrorKind};

/// A table with the columns that hold a record, for [`ExactSide::columns`](crate::exact::ExactSide::columns).
///
/// With it, [`Exact::verify`](crate::exact::Exact::verify) has each database make checksums of ranges of keys, and looks at
/// records only where checksums differ: equal rows stay where they are. Without it, all records are read.
///
/// Both sides name columns of the same kinds in the same order; the names may differ. Name every column that `put` writes:
/// what is not named is not compared in ranges whose checksums are equal. The key is one column of integers.
///
/// | kind | PostgreSQL | MySQL, MariaDB | SQLite |
/// |---|---|---|---|
/// | `integer` | `smallint` to `bigint` | `TINYINT` to `BIGINT` | `INTEGER` |
/// | `decimal` | `numeric` | `DECIMAL` | decimal digits as `TEXT`, or a number |
/// | `float` | `real`, `double precision` | `FLOAT`, `DOUBLE` | `REAL` |
/// | `text` | `text`, `varchar`, enums | texts, `ENUM` | `TEXT` |
/// | `boolean` | `boolean` | `TINYINT(1)`, `BIT(1)` | 0 and 1 |
/// | `bytes` | `bytea` | `BLOB`, `VARBINARY` | `BLOB` |
/// | `uuid` | `uuid` | `BINARY(16)`, `CHAR(36)`, `UUID` | `BLOB` of 16 bytes, `TEXT` |
/// | `time` | `timestamptz`, `timestamp` in UTC | `DATETIME(6)` in UTC, `TIMESTAMP(6)` | ISO 8601 as `TEXT`, UTC where no offset stands there; whole seconds |
/// | `date` | `date` | `DATE` | `2024-02-29` |
/// | `json` | `json`, `jsonb` | `JSON` | `TEXT` |
///
/// No two databases write JSON in the same way. With a column of it, and other than two times PostgreSQL, the rows of both
/// sides are read and digested in this process.
///
/// ```
/// use dualwrite::exact::ExactColumns;
///
/// # fn main() -> Result<(), dualwrite::Error> {
/// let columns = ExactColumns::of("cart", "id")?.text("items")?.time("changed_at")?;
/// # let _ = columns; Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "answer with it from `ExactSide::columns`"]
pub struct ExactColumns {
    pub(crate) table: Vec<Identifier>,
    pub(crate) key: Identifier,
    pub(crate) columns: Vec<(Identifier, Canonical)>,
}

macro_rules! kinds {
    ($($(#[$text:meta])* $name:ident $kind:ident)*) => {
        impl ExactColumns {$(
            $(#[$text])*
            ///
            /// # Errors
            /// `InvalidInput` for what is no plain name.
            pub fn $name(mut self, column: &str) -> Result<Self, Error> {
                self.columns.push((Identifier::new(column)?, Canonical::$kind));
                Ok(self)
            }
        )*}
    };
}

kinds! {
    /// A column of integers.
    integer Integer
    /// A column of decimal numbers.
    decimal Decimal
    /// A column of floating-point numbers.
    float Float
    /// A column of texts.
    text Text
    /// A column of true and false.
    boolean Boolean
    /// A column of bytes.
    bytes Bytes
    /// A column of UUIDs.
    uuid Uuid
    /// A column of moments, to the microsecond.
    time Time
    /// A column of days.
    date Date
    /// A column of JSON.
    json Json
}

impl ExactColumns {
    /// The table, with its schema before a point where it has one, and the column of its key.
    ///
    /// # Errors
    /// `InvalidInput` for what is no plain name.
    pub fn of(table: &str, key: &str) -> Result<Self, Error> {
        let table = table.split('.').map(Identifier::new).collect::<Result<_, _>>()?;
        Ok(Self { table, key: Identifier::new(key)?, columns: Vec::new() })
    }

    /// Fails where the other side does not name the same kinds.
    pub(crate) fn check(&self, other: &Self) -> Result<(), Error> {
        let kinds = |side: &Self| side.columns.iter().map(|(_, kind)| *kind).collect::<Vec<_>>();
        if kinds(self) == kinds(other) {
            return Ok(());
        }
        let message = "the two sides name columns of other kinds, or in another order, in `ExactSide::columns`; name those of \
                       one field at the same place, by the same kind";
        Err(Error::new(ErrorKind::InvalidInput, message))
    }
}
