//! The fence, as its callers see it: what a transaction is pinned to, and what taking the fence found.

use std::sync::Arc;

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
use crate::database::sealed::Adapter as _;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
use crate::database::{Backend, SqlRow, SqlValue, position_of};
use crate::stages::bucket::salt;
use crate::stages::lineage::{Mark, Token};
use crate::stages::position::Position;

/// The isolation level of a fenced transaction on PostgreSQL and MySQL. SQLite, with a single writer at
/// a time, is always serializable.
///
/// ```
/// assert_eq!(dualwrite::Isolation::default(), dualwrite::Isolation::Usual);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isolation {
    /// On PostgreSQL the default of the session, as with sqlx's own `begin`: `READ COMMITTED` unless the
    /// server, the database, the role or the connection sets `default_transaction_isolation`. On MySQL
    /// and MariaDB `READ COMMITTED`: at their own default, gap locks make unrelated writers of
    /// neighbouring keys deadlock.
    #[default]
    Usual,
    /// Each statement sees what is committed when it begins.
    ReadCommitted,
    /// One snapshot for the whole transaction. On PostgreSQL a write that meets a newer one fails with
    /// `Serialization`.
    RepeatableRead,
    /// As if one transaction ran after the other; any statement, and the commit, may fail with
    /// `Serialization`.
    Serializable,
}

impl Isolation {
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    pub(crate) const fn as_sql(self) -> &'static str {
        match self {
            Self::Usual | Self::ReadCommitted => "READ COMMITTED",
            Self::RepeatableRead => "REPEATABLE READ",
            Self::Serializable => "SERIALIZABLE",
        }
    }
}

/// How many numbers are tried for a new fence. With a thousand migrations, one is taken with a chance of one in
/// two million.
const FENCE_NUMBERS: u32 = 8;

/// One migration that a transaction shall be fenced for.
#[derive(Clone, Debug)]
#[doc(hidden)]
pub struct Pin {
    pub(crate) name: Arc<str>,
    /// The number of the migration's fence, from its row.
    pub(crate) fence: u64,
    /// The position that the caller believes in.
    pub(crate) position: Position,
    pub(crate) token: Token,
}

impl Pin {
    /// The numbers that the fence of a new migration may get, of 31 bits: the first that no other migration has.
    /// They are made from the name, so that all instances try the same ones.
    pub(crate) fn fences(name: &str) -> impl Iterator<Item = u64> {
        let again = (1..FENCE_NUMBERS).map(move |number| salt(&format!("{name}#{number}")) >> 33);
        std::iter::once(salt(name) >> 33).chain(again)
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { epoch: self.position.epoch, token: self.token }
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
    /// The number of a lock that is taken, shared, in the same message, on PostgreSQL.
    pub lock: Option<i64>,
}

impl<'p> Begin<'p> {
    /// At the usual level, without a savepoint.
    #[cfg(feature = "sqlite")]
    pub(crate) fn plain(pins: &'p [Pin]) -> Self {
        Self { pins, isolation: Isolation::default(), savepoint: false, lock: None }
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
    /// What is in force, in the order of the pins; `None` where there is no such migration. The transaction
    /// is marked if a trigger looks for that.
    Read(Vec<Option<Found>>),
    /// Positions keep changing; the transaction was rolled back.
    Moved,
    /// The rows are there, and the fence of one of them is not; the transaction was rolled back.
    Lost,
}

/// What taking the fence found in a transaction that somebody else began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub enum Adoption {
    /// The fence of every pin is held until the transaction ends.
    Held,
    /// There is no transaction any more, or it has failed.
    Ended,
    /// It has written or locked rows before.
    Late,
    /// Its snapshot is older than the position in force.
    Behind,
}

/// The position in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub struct Found {
    pub(crate) position: Position,
    pub(crate) token: Token,
    /// A trigger records writes that do not bear the mark of a fenced transaction.
    pub(crate) watched: bool,
}

impl Found {
    pub(crate) fn mark(&self) -> Mark {
        Mark { epoch: self.position.epoch, token: self.token }
    }
}

/// Reads the positions of all pins.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub(super) async fn read_positions<DB: Backend>(
    conn: &mut DB::Connection,
    pins: &[Pin],
    lock: &str,
) -> sqlx::Result<Vec<Option<Found>>> {
    let mut positions = Vec::with_capacity(pins.len());
    let sql = format!(
        "SELECT stage, ramp, epoch, watched, token, closed FROM dualwrite_migration WHERE name = ?{lock}"
    );
    for pin in pins {
        let rows = DB::Adapter::fetch(conn, &sql, &[SqlValue::from(&*pin.name)]).await?;
        let found = |row: &SqlRow| -> sqlx::Result<Found> {
            Ok(Found {
                position: position_of(row, 0, 5)?,
                watched: row.integer(3)? != 0,
                token: Token(row.unsigned(4)?),
            })
        };
        positions.push(rows.first().map(found).transpose()?);
    }
    Ok(positions)
}

/// The same inside the transaction that holds their fences, which gets the marks where triggers look for them.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub(super) async fn read_pinned<DB: Backend>(
    conn: &mut DB::Connection,
    pins: &[Pin],
    lock: &str,
    mark: fn(u64) -> String,
) -> sqlx::Result<Fenced> {
    let found = read_positions::<DB>(conn, pins, lock).await?;
    // One for each migration: the trigger of another one records what this transaction writes to its table.
    for (pin, found) in pins.iter().zip(&found) {
        if found.is_some_and(|found| found.watched) {
            DB::Adapter::run_text(conn, mark(pin.fence)).await?;
        }
    }
    Ok(Fenced::Read(found))
}
