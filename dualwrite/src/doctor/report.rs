//! What a doctor found, and what it was told to look for.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::preflight::finding::FindingLevel;

/// From when on something is in the way of a migration; for [`Operator::doctor`](crate::operator::Operator::doctor).
///
/// ```
/// use std::time::Duration;
/// let limits = dualwrite::doctor::DoctorLimits { transaction: Duration::from_secs(10), ..Default::default() };
/// assert_eq!(limits.wait, Duration::from_secs(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoctorLimits {
    /// How long a transaction may be open: one minute.
    pub transaction: Duration,
    /// How long one may wait for a lock: one second. SQLite's file is tried for so long.
    pub wait: Duration,
    /// By how much a replica may be behind: ten seconds.
    pub lag: Duration,
}

impl Default for DoctorLimits {
    fn default() -> Self {
        let [transaction, wait, lag] = [60, 1, 10].map(Duration::from_secs);
        Self { transaction, wait, lag }
    }
}

/// One thing that hurts migrations: what, where, why it matters, and what to do. It holds names, never values of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DoctorFinding {
    /// What was looked at: `invalid_index`, `unique_key`, `sequence`, `long_transaction`, `lock_queue`,
    /// `statement_cache`, `replication`, or the name of a check of the preflight, such as `sql_mode`.
    pub check: String,
    /// How much it weighs. Nothing of the level `Note` makes the command fail.
    pub level: FindingLevel,
    /// The migration that it is about, where it is about one.
    pub migration: Option<String>,
    /// The table, index, sequence, session or replica.
    pub object: String,
    /// What was found, and why it matters.
    pub why: String,
    /// What to do.
    pub action: String,
}

impl fmt::Display for DoctorFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.level, self.check, self.object)?;
        if let Some(migration) = &self.migration {
            write!(f, " (migration `{migration}`)")?;
        }
        write!(f, ": {}; {}", self.why, self.action)
    }
}

/// What [`Operator::doctor`](crate::operator::Operator::doctor) found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DoctorReport {
    /// What was found, the weightiest first.
    pub findings: Vec<DoctorFinding>,
    /// The tables that were looked at.
    pub tables: Vec<String>,
    /// What could not be looked at, and why.
    pub not_seen: Vec<String>,
}

impl DoctorReport {
    /// Whether nothing was found that has to be seen to: there may be notes.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.findings.iter().all(|finding| finding.level < FindingLevel::Warn)
    }
}
