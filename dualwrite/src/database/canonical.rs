//! The canonical form of a column (`compare/canonical.rs`), as an expression of a database; and what a range of rows amounts
//! to.

use crate::compare::canonical::Canonical;
use crate::database::Dialect;

/// Which of the three ways a database has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Postgres,
    MySql,
    Sqlite,
}

fn of(dialect: &Dialect) -> Of {
    match (dialect.numbered, dialect.on_duplicate_key) {
        (true, _) => Of::Postgres,
        (_, true) => Of::MySql,
        _ => Of::Sqlite,
    }
}

/// Whether the database makes digests by itself.
pub(crate) fn has_md5(dialect: &Dialect) -> bool {
    of(dialect) != Of::Sqlite
}

/// Whether two databases have one function for digests that no other has.
pub(crate) fn are_alike(one: &Dialect, other: &Dialect) -> bool {
    of(one) == of(other) && of(one) != Of::Sqlite
}

/// Whether the expressions make the canonical form of JSON the same in both.
pub(crate) fn json_is_alike(one: &Dialect, other: &Dialect) -> bool {
    of(one) == Of::Postgres && of(other) == Of::Postgres
}

/// The canonical form of a column, as a text or NULL. SQLite: what [`canonical`](crate::compare::canonical::canonical) makes
/// it of.
pub(crate) fn canonical_sql(dialect: &Dialect, kind: Canonical, column: &str) -> String {
    match of(dialect) {
        Of::Postgres => on_postgres(kind, column),
        Of::MySql => on_mysql(kind, column),
        // Its own text of a float has not all its digits: that is made here.
        Of::Sqlite => format!(
            "(CASE typeof({column}) WHEN 'null' THEN NULL WHEN 'integer' THEN 'i' || {column} \
             WHEN 'real' THEN {column} WHEN 'blob' THEN 'b' || hex({column}) ELSE 't' || {column} END)"
        ),
    }
}

fn on_postgres(kind: Canonical, column: &str) -> String {
    match kind {
        Canonical::Integer | Canonical::Text => format!("CAST({column} AS text)"),
        Canonical::Decimal => format!("CAST(trim_scale(CAST({column} AS numeric)) AS text)"),
        // The shortest digits, then their own zeros are taken away, and the point. PostgreSQL has one digit more where the
        // shortest ones lie as near to the next number: fewer are tried.
        Canonical::Float => format!(
            "(SELECT CASE WHEN w.d IS NULL THEN w.s WHEN w.d = '' THEN '0' ELSE \
             (CASE WHEN w.s LIKE '-%' THEN '-' ELSE '' END) || rtrim(w.d, '0') || 'e' || \
             CAST(w.x + length(w.d) - length(rtrim(w.d, '0')) AS text) END FROM \
             (SELECT v.s, CASE WHEN v.s ~ 'N|n' THEN NULL ELSE ltrim(replace(replace(v.m, '.', ''), '-', ''), '0') END AS d, \
             COALESCE(CAST(NULLIF(split_part(v.s, 'e', 2), '') AS int), 0) - length(split_part(v.m, '.', 2)) AS x FROM \
             (SELECT u.s, split_part(u.s, 'e', 1) AS m FROM \
             (SELECT CASE WHEN abs(f.f) < 9007199254740992 OR abs(f.f) >= 1e22 THEN CAST(f.f AS text) \
             WHEN CAST(round(CAST(CAST(f.f AS text) AS numeric), f.p - 2) AS float8) = f.f \
             THEN CAST(round(CAST(CAST(f.f AS text) AS numeric), f.p - 2) AS text) \
             WHEN CAST(round(CAST(CAST(f.f AS text) AS numeric), f.p - 1) AS float8) = f.f \
             THEN CAST(round(CAST(CAST(f.f AS text) AS numeric), f.p - 1) AS text) ELSE CAST(f.f AS text) END AS s \
             FROM (SELECT CAST({column} AS float8) AS f, CASE WHEN abs(CAST({column} AS float8)) BETWEEN 9007199254740992 AND 1e22 \
             THEN 17 - length(CAST(trunc(CAST(CAST(abs(CAST({column} AS float8)) AS text) AS numeric)) AS text)) END AS p) f) u) v) w)"
        ),
        Canonical::Boolean => format!("CAST(CAST({column} AS int) AS text)"),
        Canonical::Bytes => format!("encode({column}, 'hex')"),
        Canonical::Uuid => format!("replace(CAST({column} AS text), '-', '')"),
        Canonical::Time => {
            format!("CAST(trim_scale(extract(epoch FROM {column}) * 1000000) AS text)")
        }
        Canonical::Date => {
            format!("CAST(trim_scale(extract(epoch FROM CAST({column} AS date)) / 86400) AS text)")
        }
        Canonical::Json => format!("CAST(CAST({column} AS jsonb) AS text)"),
    }
}

fn on_mysql(kind: Canonical, column: &str) -> String {
    match kind {
        Canonical::Integer => format!("CAST({column} AS CHAR)"),
        Canonical::Text | Canonical::Json => format!("CONVERT({column} USING utf8mb4)"),
        Canonical::Decimal => format!(
            "IF(LOCATE('.', {column}) > 0, TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM CAST({column} AS CHAR))), \
             CAST({column} AS CHAR))"
        ),
        Canonical::Float => {
            let text = format!("CAST({column} + 0e0 AS CHAR)");
            let number = format!("SUBSTRING_INDEX({text}, 'e', 1)");
            let digits =
                format!("TRIM(LEADING '0' FROM REPLACE(REPLACE({number}, '.', ''), '-', ''))");
            let kept = format!("TRIM(TRAILING '0' FROM {digits})");
            let power = format!(
                "IF(LOCATE('e', {text}) > 0, CAST(SUBSTRING_INDEX({text}, 'e', -1) AS SIGNED), 0) \
                 - IF(LOCATE('.', {number}) > 0, LENGTH({number}) - LOCATE('.', {number}), 0)"
            );
            format!(
                "IF({kept} = '', '0', CONCAT(IF(LEFT({text}, 1) = '-', '-', ''), {kept}, 'e', \
                 {power} + LENGTH({digits}) - LENGTH({kept})))"
            )
        }
        Canonical::Boolean => format!("IF({column} IS NULL, NULL, IF({column} <> 0, '1', '0'))"),
        Canonical::Bytes => format!("LOWER(HEX({column}))"),
        Canonical::Uuid => {
            // Bytes have no lower case.
            format!(
                "LOWER(REPLACE(CONVERT(IF(LENGTH({column}) = 16, HEX({column}), {column}) USING utf8mb4), '-', ''))"
            )
        }
        Canonical::Time => {
            format!("CAST(TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', {column}) AS CHAR)")
        }
        Canonical::Date => format!("CAST(DATEDIFF({column}, '1970-01-01') AS CHAR)"),
    }
}

/// How a value stands in the text of which the digest of a row is made: its bytes after their number, so that no two values
/// run into one another. [`Adapter::digest`](super::sealed::Adapter::digest) of MySQL does the same.
pub(crate) fn spelled(value: Option<&str>) -> String {
    value.map_or_else(|| "N".to_owned(), |value| format!("{}:{value}", value.len()))
}

/// The digest of all rows of a range, by MD5, on PostgreSQL.
pub(crate) fn md5_on_postgres(values: &[String]) -> String {
    let spelled = values
        .iter()
        .map(|value| format!("COALESCE(octet_length({value}) || ':' || {value}, 'N')"));
    let row = spelled.collect::<Vec<_>>().join(" || ");
    format!("COALESCE(bit_xor(CAST(CAST('x' || left(md5({row}), 15) AS bit(60)) AS bigint)), 0)")
}

/// Bits of the digest of a row.
pub(crate) const DIGEST_DIGITS: usize = 15;
