//! The service on SQLite. A real service has one database; this file and its like are the price of three.

/// An `INSERT … SELECT …` that overwrites rows with the same id.
macro_rules! overwriting {
    ($insert:literal, $first:literal $(, $column:literal)*) => {
        concat!(
            // Without a condition, SQLite takes ON for that of a join.
            $insert, " WHERE TRUE ON CONFLICT (id) DO UPDATE SET ", $first, " = excluded.", $first
            $(, ", ", $column, " = excluded.", $column)*
        )
    };
}

#[path = "../after/service.rs"]
pub(crate) mod after;
#[path = "../before/service.rs"]
pub(crate) mod before;

pub(crate) type Db = sqlx::Sqlite;

/// The statement in the dialect of this database.
pub(crate) fn sql(text: impl Into<String>) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(text.into())
}
