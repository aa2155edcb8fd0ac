//! Rows of MySQL and MariaDB as values of ours.

use sqlx::mysql::MySqlRow;
use sqlx::{Column, Row, TypeInfo};

use crate::database::{SqlRow, SqlValue};

/// The first columns of a row.
pub(super) fn decode(row: &MySqlRow, count: usize) -> sqlx::Result<SqlRow> {
    let mut values = Vec::with_capacity(count);
    for column in row.columns().iter().take(count) {
        let index = column.ordinal();
        let name = column.type_info().name();
        values.push(match name {
            // So it calls texts of a collation that ends with `_bin`, too.
            "BINARY" | "VARBINARY" | "TINYBLOB" | "BLOB" | "MEDIUMBLOB" | "LONGBLOB" => row
                .try_get_unchecked::<Option<Vec<u8>>, _>(index)?
                .map_or(SqlValue::Text(None), SqlValue::Bytes),
            "BOOLEAN" => SqlValue::Integer(row.try_get_unchecked(index)?),
            _ if name.contains("INT") && name.contains("UNSIGNED") => {
                let value = row.try_get::<Option<u64>, _>(index)?;
                match value.map(i64::try_from).transpose() {
                    Ok(signed) => SqlValue::Integer(signed),
                    Err(_) => SqlValue::Other(format!("{name} above 9223372036854775807")),
                }
            }
            _ if name.contains("INT") => SqlValue::Integer(row.try_get(index)?),
            _ => match row.try_get(index) {
                Ok(text) => SqlValue::Text(text),
                Err(sqlx::Error::ColumnDecode { .. }) => SqlValue::Other(name.to_owned()),
                Err(error) => return Err(error),
            },
        });
    }
    Ok(SqlRow(values))
}
