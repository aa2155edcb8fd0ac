//! What the error of a statement says of what the database did: whether COMMIT was answered, whether the row is
//! to blame, whether the same may succeed later.

use sqlx::error::{DatabaseError, ErrorKind as Refused};

#[cfg(feature = "postgres")]
use super::reason::is_raised_on_postgres;

/// SQLSTATE of a serialization failure, on MySQL of a deadlock too; and of PostgreSQL's deadlock. MySQL and MariaDB
/// have numbers besides: a row that changed since the snapshot (1020), and a commit that another node of a
/// cluster was quicker than (1180).
pub(crate) fn is_serialization(error: &sqlx::Error) -> bool {
    #[cfg(feature = "mysql")]
    if let Some(error) = error.as_database_error()
        && let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
        && matches!(error.number(), 1020 | 1180)
    {
        return true;
    }
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "40001" || code == "40P01")
}

/// Whether the database refused a row for what is in it: the same row is refused again.
pub(crate) fn is_about_data(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    // Only SQLSTATE has five characters; SQLite has numbers of its own, and of another meaning.
    let class = error.code().is_some_and(|code| match code.len() {
        5 => ["22", "23", "27", "44", "P0", "45"].iter().any(|class| code.starts_with(class)),
        _ => matches!(primary(&code), Some(18..=20)),
    });
    class || error.kind() != Refused::Other || is_raised_by_a_function(error)
}

/// A function of the application refused the row, by a code of its own choice.
#[cfg(feature = "postgres")]
fn is_raised_by_a_function(error: &dyn DatabaseError) -> bool {
    let error = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>();
    error.is_some_and(|error| is_raised_on_postgres(error) && !error.code().starts_with("40"))
}

#[cfg(not(feature = "postgres"))]
fn is_raised_by_a_function(_error: &dyn DatabaseError) -> bool {
    false
}

/// Whether the role of the connection may not do that.
pub(crate) fn is_denied(error: &sqlx::Error) -> bool {
    /// MySQL and MariaDB: a database, a table, a column, a right, a routine.
    const NUMBERS: [u16; 5] = [1044, 1142, 1143, 1227, 1370];
    has_code(error, &["42501"], &[3, 23], &NUMBERS)
}

/// Whether nobody may write there now: the server is a standby, or the file is read-only.
pub(crate) fn is_read_only(error: &sqlx::Error) -> bool {
    has_code(error, &["25006"], &[8], &[1290, 1792, 1836])
}

/// Whether it has one of these: SQLSTATE, the number of SQLite, or that of MySQL and MariaDB, which have one SQLSTATE
/// for what is denied and for what is misspelled.
fn has_code(error: &sqlx::Error, states: &[&str], sqlite: &[u32], mysql: &[u16]) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    if let Some(number) = mysql_number(error) {
        return mysql.contains(&number);
    }
    error.code().is_some_and(|code| match code.len() {
        5 => states.contains(&&*code),
        _ => primary(&code).is_some_and(|code| sqlite.contains(&code)),
    })
}

#[cfg(feature = "mysql")]
fn mysql_number(error: &dyn DatabaseError) -> Option<u16> {
    Some(error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()?.number())
}

#[cfg(not(feature = "mysql"))]
fn mysql_number(_error: &dyn DatabaseError) -> Option<u16> {
    None
}

/// Whether there is no such table.
pub(crate) fn is_undefined_table(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    // PostgreSQL and MySQL have a code for it, SQLite has none of its own.
    matches!(error.code().as_deref(), Some("42P01" | "42S02"))
        || error.message().starts_with("no such table")
}

/// Whether the server has answered a COMMIT by refusing it: nothing was applied. Everything else, a lost or
/// terminated connection before all, leaves open what became of it.
pub(crate) fn is_refused_commit(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    let Some(code) = error.code() else { return false };
    if code.len() != 5 {
        // Reading or writing the file may have failed after the transaction was there.
        return matches!(primary(&code), Some(1 | 4..=9 | 13 | 18..=20));
    }
    if is_fatal(error) {
        return false;
    }
    match &code[..2] {
        // The outcome is unknown by the standard's own words.
        "40" => code != "40003",
        "08" | "58" | "70" | "XX" => false,
        "57" => code == "57014",
        "HY" => is_general_refusal(error),
        _ => true,
    }
}

/// Whether the connection is gone, and not the statement refused.
pub(crate) fn is_lost(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed)
        || error
            .as_database_error()
            .and_then(|error| error.code())
            .is_some_and(|code| code.starts_with("57P") || code.starts_with("08"))
}

fn primary(code: &str) -> Option<u32> {
    code.parse::<u32>().ok().map(|code| code & 0xff)
}

/// PostgreSQL ends the connection with it.
#[cfg(feature = "postgres")]
fn is_fatal(error: &dyn DatabaseError) -> bool {
    use sqlx::postgres::{PgDatabaseError, PgSeverity};
    let error = error.try_downcast_ref::<PgDatabaseError>();
    error.is_some_and(|error| matches!(error.severity(), PgSeverity::Panic | PgSeverity::Fatal))
}

#[cfg(not(feature = "postgres"))]
fn is_fatal(_error: &dyn DatabaseError) -> bool {
    false
}

/// MySQL and MariaDB have one SQLSTATE for many things.
#[cfg(feature = "mysql")]
fn is_general_refusal(error: &dyn DatabaseError) -> bool {
    /// Lock waits, a full lock table, a changed row, a server that is read-only, a hook that refused.
    const REFUSED: [u16; 9] = [1020, 1205, 1206, 1290, 1836, 3100, 3101, 3102, 3572];
    let error = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>();
    error.is_some_and(|error| REFUSED.contains(&error.number()))
}

#[cfg(not(feature = "mysql"))]
fn is_general_refusal(_error: &dyn DatabaseError) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Answered(&'static str);

    impl std::fmt::Display for Answered {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("answered")
        }
    }

    impl std::error::Error for Answered {}

    impl DatabaseError for Answered {
        fn message(&self) -> &str {
            "answered"
        }

        fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
            Some(self.0.into())
        }

        fn kind(&self) -> Refused {
            Refused::Other
        }

        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
            self
        }
    }

    fn answered(code: &'static str) -> sqlx::Error {
        sqlx::Error::Database(Box::new(Answered(code)))
    }

    #[test]
    fn only_what_the_server_refused_is_known_not_to_be_committed() {
        for refused in
            ["40001", "40P01", "23505", "23503", "57014", "25P02", "P0001", "5", "787", "13"]
        {
            assert!(is_refused_commit(&answered(refused)), "{refused}");
        }
        for unknown in
            ["57P01", "57P02", "08006", "08S01", "70100", "40003", "XX000", "HY000", "10"]
        {
            assert!(!is_refused_commit(&answered(unknown)), "{unknown}");
        }
        let lost = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        for unknown in
            [sqlx::Error::Io(lost()), sqlx::Error::WorkerCrashed, sqlx::Error::PoolClosed]
        {
            assert!(!is_refused_commit(&unknown), "{unknown}");
        }
    }

    #[test]
    fn a_row_is_to_blame_for_what_is_in_it_alone() {
        for data in ["22P02", "23505", "P0001", "45000", "275", "787"] {
            assert!(is_about_data(&answered(data)), "{data}");
        }
        for other in ["40001", "42P01", "57P01", "55P03", "5", "1"] {
            assert!(!is_about_data(&answered(other)), "{other}");
        }
        assert!(!is_about_data(&sqlx::Error::PoolTimedOut));
    }
}
