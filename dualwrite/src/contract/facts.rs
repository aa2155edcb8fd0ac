//! What a contract is judged by: what the control tables know of a migration.

use std::time::Duration;

use super::declared::Contract;
use crate::stages::facts::Facts;

/// Somebody did something, and said why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) actor: String,
    pub(crate) reason: String,
    /// By the database's clock, in microseconds since 1970.
    pub(crate) at_us: i64,
    /// What more is known: of a backup, what its command printed.
    pub(crate) detail: String,
}

/// How far a contract has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Progress {
    #[default]
    NotBegun,
    /// Something of old may be gone.
    Begun,
    Ended,
}

/// What the control tables know.
#[derive(Clone, Debug)]
pub(crate) struct ContractFacts {
    /// `None`: no release has declared what is old.
    pub(crate) contract: Option<Contract>,
    pub(crate) progress: Progress,
    pub(crate) facts: Facts,
    /// Gates that were overridden by the step to the present stage.
    pub(crate) overridden: Vec<String>,
    /// For how long writers of old have been recorded.
    pub(crate) watched_for: Option<Duration>,
    /// How long ago a wrapper last read old.
    pub(crate) read_ago: Option<Duration>,
    /// Somebody has begun to copy back to old.
    pub(crate) copies_back: bool,
    /// The approval that the contract asks for.
    pub(crate) approved: Option<Said>,
    /// The newest backup that was confirmed in this stage.
    pub(crate) backup: Option<Said>,
    /// What the catalogue says that keeps old from being dropped.
    pub(crate) dependents: Vec<String>,
}
