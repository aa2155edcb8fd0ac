//! The service on PostgreSQL.

/// An `INSERT … SELECT …` that overwrites rows with the same id.
macro_rules! overwriting {
    ($insert:literal, $first:literal $(, $column:literal)*) => {
        concat!(
            $insert, " ON CONFLICT (id) DO UPDATE SET ", $first, " = excluded.", $first
            $(, ", ", $column, " = excluded.", $column)*
        )
    };
}

#[path = "../after/service.rs"]
pub(crate) mod after;
#[path = "../before/service.rs"]
pub(crate) mod before;

pub(crate) type Db = sqlx::Postgres;

/// The statement in the dialect of this database, which numbers its parameters.
pub(crate) fn sql(text: impl Into<String>) -> sqlx::AssertSqlSafe<String> {
    let text = text.into();
    let mut parts = text.split('?');
    let mut numbered = parts.next().unwrap_or_default().to_owned();
    for (number, part) in (1..).zip(parts) {
        numbered += &format!("${number}{part}");
    }
    sqlx::AssertSqlSafe(numbered)
}
