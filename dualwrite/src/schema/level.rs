//! How dangerous a statement is, and the words in which that is said.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// How dangerous a statement is while the service runs.
///
/// The levels are ordered. `Unknown` is the highest: a statement that cannot be read may do anything.
///
/// ```
/// use dualwrite::schema::Level;
/// assert!(Level::Safe < Level::Warn && Level::Warn < Level::Blocking);
/// assert!(Level::Breaking < Level::Unknown);
/// assert_eq!("blocking".parse::<Level>()?, Level::Blocking);
/// # Ok::<(), dualwrite::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nobody waits, nothing fails, nothing is lost.
    Safe,
    /// It works, and needs a look first.
    Warn,
    /// Others wait: it locks a table for long, rewrites it, or locks many rows at once.
    Blocking,
    /// Code that runs now fails, or data is lost.
    Breaking,
    /// No parser here reads it.
    Unknown,
}

impl Level {
    /// All levels, in order.
    pub const ALL: [Self; 5] =
        [Self::Safe, Self::Warn, Self::Blocking, Self::Breaking, Self::Unknown];

    /// Its name, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::Warn => "warn",
            Self::Blocking => "blocking",
            Self::Breaking => "breaking",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Level {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|level| level.as_str() == text).ok_or_else(|| {
            let message =
                format!("write safe, warn, blocking, breaking or unknown; `{text}` is no level");
            Error::new(ErrorKind::InvalidInput, message)
        })
    }
}

/// Whose SQL it is.
///
/// ```
/// use dualwrite::schema::SqlDialect;
/// assert_eq!("mariadb".parse::<SqlDialect>()?, SqlDialect::Mysql);
/// # Ok::<(), dualwrite::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SqlDialect {
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    Mysql,
    /// SQLite.
    Sqlite,
}

impl SqlDialect {
    /// Its name, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Sqlite => "sqlite",
        }
    }
}

impl fmt::Display for SqlDialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SqlDialect {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "postgres" | "postgresql" => Ok(Self::Postgres),
            "mysql" | "mariadb" => Ok(Self::Mysql),
            "sqlite" => Ok(Self::Sqlite),
            _ => {
                let message = format!(
                    "write postgres, mysql, mariadb or sqlite; `{text}` is no dialect of these"
                );
                Err(Error::new(ErrorKind::InvalidInput, message))
            }
        }
    }
}

/// What is said of one statement.
///
/// ```
/// use dualwrite::schema::{Level, SqlDialect, classify};
/// let verdict = &classify("DROP TABLE customer", SqlDialect::Postgres)[0].verdict;
/// assert_eq!((verdict.level, verdict.rule), (Level::Breaking, "drop-table"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// How dangerous it is.
    pub level: Level,
    /// The name of the rule, for waivers: words in lower case, joined by `-`.
    pub rule: &'static str,
    /// Why.
    pub reason: String,
    /// What to write or do instead; empty where the statement is safe.
    pub instead: String,
}

impl Verdict {
    pub(super) fn new(
        level: Level,
        rule: &'static str,
        reason: impl Into<String>,
        instead: impl Into<String>,
    ) -> Self {
        Self { level, rule, reason: reason.into(), instead: instead.into() }
    }

    pub(super) fn safe(rule: &'static str, reason: impl Into<String>) -> Self {
        Self::new(Level::Safe, rule, reason, "")
    }

    pub(super) fn warn(
        rule: &'static str,
        reason: impl Into<String>,
        instead: impl Into<String>,
    ) -> Self {
        Self::new(Level::Warn, rule, reason, instead)
    }

    pub(super) fn blocking(
        rule: &'static str,
        reason: impl Into<String>,
        instead: impl Into<String>,
    ) -> Self {
        Self::new(Level::Blocking, rule, reason, instead)
    }

    pub(super) fn breaking(
        rule: &'static str,
        reason: impl Into<String>,
        instead: impl Into<String>,
    ) -> Self {
        Self::new(Level::Breaking, rule, reason, instead)
    }

    pub(super) fn unknown() -> Self {
        Self::new(
            Level::Unknown,
            "unreadable",
            "no parser here reads this statement, so it may do anything",
            "write it in a simpler form; or review it and waive it with a reason: \
             `-- dualwrite: allow unreadable because …`",
        )
    }

    /// The worse of two; the first where they are equal.
    pub(super) fn worse(self, other: Self) -> Self {
        if other.level > self.level { other } else { self }
    }
}

/// The worst of several actions of one statement; `None` of none.
pub(super) fn worst(verdicts: impl IntoIterator<Item = Verdict>) -> Option<Verdict> {
    verdicts.into_iter().reduce(Verdict::worse)
}
