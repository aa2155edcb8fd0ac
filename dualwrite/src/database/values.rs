//! Values on their way to and from statements, in the few types that the control tables and keys have;
//! and the macros that move values of a database's own types.

use std::time::SystemTime;

use uuid::Uuid;

use crate::error::{Closed, Plain};
use crate::key::KeyPart;
use crate::moment;
use crate::stages::position::{Epoch, Percent, Position};
use crate::stages::stage::Stage;

/// A value on its way to or from a statement.
#[derive(Clone, Debug, PartialEq)]
#[doc(hidden)]
pub enum SqlValue {
    Integer(Option<i64>),
    Text(Option<String>),
    Uuid(Uuid),
    /// Bytes as they came, which a text or a UUID may be.
    Bytes(Vec<u8>),
    /// A number of SQLite that is no integer; keys and control tables do not hold one.
    Real(f64),
    /// What keys and control tables do not hold: the name of its type.
    Other(String),
}

impl From<i64> for SqlValue {
    fn from(value: i64) -> Self {
        Self::Integer(Some(value))
    }
}

/// Microseconds since 1970, as the control tables have it.
impl From<SystemTime> for SqlValue {
    fn from(at: SystemTime) -> Self {
        moment::to_micros(at).into()
    }
}

impl From<Option<SystemTime>> for SqlValue {
    fn from(at: Option<SystemTime>) -> Self {
        Self::Integer(at.map(moment::to_micros))
    }
}

impl From<u64> for SqlValue {
    fn from(value: u64) -> Self {
        Self::Integer(Some(i64::try_from(value).unwrap_or(i64::MAX)))
    }
}

impl From<&str> for SqlValue {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<KeyPart> for SqlValue {
    fn from(part: KeyPart) -> Self {
        match part {
            KeyPart::Integer(value) => Self::Integer(Some(value)),
            KeyPart::Text(value) => Self::Text(Some(value)),
            KeyPart::Uuid(value) => Self::Uuid(value),
            KeyPart::Bytes(value) => Self::Bytes(value),
            // Such a key is refused before it is bound.
            KeyPart::Beyond(_) => Self::Other("an integer above 9223372036854775807".to_owned()),
        }
    }
}

/// One row of a result, decoded.
#[derive(Clone, Debug)]
#[doc(hidden)]
pub struct SqlRow(pub Vec<SqlValue>);

impl SqlRow {
    pub(crate) fn is_null(&self, column: usize) -> bool {
        matches!(self.0.get(column), Some(SqlValue::Integer(None) | SqlValue::Text(None)))
    }

    pub(crate) fn integer(&self, column: usize) -> sqlx::Result<i64> {
        self.optional_integer(column)?.ok_or_else(|| unexpected(column, "an integer"))
    }

    /// A time, of a column in microseconds since 1970.
    pub(crate) fn moment(&self, column: usize) -> sqlx::Result<SystemTime> {
        self.integer(column).map(moment::from_micros)
    }

    pub(crate) fn optional_moment(&self, column: usize) -> sqlx::Result<Option<SystemTime>> {
        Ok(self.optional_integer(column)?.map(moment::from_micros))
    }

    pub(crate) fn unsigned(&self, column: usize) -> sqlx::Result<u64> {
        u64::try_from(self.integer(column)?).map_err(|_| unexpected(column, "not negative"))
    }

    pub(crate) fn optional_integer(&self, column: usize) -> sqlx::Result<Option<i64>> {
        match self.0.get(column) {
            Some(SqlValue::Integer(value)) => Ok(*value),
            Some(SqlValue::Text(None)) => Ok(None),
            _ => Err(unexpected(column, "an integer")),
        }
    }

    pub(crate) fn text(&self, column: usize) -> sqlx::Result<&str> {
        self.optional_text(column)?.ok_or_else(|| unexpected(column, "a text"))
    }

    pub(crate) fn optional_text(&self, column: usize) -> sqlx::Result<Option<&str>> {
        match self.0.get(column) {
            Some(SqlValue::Text(value)) => Ok(value.as_deref()),
            Some(SqlValue::Bytes(bytes)) => {
                std::str::from_utf8(bytes).map(Some).map_err(|_| unexpected(column, "a text"))
            }
            Some(SqlValue::Integer(None)) => Ok(None),
            _ => Err(unexpected(column, "a text")),
        }
    }

    pub(crate) fn stage(&self, column: usize) -> sqlx::Result<Stage> {
        let code = self.integer(column)?;
        u8::try_from(code)
            .ok()
            .and_then(Stage::from_code)
            .ok_or_else(|| unexpected(column, "the number of a stage"))
    }
}

pub(crate) fn unexpected(column: usize, expected: &str) -> sqlx::Error {
    let message = format!("column {column} of a control table is not {expected}");
    sqlx::Error::Decode(Box::new(Plain(message)))
}

/// The lines of `SELECT stage, ramp, epoch …` as positions, with the column of what is closed.
pub(crate) fn position_of(row: &SqlRow, first: usize, closed: usize) -> sqlx::Result<Position> {
    let ramp = u16::try_from(row.integer(first + 1)?)
        .ok()
        .and_then(|ramp| Percent::from_basis_points(ramp).ok())
        .ok_or_else(|| unexpected(first + 1, "a ramp"))?;
    let code = u8::try_from(row.integer(closed)?).ok();
    let closed = code
        .and_then(Closed::from_code)
        .ok_or_else(|| unexpected(closed, "the number of what is closed"))?;
    Ok(Position { stage: row.stage(first)?, ramp, epoch: Epoch(row.unsigned(first + 2)?), closed })
}

/// Binds our values to a query of a given database.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
macro_rules! bind {
    ($query:expr, $values:expr) => {{
        let mut query = $query;
        for value in $values {
            query = match value {
                SqlValue::Integer(value) => query.bind(*value),
                SqlValue::Text(value) => query.bind(value.clone()),
                SqlValue::Uuid(value) => query.bind(*value),
                SqlValue::Bytes(value) => query.bind(value.clone()),
                SqlValue::Real(value) => query.bind(*value),
                SqlValue::Other(_) => query.bind(None::<String>),
            };
        }
        query
    }};
}
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub(crate) use bind;

/// The part of an adapter that moves values of the user's types; the same text for each database.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
macro_rules! typed_values {
    () => {
        async fn fetch_typed(
            conn: &mut <Self::Db as sqlx::Database>::Connection,
            sql: &str,
            values: <Self::Db as sqlx::Database>::Arguments,
        ) -> sqlx::Result<Vec<<Self::Db as sqlx::Database>::Row>> {
            let sql = safe(Self::DIALECT.statement(sql));
            sqlx::query_with(sql, values).fetch_all(conn).await
        }

        async fn execute_typed(
            conn: &mut <Self::Db as sqlx::Database>::Connection,
            sql: &str,
            values: <Self::Db as sqlx::Database>::Arguments,
            again: bool,
        ) -> sqlx::Result<u64> {
            let sql = safe(Self::DIALECT.statement(sql));
            let query = sqlx::query_with(sql, values).persistent(again);
            Ok(query.execute(conn).await?.rows_affected())
        }

        fn push_value(
            values: &mut <Self::Db as sqlx::Database>::Arguments,
            value: &SqlValue,
        ) -> Result<(), BoxError> {
            use sqlx_core::arguments::Arguments as _;
            match value {
                SqlValue::Integer(value) => values.add(*value),
                SqlValue::Text(value) => values.add(value.clone()),
                SqlValue::Uuid(value) => values.add(*value),
                SqlValue::Bytes(value) => values.add(value.clone()),
                SqlValue::Real(value) => values.add(*value),
                SqlValue::Other(_) => values.add(None::<String>),
            }
        }

        fn key_columns(
            row: &<Self::Db as sqlx::Database>::Row,
            count: usize,
        ) -> sqlx::Result<SqlRow> {
            decode(row, count)
        }

        fn raw_column(
            row: &<Self::Db as sqlx::Database>::Row,
            column: usize,
        ) -> sqlx::Result<<Self::Db as sqlx::Database>::ValueRef<'_>> {
            row.try_get_raw(column)
        }
    };
}
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub(crate) use typed_values;
