//! Makes the control tables, of several processes that start at once by one.

use std::time::Duration;

use sqlx::{Pool, Postgres};
use sqlx_core::transaction::TransactionManager as _;

use super::{Manager, PostgresAdapter, SCHEMA};
use crate::clock;
use crate::database::sealed::Adapter as _;
use crate::database::{SqlValue, install_error, is_installed, migrator};
use crate::error::{Error, ErrorKind};

/// What the installation locks.
const INSTALL_LOCK: i64 = 0x6475_616c_7772_6974;
const INSTALL_WAITS: u32 = 300;
const INSTALL_WAIT: Duration = Duration::from_millis(100);

/// sqlx's own lock waits inside a snapshot, which deadlocks with CREATE INDEX CONCURRENTLY in another
/// migration of the same database; polling holds nothing while it waits.
pub(super) async fn install(pool: &Pool<Postgres>) -> Result<(), Error> {
    let failed = |error| Error::database("making the control tables", error);
    let key = SqlValue::from(INSTALL_LOCK);
    let mut conn = pool.acquire().await.map_err(failed)?;
    let mut migrator = migrator(SCHEMA);
    if is_installed(&migrator, &mut *conn).await {
        return Ok(());
    }
    // Behind a pooler a lock of the session might stay with it for ever; so all is one transaction.
    let mut waits = 0;
    loop {
        Manager::begin(&mut conn, None).await.map_err(failed)?;
        let sql = "SELECT CASE WHEN pg_try_advisory_xact_lock(?) THEN 1::bigint ELSE 0::bigint END";
        let rows = PostgresAdapter::fetch(&mut conn, sql, std::slice::from_ref(&key)).await;
        let taken = rows.and_then(|rows| rows[0].integer(0)).map_err(failed)?;
        if taken == 1 {
            break;
        }
        Manager::rollback(&mut conn).await.map_err(failed)?;
        waits += 1;
        if waits > INSTALL_WAITS {
            let message = "another process has been making the control tables for too long";
            return Err(Error::new(ErrorKind::Timeout, message));
        }
        clock::sleep(INSTALL_WAIT).await;
    }
    // A dropped or failed installation must not keep its lock.
    conn.close_on_drop();
    migrator.set_locking(false);
    migrator.run_direct(None, &mut *conn, false).await.map_err(install_error)?;
    Manager::commit(&mut conn).await.map_err(failed)
}
