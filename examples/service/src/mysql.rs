//! The service on MariaDB; MySQL has no `RETURNING`.

/// An `INSERT … SELECT …` that overwrites rows with the same id.
macro_rules! overwriting {
    ($insert:literal, $first:literal $(, $column:literal)*) => {
        concat!(
            $insert, " ON DUPLICATE KEY UPDATE ", $first, " = VALUES(", $first, ")"
            $(, ", ", $column, " = VALUES(", $column, ")")*
        )
    };
}

#[path = "../after/service.rs"]
pub(crate) mod after;
#[path = "../before/service.rs"]
pub(crate) mod before;

pub(crate) type Db = sqlx::MySql;

/// The statement in the dialect of this database.
pub(crate) fn sql(text: impl Into<String>) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(text.into())
}
