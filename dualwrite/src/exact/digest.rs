//! What a range of rows amounts to: in the database, or here where the database cannot say it.

use md5::{Digest as _, Md5};
use sqlx::Database;

use crate::compare::canonical::{Canonical, canonical, hexadecimal, json};
use crate::database::canonical::{
    DIGEST_DIGITS, are_alike, canonical_sql, has_md5, json_is_alike, md5_on_postgres, spelled,
};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, Dialect, SqlValue};
use crate::error::Error;
use crate::exact::columns::ExactColumns;
use crate::exact::half::Half;
use crate::exact::port::{Digest, Digesting, Range, Way};
use crate::exact::side::ExactSide;
use crate::exact::snapshot::Snapshot;
use crate::key::EncodedKey;

/// How two sides come to the same digest.
pub(crate) fn way(columns: &ExactColumns, old: &Dialect, new: &Dialect) -> Way {
    let has_json = columns.columns.iter().any(|(_, kind)| *kind == Canonical::Json);
    match (has_json && !json_is_alike(old, new), are_alike(old, new)) {
        (true, _) => Way::Here,
        (false, true) => Way::Alike,
        (false, false) => Way::Md5,
    }
}

/// The name of the table, and of its key, quoted.
fn place(dialect: &Dialect, columns: &ExactColumns) -> (String, String) {
    let table: Vec<String> = columns.table.iter().map(|part| part.quoted(dialect)).collect();
    (table.join("."), columns.key.quoted(dialect))
}

/// The key and the columns, in their canonical form.
fn values(dialect: &Dialect, columns: &ExactColumns) -> Vec<String> {
    let key = (&columns.key, Canonical::Integer);
    let columns = columns.columns.iter().map(|(column, kind)| (column, *kind));
    let sql = |(column, kind): (&crate::database::Identifier, Canonical)| {
        canonical_sql(dialect, kind, &column.quoted(dialect))
    };
    std::iter::once(key).chain(columns).map(sql).collect()
}

/// The condition of a range, and its values.
fn within(key: &str, range: Range) -> (String, Vec<SqlValue>) {
    let mut conditions = Vec::new();
    conditions.extend(range.after.map(|_| format!("{key} > ?")));
    conditions.extend(range.to.map(|_| format!("{key} <= ?")));
    let condition = match conditions.is_empty() {
        true => String::new(),
        false => format!(" WHERE {}", conditions.join(" AND ")),
    };
    (condition, range.after.into_iter().chain(range.to).map(SqlValue::from).collect())
}

/// Digests one row of canonical values.
fn digest_of_row(row: &[Option<String>]) -> u64 {
    let spelled: String = row.iter().map(|value| spelled(value.as_deref())).collect();
    let digits = hexadecimal(&Md5::digest(spelled.as_bytes()));
    u64::from_str_radix(&digits[..DIGEST_DIGITS], 16).unwrap_or_default()
}

impl<S: ExactSide> Half<S> {
    const DIALECT: &'static Dialect = &<S::Database as Backend>::Adapter::DIALECT;

    /// Runs one query of a range in a transaction that reads alone.
    async fn asked_of_range(
        &self,
        sql: &str,
        values: &[SqlValue],
    ) -> Result<Vec<crate::database::SqlRow>, Error> {
        let failed = |error| {
            self.failed("comparing a range of keys by the columns of `ExactSide::columns`", error)
        };
        let mut snapshot = Snapshot::<S::Database>::begin(&self.pool).await.map_err(failed)?;
        let conn: &mut <S::Database as Database>::Connection = snapshot.connection();
        let rows = <S::Database as Backend>::Adapter::fetch(conn, sql, values).await;
        let rows = rows.map_err(failed)?;
        snapshot.end().await.map_err(failed)?;
        Ok(rows)
    }

    pub(super) async fn digest_of(&self, how: &Digesting, range: Range) -> Result<Digest, Error> {
        let (table, key) = place(Self::DIALECT, &how.columns);
        let (condition, bound) = within(&key, range);
        let values = values(Self::DIALECT, &how.columns);
        if how.way == Way::Here || !has_md5(Self::DIALECT) {
            let sql = format!("SELECT {} FROM {table}{condition}", values.join(", "));
            let rows = self.asked_of_range(&sql, &bound).await?;
            let mut digest = Digest { rows: rows.len() as u64, sum: 0 };
            let in_sqlite = !has_md5(Self::DIALECT);
            let kinds = || {
                std::iter::once(Canonical::Integer)
                    .chain(how.columns.columns.iter().map(|(_, kind)| *kind))
            };
            for row in rows {
                let value = |(column, kind): (usize, Canonical)| {
                    if let Some(SqlValue::Real(number)) = row.0.get(column) {
                        return Ok(Some(canonical(kind, &format!("r{number:?}"))));
                    }
                    let Some(text) = row.optional_text(column)? else { return Ok(None) };
                    Ok(Some(match kind {
                        _ if in_sqlite => canonical(kind, text),
                        Canonical::Json => json(text).unwrap_or_else(|| text.to_owned()),
                        _ => text.to_owned(),
                    }))
                };
                let row: sqlx::Result<Vec<Option<String>>> =
                    kinds().enumerate().map(value).collect();
                let row = row.map_err(|error| self.failed("reading a canonical form", error))?;
                digest.sum ^= digest_of_row(&row);
            }
            return Ok(digest);
        }
        let folded = match (how.way, Self::DIALECT.numbered) {
            (Way::Md5, true) => md5_on_postgres(&values),
            _ => {
                let folded = <S::Database as Backend>::Adapter::digest(&values);
                folded.map(|(_, folded)| folded).unwrap_or_else(|| "0".to_owned())
            }
        };
        let sql = format!("SELECT COUNT(*), {folded} FROM {table}{condition}");
        let rows = self.asked_of_range(&sql, &bound).await?;
        let found = rows.first().ok_or(sqlx::Error::RowNotFound);
        let digest = found.and_then(|row| {
            Ok(Digest { rows: row.unsigned(0)?, sum: row.integer(1)?.cast_unsigned() })
        });
        digest.map_err(|error| self.failed("reading a checksum", error))
    }

    pub(super) async fn key_at_place(
        &self,
        how: &Digesting,
        range: Range,
        at: u64,
    ) -> Result<Option<i64>, Error> {
        let (table, key) = place(Self::DIALECT, &how.columns);
        let (condition, bound) = within(&key, range);
        let sql =
            format!("SELECT {key} FROM {table}{condition} ORDER BY {key} LIMIT 1 OFFSET {at}");
        let rows = self.asked_of_range(&sql, &bound).await?;
        let found = rows.first().map(|row| row.integer(0)).transpose();
        found.map_err(|error| self.failed("reading a key", error))
    }

    pub(super) async fn keys_of_range(
        &self,
        how: &Digesting,
        range: Range,
    ) -> Result<Vec<EncodedKey>, Error> {
        let (table, key) = place(Self::DIALECT, &how.columns);
        let (condition, bound) = within(&key, range);
        let sql = format!("SELECT {key} FROM {table}{condition} ORDER BY {key}");
        let rows = self.asked_of_range(&sql, &bound).await?;
        let mut keys = Vec::with_capacity(rows.len());
        for row in rows {
            let key = row.integer(0).map_err(|error| self.failed("reading a key", error))?;
            keys.push(EncodedKey::new(&key)?);
        }
        Ok(keys)
    }
}
