//! The fence, as its callers see it: what a transaction is pinned to, and what taking the fence found.

use std::sync::Arc;

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
use super::{Backend, SqlValue, position_of, sealed::Adapter as _};
use crate::position::Position;

/// The isolation level of a fenced transaction on PostgreSQL and MySQL. SQLite, with a single writer at
/// a time, is always serializable.
///
/// ```
/// assert_eq!(dualwrite::Isolation::default(), dualwrite::Isolation::ReadCommitted);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// The level for dual writes unless something needs another one.
    #[default]
    ReadCommitted,
    /// One snapshot for the whole transaction. On PostgreSQL a write that meets a newer one fails with
    /// `Serialization`, and so may `begin` while the stage changes.
    RepeatableRead,
    /// As if one transaction ran after the other; any statement, and the commit, may fail with
    /// `Serialization`.
    Serializable,
}

impl Isolation {
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    pub(crate) const fn as_sql(self) -> &'static str {
        match self {
            Self::ReadCommitted => "READ COMMITTED",
            Self::RepeatableRead => "REPEATABLE READ",
            Self::Serializable => "SERIALIZABLE",
        }
    }
}

/// One migration that a transaction shall be fenced for.
#[derive(Clone, Debug)]
#[doc(hidden)]
pub struct Pin {
    pub(crate) name: Arc<str>,
    /// The position that the caller believes in.
    pub(crate) position: Position,
}

#[cfg(feature = "postgres")]
impl Pin {
    /// The advisory lock of a migration: `xxh3_64("dualwrite:" + name)`, as a signed number.
    pub(crate) fn lock_key(name: &str) -> i64 {
        xxhash_rust::xxh3::xxh3_64(format!("dualwrite:{name}").as_bytes()) as i64
    }
}

/// How a fenced transaction begins.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub struct Begin<'p> {
    pub pins: &'p [Pin],
    pub isolation: Isolation,
    /// Sets the savepoint of the first mirror write right away, in the same message. Only where the
    /// positions are found as the pins say.
    pub savepoint: bool,
}

impl<'p> Begin<'p> {
    /// At the usual level, without a savepoint.
    pub(crate) fn plain(pins: &'p [Pin]) -> Self {
        Self { pins, isolation: Isolation::ReadCommitted, savepoint: false }
    }

    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    pub(super) fn push_savepoint(self, sql: &mut String) {
        if self.savepoint {
            sql.push(';');
            sql.push_str(SAVEPOINT);
        }
    }
}

/// Before a mirror write whose failure would be forgiven.
pub(crate) const SAVEPOINT: &str = "SAVEPOINT dualwrite_mirror";

/// What taking the fence found.
#[derive(Debug)]
#[doc(hidden)]
pub enum Fenced {
    /// The positions are as the pins say, and the savepoint is set if it was asked for.
    Confirmed,
    /// The positions in force, in the order of the pins; `None` where there is no such migration.
    /// `watched`: a trigger records writes that do not bear the mark of a fenced transaction.
    Read { positions: Vec<Option<Position>>, watched: bool },
    /// Some position is another one; the transaction was rolled back.
    Moved,
}

/// Reads the positions of all pins inside the transaction that holds their fences.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub(super) async fn read_positions<DB: Backend>(
    conn: &mut DB::Connection,
    pins: &[Pin],
    lock: &str,
    mark: &'static str,
) -> sqlx::Result<Fenced> {
    let mut found = Vec::with_capacity(pins.len());
    let mut watched = false;
    let sql =
        format!("SELECT stage, ramp, epoch, watched FROM dualwrite_migration WHERE name = ?{lock}");
    for pin in pins {
        let rows = DB::Adapter::fetch(conn, &sql, &[SqlValue::from(&*pin.name)]).await?;
        found.push(rows.first().map(|row| position_of(row, 0)).transpose()?);
        watched |= matches!(rows.first(), Some(row) if row.integer(3)? != 0);
    }
    if watched {
        DB::Adapter::run(conn, mark).await?;
    }
    Ok(Fenced::Read { positions: found, watched })
}
