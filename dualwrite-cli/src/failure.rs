//! What is told when something fails: one line, with the next step, and never a URL. Pure.

use std::error::Error as StdError;

use dualwrite::{Error, ErrorKind};

/// The line.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let cause = cause(&error);
        Self(match error.kind() {
            _ if cause.is_some_and(is_missing_table) => {
                "this database has no control tables of dualwrite; check that the URL names the service's \
                 database, and start the service, which makes them"
                    .to_owned()
            }
            ErrorKind::UnknownMigration => {
                let name = error.migration().unwrap_or_default();
                format!(
                    "there is no migration `{name}` in this database; `dualwrite status` lists those there are"
                )
            }
            ErrorKind::Database => format!("{error}; try again when the database answers"),
            _ if error.is_retryable() => format!("{error}; try again"),
            _ => error.to_string(),
        })
    }
}

/// Of a connection that could not be made.
pub(crate) fn unreachable(error: &sqlx::Error) -> Failure {
    let next = match error {
        sqlx::Error::Configuration(_) => "check how the URL is written",
        sqlx::Error::Tls(_) => {
            "check what the URL says of encryption; it takes `dualwrite` built with the feature `tls`"
        }
        sqlx::Error::Io(_) => "start that server, or check host and port in the URL",
        _ => "check user, password and database in the URL, or the path of the file",
    };
    let said = Error::without_values(error);
    Failure(format!("cannot connect to the database: {said}; {next}"))
}

/// What the driver said first.
fn cause(error: &Error) -> Option<&sqlx::Error> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

fn is_missing_table(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    // PostgreSQL and MySQL have a code for it, SQLite has none of its own.
    matches!(error.code().as_deref(), Some("42P01" | "42S02"))
        || error.message().starts_with("no such table")
}

/// The text without words that look like URLs.
pub(crate) fn without_urls(text: &str) -> String {
    let pieces = text.split_inclusive(char::is_whitespace).map(|piece| {
        let word = piece.trim_end();
        if word.contains("://") || word.contains("sqlite:") && word != "sqlite:" {
            format!("(a URL){}", &piece[word.len()..])
        } else {
            piece.to_owned()
        }
    });
    pieces.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_left_out_and_nothing_else() {
        let told = "error: unexpected argument 'postgres://u:secret@h/d' found\n\nUsage: x";
        let kept = "error: unexpected argument (a URL) found\n\nUsage: x";
        assert_eq!(without_urls(told), kept);
        assert_eq!(without_urls("a line: as it was\n"), "a line: as it was\n");
    }
}
