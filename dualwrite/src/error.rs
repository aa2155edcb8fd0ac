//! What can go wrong, for programs ([`ErrorKind`]) and for people (the text: what failed, then what
//! to do next).

mod answer;
pub(crate) mod conversion;
#[cfg(feature = "mysql")]
pub(crate) mod known;
pub(crate) mod maintenance;
mod reason;

use std::error::Error as StdError;
use std::fmt;

pub(crate) use self::answer::{
    is_about_data, is_denied, is_lost, is_read_only, is_refused_commit, is_serialization,
    is_undefined_table,
};
pub use self::conversion::{BoxError, ConversionError};
pub use self::maintenance::{Closed, Maintenance};
pub(crate) use self::reason::{Plain, known_reason, reason};
use crate::gate::Blocker;

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
    /// The database cannot be reached or answered with an error. Nothing was committed.
    Database,
    /// The commit was sent, and the connection was lost or ended before the server answered: the transaction was
    /// applied as a whole or not at all. Look before the same is done again.
    CommitUnknown,
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
    /// An operator has closed these calls for a planned downtime; [`Error::maintenance`] says why, and until when.
    /// Nothing was done.
    Maintenance,
    /// A check after a deployment did not pass; see [`SmokeReport`](crate::health::SmokeReport).
    SmokeFailed,
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
    maintenance: Option<Maintenance>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            migration: None,
            message: message.into(),
            source: None,
            blockers: Vec::new(),
            maintenance: None,
        }))
    }

    pub(crate) fn blocked(blockers: Vec<Blocker>) -> Self {
        let reasons: Vec<String> = blockers.iter().map(ToString::to_string).collect();
        let mut error = Self::new(ErrorKind::Blocked, format!("not ready: {}", reasons.join("; ")));
        error.0.blockers = blockers;
        error
    }

    pub(crate) fn closed(maintenance: Maintenance) -> Self {
        let message =
            format!("{maintenance}; try again after that, or open it with `dualwrite open`");
        let mut error = Self::new(ErrorKind::Maintenance, message);
        error.0.maintenance = Some(maintenance);
        error
    }

    pub(crate) fn database(doing: &str, source: sqlx::Error) -> Self {
        let kind = match Self::find(&source) {
            Some(inner) => inner.kind(),
            None if is_serialization(&source) => ErrorKind::Serialization,
            None => ErrorKind::Database,
        };
        let said = reason(&source);
        Self::new(kind, format!("the database failed while {doing}: {said}")).caused_by(source)
    }

    /// A failed COMMIT: the server has refused it, or nobody knows what became of it.
    pub(crate) fn committing(source: sqlx::Error) -> Self {
        if is_refused_commit(&source) {
            return Self::database("committing; nothing was applied", source);
        }
        let said = reason(&source);
        let message = format!(
            "it is unknown whether the transaction was committed, for its connection ended before the \
             server answered ({said}); look whether it was applied before you do the same again"
        );
        Self::new(ErrorKind::CommitUnknown, message).caused_by(source)
    }

    /// The copy function failed, or its statements did.
    pub(crate) fn copying(cause: impl Into<BoxError>) -> Self {
        let cause = cause.into();
        let message = format!("the copy function failed: {}", reason(&*cause));
        Self::new(ErrorKind::CopyFailed, message).caused_by(cause)
    }

    /// Of every operation from the beginning of a shutdown on.
    pub(crate) fn shutting_down() -> Self {
        let message = "the runtime of this process was shut down or dropped, so nothing can be done here any more; \
                       drain your callers first, then shut it down";
        Self::new(ErrorKind::ShuttingDown, message)
    }

    /// Adds the cause as the source, and to the text: a log line of the text alone shows it, too.
    pub(crate) fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        let source = source.into();
        let said = reason(&*source);
        if !said.is_empty() && !self.0.message.contains(&said) {
            self.0.message = format!("{} (cause: {said})", self.0.message);
        }
        self.0.source = Some(source);
        self
    }

    /// Adds to the text.
    pub(crate) fn noting(mut self, note: &str) -> Self {
        self.0.message.push_str(note);
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

    /// What is closed, by whom, why, and until when, for `Maintenance`.
    #[must_use]
    pub fn maintenance(&self) -> Option<&Maintenance> {
        self.0.maintenance.as_ref()
    }

    /// Whether the same call can be made again, and can succeed without any change by the caller: a lost
    /// compare-and-set, a gate that opens with time, an unreachable database, a serialization failure.
    ///
    /// Where this is true, nothing is applied twice by that:
    /// - Of a transaction (`begin`, a write in it, `commit`), a move or an approval, nothing was applied. A commit
    ///   whose outcome is unknown is [`CommitUnknown`](ErrorKind::CommitUnknown), and not retryable.
    /// - Work in pieces (a backfill, a verification, a repair, the retry of dead letters) keeps what it has done,
    ///   and goes on from there. A command (pause, resume, a rate) may have arrived, and says the same again.
    ///
    /// A call that is closed for maintenance is retryable too: a message from a queue goes back into the queue. But wait
    /// for the [expected end](Self::maintenance); an attempt a few seconds later is refused again.
    ///
    /// A row that the database refuses for what is in it is refused again, and so is what the role of the connection
    /// [may not do](Self::is_denied): not retryable.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self.kind() {
            ErrorKind::Database => !self.is_about_data() && !self.is_denied(),
            kind => matches!(
                kind,
                ErrorKind::Conflict
                    | ErrorKind::Blocked
                    | ErrorKind::StageUnknown
                    | ErrorKind::LeaseLost
                    | ErrorKind::Serialization
                    | ErrorKind::Timeout
                    | ErrorKind::Maintenance
            ),
        }
    }

    /// Whether work that may be done twice can be tried again.
    pub(crate) fn may_pass(&self) -> bool {
        self.is_retryable() || self.kind() == ErrorKind::CommitUnknown
    }

    /// Whether the database refused a row for what is in it.
    pub(crate) fn is_about_data(&self) -> bool {
        self.driver().is_some_and(is_about_data)
    }

    /// Whether the database does not let the role of the connection do that: it is refused again until somebody grants
    /// it.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.driver().is_some_and(is_denied)
    }

    /// Whether nobody can write there now: the server is a standby, or the file is read-only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.driver().is_some_and(is_read_only)
    }

    /// Whether a table is missing: of a statement about the control tables, because no service has made them yet.
    #[must_use]
    pub fn is_undefined_table(&self) -> bool {
        self.driver().is_some_and(is_undefined_table)
    }

    /// Whether a value that was read is not what it should be.
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(self.driver(), Some(sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. }))
    }

    /// Whether the connection is gone.
    pub(crate) fn is_of_lost_connection(&self) -> bool {
        self.driver().is_some_and(is_lost)
    }

    /// What the driver said first.
    fn driver(&self) -> Option<&sqlx::Error> {
        let mut next = self.source();
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<sqlx::Error>() {
                return Some(error);
            }
            next = error.source();
        }
        None
    }

    /// What an error says, without row values: of a database's error its code and the names of constraint, table
    /// and column, of a value that cannot be read its column. The text of an error of your own type is kept, but
    /// for what it repeats of a driver's. The library stores and logs errors only like this.
    ///
    /// ```
    /// let source = "invalid digit in `4711`".into();
    /// let error = sqlx::Error::ColumnDecode { index: "age".to_owned(), source };
    /// let said = dualwrite::Error::without_values(&error);
    /// assert_eq!(said, "the column age cannot be read as the type that is wanted");
    /// ```
    #[must_use]
    pub fn without_values(error: &(dyn StdError + 'static)) -> String {
        reason(error)
    }

    /// The same where the database refused a row that a copy wrote: that row has to pay.
    pub(crate) fn blaming_the_copy(mut self) -> Self {
        if self.kind() == ErrorKind::Database && self.is_about_data() {
            self.0.kind = ErrorKind::CopyFailed;
        }
        self
    }

    /// What caused it, or else what it says itself, without row values.
    pub(crate) fn cause(&self) -> String {
        self.source().map_or_else(|| self.to_string(), reason)
    }

    /// The same for a log: of a caller's own error nothing, for its text may quote values.
    pub(crate) fn logged_cause(&self) -> String {
        self.source().and_then(known_reason).unwrap_or_else(|| self.to_string())
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
            // Not as it is: a driver quotes values.
            out.field("source", &reason(&**source));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_the_cause_once() {
        let source = "invalid digit in `4711`".into();
        let cause = sqlx::Error::ColumnDecode { index: "age".to_owned(), source };
        let error = Error::new(ErrorKind::Database, "a report cannot be read").caused_by(cause);
        let said = error.to_string();
        assert!(said.contains("a report cannot be read (cause: the column age"), "{said}");
        assert!(!said.contains("4711"), "{said}");
        let error = Error::database("reading", sqlx::Error::PoolTimedOut);
        let cause = reason(&sqlx::Error::PoolTimedOut);
        assert_eq!(error.to_string().matches(&cause).count(), 1, "{error}");
    }
}
