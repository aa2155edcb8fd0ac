//! A struct that is a row with old and new columns side by side, and its ready copy function. What the copy function
//! does is in `columns.rs`.

use std::fmt;
use std::marker::PhantomData;

use super::carried::{Carried, ReadColumn};
use super::convert::{Assigned, Columns, Unconverted};
use super::key_source::KeySource;
use crate::database::Backend;
use crate::key::OwnedKey;
use crate::stages::route::Route;
use crate::stages::stage::{Side, Stage};

/// A struct that is one row of a table, with old and new columns side by side: derived with `Dual`, by
/// `#[dual(table = "…", key = "…")]`.
///
/// ```
/// use dualwrite::{Dual, DualTable, Operation, Route, Stage};
///
/// #[derive(Dual)]
/// #[dual(table = "customers", key = "id")]
/// struct Customer {
///     id: i64,
///     name: String,
///     #[dual(new = email_address)]
///     email: String,
///     email_address: Option<String>,
/// }
///
/// assert_eq!(Customer::COLUMNS, ["id", "name", "email", "email_address"]);
/// assert_eq!(Customer::OLD_COLUMNS, ["id", "name", "email"]);
/// assert_eq!(Customer::NEW_COLUMNS, ["id", "name", "email_address"]);
///
/// let route = Route::of(Stage::Complete, Operation::Write);
/// assert_eq!(Customer::columns_for(&route), Customer::NEW_COLUMNS);
/// ```
pub trait DualTable: Sized + Send + 'static {
    /// The key: the type of its field, or a tuple.
    type Key: OwnedKey;

    /// The table, perhaps with its schema before a dot.
    const TABLE: &'static str;
    /// The columns of the key.
    const KEY: &'static [&'static str];
    /// All columns, in the order of the fields.
    const COLUMNS: &'static [&'static str];
    /// The columns without those that are new.
    const OLD_COLUMNS: &'static [&'static str];
    /// The columns without those that are old.
    const NEW_COLUMNS: &'static [&'static str];
    /// The struct's name, for errors.
    #[doc(hidden)]
    const RECORD: &'static str;
    /// Where each field is read from.
    #[doc(hidden)]
    const READ: &'static [ReadColumn] = &[];
    /// What is carried from old to new.
    #[doc(hidden)]
    const CARRIED: &'static [Carried];
    /// The columns that say of a field that new has it: field and column.
    #[doc(hidden)]
    const MARKERS: &'static [(&'static str, &'static str)] = &[];

    /// The columns that a statement names under this route: old ones at `Off`, new ones at `Complete`,
    /// all of them while both sides are written.
    #[must_use]
    fn columns_for(route: &Route) -> &'static [&'static str] {
        match route.stage {
            Stage::Off => Self::OLD_COLUMNS,
            Stage::Complete => Self::NEW_COLUMNS,
            _ => Self::COLUMNS,
        }
    }

    /// The ready copy function, for `backfill` of a registration: see [`CopyColumns`].
    #[must_use]
    fn copy_columns<DB: Backend>() -> CopyColumns<Self, DB>
    where
        Self: ConvertColumns<DB>,
    {
        CopyColumns::new()
    }
}

/// A struct whose columns can be converted on a database: derived together with
/// [`DualTable`](crate::DualTable), and needed by name only where code is generic over the database.
///
/// ```
/// use dualwrite::{Backend, copy::ConvertColumns, CopyColumns, DualTable};
///
/// fn ready<T: ConvertColumns<DB>, DB: Backend>() -> CopyColumns<T, DB> {
///     T::copy_columns()
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "the columns of `{Self}` cannot be converted on `{DB}`",
    note = "give the struct `#[dual(table = \"…\", key = \"…\")]`; all converted fields must be columns \
            of that database"
)]
pub trait ConvertColumns<DB: Backend>: DualTable {
    /// The converted new columns, and how the database calls their types.
    #[doc(hidden)]
    fn new_types() -> Vec<(&'static str, String)> {
        Vec::new()
    }

    #[doc(hidden)]
    /// Converts the field with this index of `CARRIED`; there is nothing to do where all are renames.
    fn convert(
        _index: usize,
        _to: Side,
        _row: &mut Columns<'_, DB>,
        _into: &mut Assigned<DB>,
    ) -> Result<(), Unconverted> {
        Ok(())
    }
}

/// Copies between old and new columns of the same row, both ways, and compares them: a backfill, a
/// repair and a verification without SQL of your own. From
/// [`copy_columns`](DualTable::copy_columns) of a struct with `#[dual(table = "…", key = "…")]`.
///
/// - A rename is one `UPDATE … SET new = old` for many rows.
/// - So is a conversion with `sql = "…"`. A verification still converts in Rust, and so finds where the
///   expression says something else than `forward`.
/// - Columns of the table that MySQL or MariaDB update by themselves (`ON UPDATE CURRENT_TIMESTAMP`) keep their value.
/// - Any other conversion reads the rows under their locks, converts each in Rust, and writes back what
///   is not there already, up to 256 rows with one statement.
///
/// A row that cannot be converted fails with a [`ConversionError`](crate::ConversionError) and ends as a dead letter of its key;
/// a verification counts it as different.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use dualwrite::{Dual, DualTable, Error, Runtime, Stage};
///
/// #[derive(Dual)]
/// #[dual(table = "customers", key = "id")]
/// struct Customer {
///     id: i64,
///     #[dual(new = email_address)]
///     email: String,
///     email_address: Option<String>,
/// }
///
/// async fn rename(runtime: &Runtime<sqlx::Sqlite>) -> Result<(), Error> {
///     let migration =
///         runtime.migration("customer-email").backfill(Customer::copy_columns()).register().await?;
///     migration.advance(Stage::DualWrite).await?;
///     migration.backfill().run().await?;
///     assert!(migration.verify().run().await?.is_clean());
///     Ok(())
/// }
/// # }
/// ```
pub struct CopyColumns<T, DB> {
    pub(super) source: KeySource,
    types: PhantomData<fn() -> (T, DB)>,
}

impl<T: DualTable, DB> CopyColumns<T, DB> {
    pub(crate) fn new() -> Self {
        Self { source: source::<T>(), types: PhantomData }
    }
}

impl<T: DualTable, DB> fmt::Debug for CopyColumns<T, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyColumns").field("table", &T::TABLE).finish()
    }
}

/// Where the keys of the table are.
pub(crate) fn source<T: DualTable>() -> KeySource {
    let source = match T::TABLE.split_once('.') {
        Some((schema, table)) => KeySource::table(table).schema(schema),
        None => KeySource::table(T::TABLE),
    };
    T::KEY.iter().fold(source, |source, column| source.column(*column))
}
