//! Statements over the columns of one row, for implementations that `one_row` builds: the lists of
//! columns to read, and the statements that insert, update and save a record, with their values bound.

use sqlx::FromRow;

use crate::copy::bound::{BindColumns, Binds, Written};
use crate::copy::carried::Source;
use crate::copy::convert::Bind;
use crate::copy::dual_table::DualTable;
use crate::copy::run::dialect;
use crate::copy::table::{MARKED, markers};
use crate::database::Backend;
use crate::database::Identifier;
use crate::database::sealed::Adapter as _;
use crate::error::{BoxError, Error, ErrorKind};
use crate::stages::columns::Columns;
use crate::stages::stage::Side;
use crate::transaction::Tx;

impl Columns {
    /// The columns of a record for a `SELECT` or `RETURNING`: those of the side that answers, under the
    /// names by which `sqlx::FromRow` looks for them.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// use dualwrite::{Columns, Dual, Side};
    ///
    /// #[derive(sqlx::FromRow, Dual)]
    /// #[dual(table = "customer", key = "id")]
    /// struct Customer {
    ///     id: i64,
    ///     #[dual(new_column = "email_address")]
    ///     email: Option<String>,
    /// }
    ///
    /// # #[test]
    /// fn lists() {
    ///     let list = Columns::New.select::<Customer, sqlx::Sqlite>();
    ///     assert_eq!(list, r#""id", "email_address" AS "email""#);
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn select<T: DualTable, DB: Backend>(self) -> String {
        let named = |name: &str| quoted::<DB>(name);
        let listed = T::READ.iter().filter_map(|column| {
            let name = named(column.name);
            match column.source(self.answer()) {
                Source::Column(from) if from == column.name => Some(name),
                Source::Column(from) => Some(format!("{} AS {name}", named(from))),
                Source::Null => Some(format!("NULL AS {name}")),
                Source::Unmarked => Some(format!("FALSE AS {name}")),
                Source::Nothing => None,
            }
        });
        listed.collect::<Vec<_>>().join(", ")
    }

    /// The column of a field on the side that answers, for a `WHERE` or `ORDER BY`: of a field whose
    /// column is not migrated, its own.
    ///
    /// # Errors
    /// `InvalidInput` where the record has no such field.
    pub fn column<T: DualTable, DB: Backend>(self, field: &str) -> Result<String, Error> {
        let carried = T::CARRIED.iter().find(|carried| carried.field == field);
        let column = match carried.map(|carried| carried.columns(self.answer())) {
            Some([only]) => Some(*only),
            Some(_) => None,
            None => T::COLUMNS.iter().copied().find(|column| *column == field),
        };
        let column = column.ok_or_else(|| no_field::<T>(field))?;
        Ok(quoted::<DB>(column))
    }

    /// A condition that leaves out the rows that are not copied yet, for lazy reads: it holds for every
    /// row where the old side answers. Of a field with a marker (`#[dual(copied = …)]`) the marker is asked, so that a
    /// value that is NULL is found; of any other, that its new columns are not NULL.
    #[must_use]
    pub fn copied<T: DualTable, DB: Backend>(self) -> String {
        let is_marked = |field: &str| T::MARKERS.iter().any(|(marked, _)| *marked == field);
        let markers = markers::<T>().into_iter();
        let markers = markers.map(|column| format!("{} = {MARKED}", quoted::<DB>(column)));
        let filled = T::CARRIED
            .iter()
            .filter(|carried| !is_marked(carried.field))
            .flat_map(|carried| carried.new)
            .map(|column| format!("{} IS NOT NULL", quoted::<DB>(column)));
        match self.answer() {
            Side::Old => "1 = 1".to_owned(),
            Side::New => markers.chain(filled).collect::<Vec<_>>().join(" AND "),
        }
    }

    /// Inserts the record with the columns that are written.
    pub fn insert<T: BindColumns<DB>, DB: Backend>(self, record: &T) -> Statement<DB> {
        Statement::of(record, |written| {
            let set: Vec<Written<DB>> = written.into_iter().filter(|one| one.is_in(self)).collect();
            let names: Vec<&str> = set.iter().map(|one| &*one.column).collect();
            let values: Vec<&str> = set.iter().map(Written::placeholder).collect();
            let sql = format!(
                "INSERT INTO {} ({}) VALUES ({})",
                table::<T, DB>(),
                names.join(", "),
                values.join(", ")
            );
            (sql, set)
        })
    }

    /// Updates the record of the same key.
    pub fn update<T: BindColumns<DB>, DB: Backend>(self, record: &T) -> Statement<DB> {
        Statement::of(record, |written| {
            let key: Vec<String> = T::KEY.iter().map(|column| quoted::<DB>(column)).collect();
            let (keys, others): (Vec<_>, Vec<_>) =
                written.into_iter().partition(|one| key.contains(&one.column));
            let mut set: Vec<Written<DB>> =
                others.into_iter().filter(|one| one.is_in(self)).collect();
            let mut sets: Vec<String> = set.iter().map(Written::assignment).collect();
            if sets.is_empty() {
                sets.extend(key.first().map(|column| format!("{column} = {column}")));
            }
            let found: Vec<String> = keys.iter().map(Written::assignment).collect();
            let sql = format!(
                "UPDATE {} SET {} WHERE {}",
                table::<T, DB>(),
                sets.join(", "),
                found.join(" AND ")
            );
            set.extend(keys);
            (sql, set)
        })
    }

    /// Updates the record of the same key, and inserts it where there is none. It is no `ON CONFLICT`: that
    /// asks for every NOT NULL column before it finds the row, and tables with rules refuse it. Of two that
    /// insert one key at the same time, one fails as with `INSERT`.
    ///
    /// # Errors
    /// The database's.
    pub async fn save<T: BindColumns<DB>, DB: Backend>(
        self,
        record: &T,
        tx: &mut Tx<'_, DB>,
    ) -> sqlx::Result<()> {
        let (update, insert) = (self.update(record), self.insert(record));
        let conn = &mut **tx;
        if update.execute(conn).await? == 0 {
            insert.execute(conn).await?;
        }
        Ok(())
    }
}

/// A statement with its values.
#[must_use = "a statement is run by `execute`, `fetch_one` or `fetch_optional`"]
pub struct Statement<DB: Backend> {
    sql: String,
    values: Result<DB::Arguments, BoxError>,
    /// Without NULLs its text comes again.
    again: bool,
}

impl<DB: Backend> Statement<DB> {
    fn of<T: BindColumns<DB>>(
        record: &T,
        text: impl FnOnce(Vec<Written<DB>>) -> (String, Vec<Written<DB>>),
    ) -> Self {
        let mut binds = Binds::new(|column| quoted::<DB>(column));
        let bound = record.bind(&mut binds);
        let (sql, written) = text(binds.written);
        let again = written.iter().all(|one| one.value.is_some());
        let values = match bound {
            Ok(()) => all::<DB>(written.into_iter().filter_map(|one| one.value)),
            Err(error) => Err(error.into()),
        };
        Self { sql, values, again }
    }

    /// Adds `RETURNING` with these columns; MySQL has none, MariaDB has it for `INSERT`.
    pub fn returning(mut self, columns: &str) -> Self {
        self.sql.push_str(" RETURNING ");
        self.sql.push_str(columns);
        self
    }

    /// Runs it; answers with the number of rows.
    ///
    /// # Errors
    /// The database's; `Encode` where a value cannot be converted for the other side.
    pub async fn execute(self, conn: &mut DB::Connection) -> sqlx::Result<u64> {
        let values = self.values.map_err(sqlx::Error::Encode)?;
        DB::Adapter::execute_typed(conn, &self.sql, values, self.again).await
    }

    /// Runs it and reads the one row that it returns, if any.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn fetch_optional<T>(self, conn: &mut DB::Connection) -> sqlx::Result<Option<T>>
    where
        T: for<'r> FromRow<'r, DB::Row>,
    {
        let values = self.values.map_err(sqlx::Error::Encode)?;
        let rows = DB::Adapter::fetch_typed(conn, &self.sql, values).await?;
        rows.first().map(T::from_row).transpose()
    }

    /// The same where there must be a row.
    ///
    /// # Errors
    /// As [`execute`](Self::execute); `RowNotFound`.
    pub async fn fetch_one<T>(self, conn: &mut DB::Connection) -> sqlx::Result<T>
    where
        T: for<'r> FromRow<'r, DB::Row>,
    {
        self.fetch_optional(conn).await?.ok_or(sqlx::Error::RowNotFound)
    }
}

impl<DB: Backend> std::fmt::Debug for Statement<DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Statement").field("sql", &self.sql).finish_non_exhaustive()
    }
}

fn all<DB: Backend>(binds: impl Iterator<Item = Bind<DB>>) -> Result<DB::Arguments, BoxError> {
    let mut values = DB::Arguments::default();
    for bind in binds {
        bind(&mut values)?;
    }
    Ok(values)
}

fn quoted<DB: Backend>(name: &str) -> String {
    // The derive has checked the names; a trait that is implemented by hand may say anything.
    Identifier::new(name).map_or_else(|_| "NULL".to_owned(), |name| name.quoted(dialect::<DB>()))
}

fn table<T: DualTable, DB: Backend>() -> String {
    T::TABLE.split('.').map(quoted::<DB>).collect::<Vec<_>>().join(".")
}

#[cold]
fn no_field<T: DualTable>(field: &str) -> Error {
    let known: Vec<&str> = T::CARRIED.iter().map(|carried| carried.field).collect();
    let message = format!(
        "`{}` has no field `{field}` with a column on each side; migrated are: {}",
        T::RECORD,
        known.join(", ")
    );
    Error::new(ErrorKind::InvalidInput, message)
}
