//! The port to migrations in exact mode, as an operator sees them in the control tables of one of their two databases.

use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::control::commands::{JobKind, Taken};
use crate::error::{Error, ErrorKind, Maintenance};
use crate::rollout::command::NewRolloutCommand;
use crate::stages::position::Epoch;
use crate::stages::stage::{Side, Stage};

/// A key whose record the mirror does not take; from [`Exact::failures`](crate::exact::Exact::failures).
///
/// ```
/// # fn show(failures: &[dualwrite::exact::ExactFailure]) {
/// for failure in failures {
///     println!("{}: tried {} times, {}", failure.key, failure.attempts, failure.error);
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExactFailure {
    /// The key, as JSON.
    pub key: String,
    /// How often it was tried.
    pub attempts: u64,
    /// Why it failed, without values.
    pub error: String,
}

impl ExactFailure {
    pub(crate) fn new(key: String, attempts: u64, error: String) -> Self {
        Self { key, attempts, error }
    }
}

/// What an instance said last of a migration in exact mode; it sees both databases.
///
/// ```
/// # fn show(state: &dualwrite::operator::ExactState) {
/// println!("{}: {} is the primary, the mirror is {} records behind", state.stage, state.primary, state.backlog);
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExactState {
    /// The stage that both rows amount to.
    pub stage: Stage,
    /// The side of record, or the one that gets it.
    pub primary: Side,
    /// Whether the primary takes writes. `false` while a hand-over is under way.
    pub open: bool,
    /// Whether the mirror has, with the outbox, all that the primary has.
    pub copied: bool,
    /// Raised by each change.
    pub epoch: Epoch,
    /// Records in the outbox, counted up to [`BACKLOG_COUNTED`](crate::defaults::BACKLOG_COUNTED).
    pub backlog: u64,
    /// How old the oldest record of the outbox is.
    #[serde(rename = "lag_us", with = "crate::moment::span_as_micros")]
    pub lag: Duration,
    /// Keys whose records the mirror does not take, up to 100.
    pub failures: Vec<ExactFailure>,
    /// Keys that the copy of what was there before has recorded.
    pub copied_keys: u64,
    /// The instance that says so.
    pub instance: String,
    /// Why it could not look at both databases; the rest is from before, then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What the newest verification of a migration in exact mode found.
///
/// ```
/// # fn show(found: &dualwrite::operator::ExactVerification) {
/// println!("{} of {} keys differ", found.different, found.compared);
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExactVerification {
    /// When it ended, by the clock of the instance.
    #[serde(rename = "at_us", with = "crate::moment::as_micros")]
    pub at: SystemTime,
    /// Keys that were compared.
    pub compared: u64,
    /// Of these, those that differ.
    pub different: u64,
    /// Keys of which the mirror had not applied the last write.
    pub behind: u64,
    /// Whether it recorded those that differ once more.
    pub repaired: bool,
}

/// A migration in exact mode, seen from one of its two databases.
///
/// ```
/// # fn show(exact: &dualwrite::operator::ExactOverview) {
/// if let (Some(state), Some(ago)) = (&exact.state, exact.reported_ago) {
///     println!("{} s ago: {}", ago.as_secs(), state.stage);
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExactOverview {
    /// Which of the two databases this is.
    pub side: Side,
    /// Whether this database says that it is the primary, now.
    pub is_primary: bool,
    /// What an instance said last; `None` before the first one did.
    pub state: Option<ExactState>,
    /// How long ago that was.
    #[serde(
        rename = "reported_ago_us",
        serialize_with = "crate::moment::some_as_micros::serialize"
    )]
    pub reported_ago: Option<Duration>,
    /// What the newest verification found.
    pub verification: Option<ExactVerification>,
}

/// A row of such a migration.
#[derive(Clone, Debug)]
pub(crate) struct ExactRow {
    pub(crate) name: String,
    /// That of this database alone.
    pub(crate) epoch: Epoch,
    pub(crate) maintenance: Option<Maintenance>,
    pub(crate) overview: ExactOverview,
}

/// The names of the other migrations, and all of these.
pub(crate) type Named = (Vec<String>, Vec<ExactRow>);

/// A command for any instance of such a migration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExactCommand<'c> {
    pub(crate) kind: JobKind,
    pub(crate) subject: Option<&'c str>,
    /// For the audit.
    pub(crate) epoch: Epoch,
    pub(crate) audit: &'c NewRolloutCommand,
}

/// What an operator asks of them.
pub(crate) trait ExactMigrations: Send + Sync {
    /// The one of this name, whose rows are in this database.
    fn exact_row<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, Result<Option<ExactRow>, Error>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// By one statement.
    fn names_and_exact(&self) -> BoxFuture<'_, Result<Named, Error>>;

    /// Leaves a job for any instance, in the place of one that nobody runs, and records the command, in one transaction.
    fn exact_command<'a>(
        &'a self,
        name: &'a str,
        _command: ExactCommand<'a>,
    ) -> BoxFuture<'a, Result<Taken, Error>> {
        let message = "there is no migration in exact mode in memory";
        Box::pin(std::future::ready(Err(Error::new(ErrorKind::Unsupported, message).of(name))))
    }
}
