//! What generated code calls to bind the fields of a record to the columns of each side.

use std::fmt;

use sqlx::{Encode, Type};
use sqlx_core::arguments::Arguments;

use crate::copy::conversion::ConversionError;
use crate::copy::convert::Bind;
use crate::copy::dual_table::DualTable;
use crate::database::Backend;
use crate::stages::columns::Columns;
use crate::stages::stage::Side;

/// A type that can be bound.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be bound to a column of `{DB}`",
    note = "a field of a record that is inserted or updated needs `Clone`, `sqlx::Type` and `sqlx::Encode`"
)]
#[doc(hidden)]
pub trait Bound<DB: Backend>: Type<DB> + for<'q> Encode<'q, DB> + Clone + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<DB, T> Bound<DB> for T
where
    DB: Backend,
    T: Type<DB> + for<'q> Encode<'q, DB> + Clone + Send + 'static,
{
}

/// A struct whose fields can be bound to the columns of a table: derived together with
/// [`DualTable`](crate::DualTable), and needed by name only where code is generic over the database.
///
/// ```
/// use dualwrite::{Backend, BindColumns, Columns, Tx};
///
/// async fn save<T: BindColumns<DB>, DB: Backend>(
///     columns: Columns,
///     record: &T,
///     tx: &mut Tx<'_, DB>,
/// ) -> sqlx::Result<()> {
///     columns.save(record, tx).await
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "the columns of `{Self}` cannot be bound on `{DB}`",
    note = "give the struct `#[dual(table = \"…\", key = \"…\")]`; all its fields must be columns of that database"
)]
pub trait BindColumns<DB: Backend>: DualTable {
    /// Binds every field.
    #[doc(hidden)]
    fn bind(&self, into: &mut Binds<DB>) -> Result<(), ConversionError>;
}

/// One column and its value.
pub(crate) struct Written<DB: Backend> {
    /// Quoted.
    pub(crate) column: String,
    /// The side that it belongs to, unless both share it.
    side: Option<Side>,
    /// `None` is NULL.
    pub(crate) value: Option<Bind<DB>>,
}

impl<DB: Backend> Written<DB> {
    /// Whether a write with these columns sets it.
    pub(crate) fn is_in(&self, columns: Columns) -> bool {
        self.side.is_none_or(|side| columns.write(side))
    }

    pub(crate) fn placeholder(&self) -> &'static str {
        // NULL alone has no type.
        if self.value.is_some() { "?" } else { "NULL" }
    }

    pub(crate) fn assignment(&self) -> String {
        format!("{} = {}", self.column, self.placeholder())
    }
}

/// The columns of a record as they are bound.
#[doc(hidden)]
pub struct Binds<DB: Backend> {
    quoted: fn(&str) -> String,
    pub(crate) written: Vec<Written<DB>>,
}

impl<DB: Backend> Binds<DB> {
    pub(crate) fn new(quoted: fn(&str) -> String) -> Self {
        Self { quoted, written: Vec::new() }
    }

    /// A column that both sides share.
    pub fn shared<T: Bound<DB>>(&mut self, column: &str, value: Option<T>) {
        self.push(column, None, value);
    }

    /// A column of one side.
    pub fn of<T: Bound<DB>>(&mut self, side: Side, column: &str, value: Option<T>) {
        self.push(column, Some(side), value);
    }

    /// One value under the names that it has on the sides.
    pub fn moved<T: Bound<DB>>(&mut self, old: &str, new: &str, value: Option<T>) {
        self.push(old, Some(Side::Old), value.clone());
        self.push(new, Some(Side::New), value);
    }

    fn push<T: Bound<DB>>(&mut self, column: &str, side: Option<Side>, value: Option<T>) {
        let value = value.map(|value| -> Bind<DB> { Box::new(move |values| values.add(value)) });
        self.written.push(Written { column: (self.quoted)(column), side, value });
    }
}

impl<DB: Backend> fmt::Debug for Binds<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binds").field("columns", &self.written.len()).finish()
    }
}
