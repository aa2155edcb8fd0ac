//! What generated code calls to convert the columns of a row: it takes values of the user's types out of
//! a row, one after the other, and assigns those of the other side.

use std::fmt;

use sqlx::{Database, Decode, Encode, Type, TypeInfo, ValueRef};
use sqlx_core::arguments::Arguments;

use crate::copy::conversion::same;
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::error::{BoxError, Plain};

/// A type that can be a column: `sqlx::Type`, `Encode` and `Decode` for the database.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a column of `{DB}`",
    note = "a field that is converted needs `sqlx::Type`, `sqlx::Encode` and `sqlx::Decode` for it"
)]
#[doc(hidden)]
pub trait Column<DB: Backend>:
    Type<DB> + for<'q> Encode<'q, DB> + for<'r> Decode<'r, DB> + PartialEq + Send + 'static
{
}

#[diagnostic::do_not_recommend]
impl<DB, T> Column<DB> for T
where
    DB: Backend,
    T: Type<DB> + for<'q> Encode<'q, DB> + for<'r> Decode<'r, DB> + PartialEq + Send + 'static,
{
}

/// How a database calls a type.
#[doc(hidden)]
#[must_use]
pub fn type_name<T: Column<DB>, DB: Backend>() -> String {
    T::type_info().name().to_owned()
}

/// Why a row was not converted.
#[derive(Debug)]
#[doc(hidden)]
pub enum Unconverted {
    /// A column is not of the type that the struct says: nothing about this row.
    Column(sqlx::Error),
    /// The conversion failed.
    Failed(BoxError),
    /// There is no value, and the other side needs one.
    Missing,
}

impl From<BoxError> for Unconverted {
    fn from(error: BoxError) -> Self {
        Self::Failed(error)
    }
}

/// The columns of a row, taken one after the other.
#[derive(Debug)]
#[doc(hidden)]
pub struct Columns<'r, DB: Backend> {
    row: &'r DB::Row,
    next: usize,
}

impl<'r, DB: Backend> Columns<'r, DB> {
    pub(crate) fn after(row: &'r DB::Row, key_columns: usize) -> Self {
        Self { row, next: key_columns }
    }

    /// The next column; `None` for NULL.
    pub fn take<T: Column<DB>>(&mut self) -> Result<Option<T>, Unconverted> {
        let value = DB::Adapter::raw_column(self.row, self.next).map_err(Unconverted::Column)?;
        self.next += 1;
        if value.is_null() {
            return Ok(None);
        }
        let found = value.type_info();
        if !found.is_null() && !T::compatible(&found) {
            let message = format!(
                "the column is of the type `{}`, which is not what the struct says (`{}`)",
                found.name(),
                std::any::type_name::<T>()
            );
            // Where each value has a type of its own, it is this row's fault.
            return Err(match DB::Adapter::DIALECT.typed_columns {
                true => Unconverted::Column(sqlx::Error::Decode(Box::new(Plain(message)))),
                false => Unconverted::Failed(Box::new(Plain(message))),
            });
        }
        T::decode(value).map(Some).map_err(Unconverted::Failed)
    }
}

/// Binds one value of a type that only the struct knows.
pub(crate) type Bind<DB> =
    Box<dyn FnOnce(&mut <DB as Database>::Arguments) -> Result<(), BoxError> + Send>;

/// What one row gets on the other side, column by column.
#[doc(hidden)]
pub struct Assigned<DB: Backend> {
    /// `None` is NULL.
    pub(crate) values: Vec<Option<Bind<DB>>>,
    pub(crate) differs: bool,
    /// Whether the values are written afterwards.
    keeps: bool,
}

impl<DB: Backend> Assigned<DB> {
    pub(crate) fn to_write() -> Self {
        Self { values: Vec::new(), differs: false, keeps: true }
    }

    pub(crate) fn to_compare() -> Self {
        Self { values: Vec::new(), differs: false, keeps: false }
    }

    /// Gives the next column a value; `None` is NULL.
    pub fn set<T: Column<DB>>(
        &mut self,
        value: Option<T>,
        current: Option<T>,
    ) -> Result<(), Unconverted> {
        self.differs |= !same(&value, &current);
        if self.keeps {
            self.values
                .push(value.map(|value| -> Bind<DB> { Box::new(move |values| values.add(value)) }));
        }
        Ok(())
    }

    /// The same for a column that is never NULL.
    pub fn fill<T: Column<DB>>(
        &mut self,
        value: Option<T>,
        current: Option<T>,
    ) -> Result<(), Unconverted> {
        match value {
            None => Err(Unconverted::Missing),
            value => self.set(value, current),
        }
    }
}

impl<DB: Backend> fmt::Debug for Assigned<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assigned").field("differs", &self.differs).finish_non_exhaustive()
    }
}
