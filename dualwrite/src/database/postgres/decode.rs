//! Rows of PostgreSQL as values of ours.

use sqlx::postgres::PgRow;
use sqlx::{Column, Row, TypeInfo};

use crate::database::{SqlRow, SqlValue};

/// The first columns of a row.
pub(super) fn decode(row: &PgRow, count: usize) -> sqlx::Result<SqlRow> {
    let mut values = Vec::with_capacity(count);
    for column in row.columns().iter().take(count) {
        let index = column.ordinal();
        values.push(match column.type_info().name() {
            "INT8" => SqlValue::Integer(row.try_get(index)?),
            "INT4" => SqlValue::Integer(row.try_get::<Option<i32>, _>(index)?.map(i64::from)),
            "INT2" => SqlValue::Integer(row.try_get::<Option<i16>, _>(index)?.map(i64::from)),
            "UUID" => match row.try_get(index)? {
                Some(value) => SqlValue::Uuid(value),
                None => SqlValue::Text(None),
            },
            "BYTEA" => row
                .try_get::<Option<Vec<u8>>, _>(index)?
                .map_or(SqlValue::Text(None), SqlValue::Bytes),
            name => match row.try_get(index) {
                Ok(text) => SqlValue::Text(text),
                Err(sqlx::Error::ColumnDecode { .. }) => SqlValue::Other(name.to_lowercase()),
                Err(error) => return Err(error),
            },
        });
    }
    Ok(SqlRow(values))
}
