//! What can go wrong, for programs ([`ErrorKind`]) and for people (the text: what failed, then what
//! to do next).

use std::error::Error as StdError;
use std::fmt;

use crate::gate::Blocker;

/// A cause from elsewhere: the user's copy function, a driver, the operating system.
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// Classes of errors; programs branch on these, never on the text.
///
/// ```
/// use dualwrite::{ErrorKind, Percent};
/// assert_eq!(Percent::new(200).unwrap_err().kind(), ErrorKind::InvalidInput);
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A value that can never be right: a percentage above 100, a bad name.
    InvalidInput,
    /// No migration of that name is registered or stored.
    UnknownMigration,
    /// A move between stages that are not neighbours, or back from `Complete`.
    IllegalMove,
    /// A gate does not let the move through yet.
    Blocked,
    /// Somebody else changed the position first (lost compare-and-set).
    Conflict,
    /// The control tables belong to a newer version of this library.
    NewerControlTables,
    /// The database chose this transaction to fail, for a serialization failure or a deadlock: begin
    /// again. Nothing was applied.
    Serialization,
    /// The database cannot be reached or answered with an error.
    Database,
    /// A key of another type than the migration's.
    WrongKey,
    /// This instance does not know the position any more: its lease ran out.
    StageUnknown,
    /// The transaction was not begun for this migration.
    NotPinned,
    /// A write in the transaction failed, so it cannot be committed.
    Poisoned,
    /// The copy function failed.
    CopyFailed,
    /// The mirror write failed where that is not allowed.
    MirrorFailed,
    /// Something was asked for that this migration was not given (a copy function, a way back).
    Unsupported,
    /// Another worker holds, or has taken over, the lease.
    LeaseLost,
    /// A bound on time was reached.
    Timeout,
    /// A backfill stopped because too many rows failed.
    Halted,
    /// The runtime of this process was shut down or dropped: nothing more can be done here.
    ShuttingDown,
    /// It was called outside of tokio, which this library and sqlx need.
    OutsideTokio,
}

/// The error of this library. The user's own errors are never replaced by it.
///
/// ```
/// let error = dualwrite::Percent::new(200).unwrap_err();
/// assert!(!error.is_retryable());
/// assert_eq!(error.to_string(), "200 percent is out of range; a ramp lies between 0 and 100");
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    migration: Option<Box<str>>,
    message: String,
    source: Option<BoxError>,
    blockers: Vec<Blocker>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            migration: None,
            message: message.into(),
            source: None,
            blockers: Vec::new(),
        }))
    }

    pub(crate) fn blocked(blockers: Vec<Blocker>) -> Self {
        let reasons: Vec<String> = blockers.iter().map(ToString::to_string).collect();
        let mut error = Self::new(ErrorKind::Blocked, format!("not ready: {}", reasons.join("; ")));
        error.0.blockers = blockers;
        error
    }

    pub(crate) fn database(doing: &str, source: sqlx::Error) -> Self {
        let kind = match Self::find(&source) {
            Some(inner) => inner.kind(),
            None if is_serialization(&source) => ErrorKind::Serialization,
            None => ErrorKind::Database,
        };
        Self::new(kind, format!("the database failed while {doing}")).caused_by(source)
    }

    /// Of every operation from the beginning of a shutdown on.
    pub(crate) fn shutting_down() -> Self {
        let message = "the runtime of this process was shut down or dropped, so nothing can be done here any more; \
                       drain your callers first, then shut it down";
        Self::new(ErrorKind::ShuttingDown, message)
    }

    pub(crate) fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn of(mut self, migration: &str) -> Self {
        self.0.migration.get_or_insert_with(|| migration.into());
        self
    }

    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The migration it is about, where there is one.
    #[must_use]
    pub fn migration(&self) -> Option<&str> {
        self.0.migration.as_deref()
    }

    /// The gates that are closed, for `Blocked`.
    #[must_use]
    pub fn blockers(&self) -> &[Blocker] {
        &self.0.blockers
    }

    /// Whether the same call can succeed later without any change by the caller: a lost
    /// compare-and-set, a gate that opens with time, an unreachable database, a serialization
    /// failure. Nothing was applied when this is true.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::Conflict
                | ErrorKind::Blocked
                | ErrorKind::StageUnknown
                | ErrorKind::LeaseLost
                | ErrorKind::Database
                | ErrorKind::Serialization
                | ErrorKind::Timeout
        )
    }

    /// Finds an error of this library in a chain of sources, for example inside a `sqlx::Error`.
    ///
    /// ```
    /// let wrapped: sqlx::Error = dualwrite::Percent::new(200).unwrap_err().into();
    /// assert!(dualwrite::Error::find(&wrapped).is_some());
    /// ```
    #[must_use]
    pub fn find<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(found);
            }
            if let Some(io) = error.downcast_ref::<std::io::Error>()
                && let Some(found) = io.get_ref().and_then(|inner| inner.downcast_ref::<Self>())
            {
                return Some(found);
            }
            next = error.source();
        }
        None
    }
}

/// Code, constraint and table of a database's error in a chain of sources; no values.
pub(crate) fn database_said(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<sqlx::Error>() {
            let Some(database) = found.as_database_error() else { return None };
            let code = database.code().map(|code| format!("SQLSTATE {code}"));
            let constraint = database.constraint().map(|name| format!("constraint `{name}`"));
            let table = database.table().map(|name| format!("table `{name}`"));
            let parts: Vec<String> = [code, constraint, table].into_iter().flatten().collect();
            return (!parts.is_empty()).then(|| parts.join(", "));
        }
        next = error.source();
    }
    None
}

/// SQLSTATE of a serialization failure, on MySQL of a deadlock too; and of PostgreSQL's deadlock.
pub(crate) fn is_serialization(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "40001" || code == "40P01")
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(migration) = &self.0.migration {
            write!(f, "migration `{migration}`: ")?;
        }
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.0.kind).field("message", &self.to_string());
        if let Some(source) = &self.0.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// So that repositories which answer with `sqlx::Error` need no error type of their own.
/// [`Error::find`] gets it back.
impl From<Error> for sqlx::Error {
    fn from(error: Error) -> Self {
        Self::Io(std::io::Error::other(error))
    }
}
