//! What was seen of a running database.

use crate::database::Holder;
use crate::preflight::rows::TableNotes;
use crate::preflight::schema::Table;
use crate::stages::hazard::Hazard;

/// A table that a migration is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Concerned {
    pub(crate) migration: String,
    /// As it is declared.
    pub(crate) table: String,
    /// Its key, and the old table with the key there, where rows of that one move to it.
    pub(crate) moved: Option<(Vec<String>, String, Vec<String>)>,
}

/// Such a table, as it is.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) concerned: Concerned,
    /// `None` where it is not there yet.
    pub(crate) table: Option<Table>,
    pub(crate) notes: TableNotes,
    /// Sequences that would give out a number that is taken.
    pub(crate) sequences: Vec<Hazard>,
}

/// A session that others wait for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    pub(crate) holder: Holder,
    pub(crate) waiting: u64,
    pub(crate) waited_s: u64,
}

/// Somebody who follows the server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Follower {
    pub(crate) name: String,
    pub(crate) behind_ms: Option<u64>,
    /// Of one that has gone: what is kept for it.
    pub(crate) kept_bytes: Option<u64>,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Examined {
    /// Tables with their indexes.
    pub(crate) invalid_indexes: Vec<(String, String)>,
    pub(crate) transactions: Vec<Holder>,
    pub(crate) queues: Vec<Queue>,
    /// The whole database was locked for as long as was waited; SQLite alone.
    pub(crate) is_locked: bool,
    pub(crate) followers: Vec<Follower>,
    /// Whom the server follows itself: where it is, and how far it is behind in seconds.
    pub(crate) upstreams: Vec<(String, Option<u64>)>,
    /// What ran a statement, and its text.
    pub(crate) statements: Vec<(String, String)>,
    pub(crate) tables: Vec<Seen>,
    pub(crate) not_seen: Vec<String>,
}
