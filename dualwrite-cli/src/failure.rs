//! What is told when something fails: one line, with the next step, and never a URL. Pure.

use std::ffi::OsString;

use dualwrite::{Error, ErrorKind};

use crate::{FAILED, REFUSED, TIMED_OUT, UNKNOWN, UNREACHABLE, UNREADABLE, WRONG_USE};

/// The line, of what has one exit code of its own.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

/// The line, and the exit code.
#[derive(Debug)]
pub(crate) struct Exit {
    pub(crate) text: String,
    pub(crate) code: u8,
}

impl Exit {
    pub(crate) fn other(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: FAILED }
    }

    /// Nothing was there to take it.
    pub(crate) fn refused(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: REFUSED }
    }

    /// What was asked cannot be understood.
    pub(crate) fn wrong_use(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: WRONG_USE }
    }

    pub(crate) fn unreachable(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: UNREACHABLE }
    }

    pub(crate) fn timed_out(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: TIMED_OUT }
    }

    /// For a program.
    pub(crate) fn json(&self, text: &str) -> String {
        let kind = match self.code {
            WRONG_USE => "wrong_use",
            REFUSED => "refused",
            UNKNOWN => "unknown",
            UNREACHABLE => "unreachable",
            TIMED_OUT => "timed_out",
            UNREADABLE => "unreadable",
            _ => "failed",
        };
        serde_json::json!({ "error": { "kind": kind, "code": self.code, "message": text } })
            .to_string()
    }
}

/// The exit code that tells what a caller can do about it.
fn code(error: &Error) -> u8 {
    match error.kind() {
        ErrorKind::UnknownMigration => UNKNOWN,
        ErrorKind::InvalidInput => WRONG_USE,
        ErrorKind::Blocked
        | ErrorKind::Conflict
        | ErrorKind::IllegalMove
        | ErrorKind::Unsupported
        | ErrorKind::NewerControlTables => REFUSED,
        ErrorKind::Database if !error.is_denied() && !error.is_undefined_table() => UNREACHABLE,
        _ => FAILED,
    }
}

impl From<Error> for Exit {
    fn from(error: Error) -> Self {
        let text = match error.kind() {
            _ if error.is_undefined_table() => {
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
            ErrorKind::Database if error.is_denied() => format!(
                "{error}; connect as the user of the service, or grant this one the rights on the tables whose names \
                 begin with `dualwrite` and `_dualwrite`"
            ),
            ErrorKind::Database if error.is_read_only() => {
                format!("{error}; that server takes no writes: name the primary in the URL")
            }
            ErrorKind::Database => format!("{error}; try again when the database answers"),
            ErrorKind::Blocked | ErrorKind::Conflict => error.to_string(),
            _ if error.is_retryable() => format!("{error}; try again"),
            _ => error.to_string(),
        };
        Self { text, code: code(&error) }
    }
}

/// Of a connection that could not be made.
pub(crate) fn unreachable(error: &sqlx::Error) -> Exit {
    let next = match error {
        sqlx::Error::Configuration(_) => "check how the URL is written",
        sqlx::Error::Tls(_) => {
            "check what the URL says of encryption; it takes `dualwrite` built with the feature `tls`"
        }
        sqlx::Error::Io(_) => "start that server, or check host and port in the URL",
        _ => "check user, password and database in the URL, or the path of the file",
    };
    let said = Error::without_values(error);
    let text = format!("cannot connect to the database: {said}; {next}");
    match error {
        sqlx::Error::Configuration(_) => Exit::wrong_use(text),
        _ => Exit::unreachable(text),
    }
}

/// Those of the arguments that are URLs, or have one as a value: they may hold a password, and are not repeated.
pub(crate) fn urls(arguments: &[OsString]) -> Vec<String> {
    let has_login = |text: &str| text.contains(':') && text.contains('@');
    let is_url =
        |text: &&str| text.contains("://") || text.starts_with("sqlite:") || has_login(text);
    let mut found: Vec<String> = Vec::new();
    for argument in arguments.iter().skip(1) {
        let argument = argument.to_string_lossy();
        let value = argument.split_once('=').filter(|(name, _)| name.starts_with('-'));
        let parts = [Some(&*argument), value.map(|(_, value)| value)];
        found.extend(parts.into_iter().flatten().filter(is_url).map(str::to_owned));
    }
    // The longest first, or a part of it would be left.
    found.sort_by_key(|url| std::cmp::Reverse(url.len()));
    found
}

/// The text without these.
pub(crate) fn without(text: &str, urls: &[String]) -> String {
    urls.iter().fold(text.to_owned(), |text, url| text.replace(url, "(a URL)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_urls_of_the_arguments_are_left_out_and_nothing_else() {
        let url = "postgres://u:secret@h/d";
        let option = format!("--database={url}?x=1");
        let arguments =
            ["dualwrite", "--database", "sqlite:a.db", &option, url].map(OsString::from);
        let urls = urls(&arguments);
        let said = format!("error: unexpected argument '{url}' found, also {option}\n\nUsage: x");
        let kept = "error: unexpected argument '(a URL)' found, also (a URL)\n\nUsage: x";
        assert_eq!(without(&said, &urls), kept);
        let help = "The service's database: postgres://…, mysql://…, mariadb://… or sqlite://…";
        assert_eq!(without(help, &urls), help, "help is no secret");
    }
}
