//! The fence in a transaction that somebody else began, for MySQL and MariaDB.
//!
//! A locking read sees the migration's row as it is. Where the transaction has a snapshot (`REPEATABLE READ`), a plain
//! read sees the row by that one: where the two differ, the snapshot is older than the last change of the position. The
//! session is left as it is, for it can be made read-only and without autocommit, as that of a transaction of ours
//! is, only by whoever makes it what it was after the end.

use sqlx::{MySql, MySqlConnection};

use crate::database::mysql::{MySqlAdapter, NO_SUCH_SAVEPOINT, number};
use crate::database::sealed::Adapter as _;
use crate::database::{Adoption, Found, Pin, read_positions};

pub(super) async fn take_fence(conn: &mut MySqlConnection, pins: &[Pin]) -> sqlx::Result<Adoption> {
    match check(conn).await {
        Ok(()) => {}
        Err(error) if number(&error) == Some(NO_SUCH_SAVEPOINT) => return Ok(Adoption::Ended),
        Err(error) => return Err(error),
    }
    let now = read_positions::<MySql>(conn, pins, " LOCK IN SHARE MODE").await?;
    let seen = read_positions::<MySql>(conn, pins, "").await?;
    let marks = |found: &[Option<Found>]| -> Vec<_> {
        found.iter().map(|found| found.map(|found| found.mark())).collect()
    };
    Ok(if marks(&now) == marks(&seen) { Adoption::Held } else { Adoption::Behind })
}

/// A savepoint outlives its statement only inside a transaction.
pub(super) async fn check(conn: &mut MySqlConnection) -> sqlx::Result<()> {
    MySqlAdapter::run(conn, "SAVEPOINT dualwrite_adopt;RELEASE SAVEPOINT dualwrite_adopt").await
}
