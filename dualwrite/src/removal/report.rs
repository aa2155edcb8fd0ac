//! What is known of a removal.

use std::fmt;

use serde::Serialize;

use super::phase::RemovalPhase;

/// Somebody who used what is to be removed, although a phase forbids it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RemovalUse {
    /// `read` or `write`.
    pub kind: String,
    /// Who: of a write, the account and where it is known the application; of a read, the instance and the call.
    pub who: String,
    /// How many seconds ago, to the minute.
    pub ago_s: u64,
}

impl fmt::Display for RemovalUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}, {} min ago", self.kind, self.who, self.ago_s / 60)
    }
}

/// Where a removal stands, and what stands against its next phase. It holds names, never values of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RemovalReport {
    /// The removal.
    pub name: String,
    /// What is removed.
    pub objects: Vec<String>,
    /// Where it stands.
    pub phase: RemovalPhase,
    /// For how many seconds.
    pub phase_s: u64,
    /// The next phase; `None` at the end.
    pub next: Option<RemovalPhase>,
    /// What stands against it, each with what to do.
    pub missing: Vec<String>,
    /// Who has used it although a phase forbids it, the newest first.
    pub uses: Vec<RemovalUse>,
    /// What is good to know.
    pub notes: Vec<String>,
}
