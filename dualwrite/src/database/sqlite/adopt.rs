//! The fence in a transaction that somebody else began, for SQLite: the lock of its only writer.
//!
//! A transaction that has read already gets the lock only where nobody has written since; so what it sees is
//! what is there, in every case.

use sqlx::SqliteConnection;
use sqlx_core::transaction::TransactionManager;

use crate::database::Adoption;
use crate::database::sealed::{Adapter as _, NotCommitted};
use crate::database::sqlite::guard::{self, Guarded};
use crate::database::sqlite::{Manager, SqliteAdapter, trigger};

/// SQLITE_BUSY_SNAPSHOT.
const BUSY_SNAPSHOT: &str = "517";

pub(super) async fn take_fence(conn: &mut SqliteConnection) -> sqlx::Result<Adoption> {
    // There is no other question for it: inside a transaction it fails, and changes nothing.
    if SqliteAdapter::run(conn, "BEGIN").await.is_ok() {
        return SqliteAdapter::run(conn, "ROLLBACK").await.map(|()| Adoption::Ended);
    }
    match SqliteAdapter::run(conn, "UPDATE dualwrite_migration SET epoch = epoch WHERE 0").await {
        Ok(()) => Ok(Adoption::Held),
        Err(error) if has_code(&error, BUSY_SNAPSHOT) => Ok(Adoption::Behind),
        Err(error) => Err(error),
    }
}

/// The hooks of the connection take the transaction under way for this one from now on.
pub(super) async fn guard(conn: &mut SqliteConnection, guarded: &Guarded) -> sqlx::Result<()> {
    let mut sql = "SELECT 1".to_owned();
    guarded.push(&mut sql);
    match SqliteAdapter::run_text(conn, sql.clone()).await {
        Err(error) if guard::is_missing(&error) => {
            guard::install(conn).await?;
            SqliteAdapter::run_text(conn, sql).await
        }
        guarded => guarded,
    }
}

pub(super) async fn commit(
    conn: &mut SqliteConnection,
    guarded: Option<&Guarded>,
    marked: bool,
) -> Result<(), NotCommitted> {
    if let Some(lost) = guarded.filter(|guarded| guarded.is_lost()) {
        return Err(NotCommitted::Ended(forget(conn, lost).await.err()));
    }
    if marked {
        SqliteAdapter::run(conn, trigger::UNMARK).await.map_err(NotCommitted::Failed)?;
    }
    Manager::commit(conn).await.map_err(NotCommitted::Failed)?;
    guarded.into_iter().for_each(Guarded::ending);
    Ok(())
}

pub(super) async fn roll_back(
    conn: &mut SqliteConnection,
    guarded: Option<&Guarded>,
) -> sqlx::Result<()> {
    if let Some(lost) = guarded.filter(|guarded| guarded.is_lost()) {
        return forget(conn, lost).await;
    }
    Manager::rollback(conn).await?;
    guarded.into_iter().for_each(Guarded::ending);
    Ok(())
}

/// After a loss sqlx believes in a transaction that is gone. Its owner gets one that is not committed, whatever the
/// owner does, so that what follows the end is not stored.
async fn forget(conn: &mut SqliteConnection, guarded: &Guarded) -> sqlx::Result<()> {
    let forgotten = guard::begin_again(conn).await;
    guarded.refuse();
    forgotten?;
    Manager::rollback(conn).await
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|found| found == code)
}
