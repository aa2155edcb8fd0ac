//! What a running database says of the tables that a schema change is about. Values.

use serde::Serialize;

/// Up to so many rows a table is small: whatever is done to it is done at once.
pub const SMALL_TABLE_ROWS: u64 = 10_000;
/// Up to so many bytes, with its indexes, a table is small.
pub const SMALL_TABLE_BYTES: u64 = 32 * 1024 * 1024;

/// One table, as the database says it now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LiveTable {
    /// As the statements name it.
    pub name: String,
    /// Its rows, counted up to [`SMALL_TABLE_ROWS`]; one more means more.
    pub rows: u64,
    /// An estimate of its rows from the statistics.
    pub rows_estimated: Option<u64>,
    /// Its bytes with its indexes; `None` where the database does not know.
    pub bytes: Option<u64>,
    /// Rows that were written since the server began to count; `None` where it does not.
    pub written: Option<u64>,
    /// Tables whose foreign keys point to it.
    pub referenced_by: Vec<String>,
}

impl LiveTable {
    /// Whether it is small: see [`SMALL_TABLE_ROWS`] and [`SMALL_TABLE_BYTES`].
    #[must_use]
    pub fn is_small(&self) -> bool {
        self.rows <= SMALL_TABLE_ROWS && self.bytes.is_none_or(|bytes| bytes <= SMALL_TABLE_BYTES)
    }
}

/// The tables, and who follows the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Live {
    /// Those that are there.
    pub tables: Vec<LiveTable>,
    /// Replicas that have to do the same once more; `None` where the database does not say.
    pub replicas: Option<u64>,
}

/// What sqlx's own table says of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "schema"),
    allow(dead_code, reason = "the judge of schema changes alone reads it")
)]
pub(crate) struct SqlxRecord {
    pub(crate) version: i64,
    pub(crate) success: bool,
}
