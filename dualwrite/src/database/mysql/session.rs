//! The session of a transaction that the library began, for MySQL and MariaDB.
//!
//! The server rolls a whole transaction back by itself (1213; 1205 with `innodb_rollback_on_timeout`, 1020 with
//! `innodb_snapshot_isolation`), and many statements commit it (DDL, `LOCK TABLES`, `BEGIN`); the connection then
//! goes on without the fence. So from the message that begins the session is read-only and does not commit by
//! itself, which the transaction under way does not mind. After an end that a statement asked for, every write fails
//! (1792). After one that the server decided on, MariaDB forgets to take over the session's mode: what follows is then
//! in a transaction that nobody commits. The message that commits releases a savepoint of ours first, which is gone
//! with its transaction (1305).

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{MySql, MySqlConnection, Row};
use sqlx_core::transaction::TransactionManager;
use tokio::runtime::Handle;

use crate::clock;
use crate::database::mysql::trigger;
use crate::database::mysql::{Manager, MySqlAdapter, NO_SUCH_SAVEPOINT, number};
use crate::database::sealed::{Adapter, NotCommitted};
use crate::database::{on_unsure, safe};

/// Whom a session waits for; both servers have this view, MariaDB since 10.6.
pub(super) const HOLDERS: &str = "SELECT CAST(w.blocking_pid AS SIGNED), CAST(p.USER AS CHAR), NULL, \
     CAST(p.HOST AS CHAR), CAST(LOWER(p.COMMAND) AS CHAR), CAST(TIME_TO_SEC(w.blocking_trx_age) AS SIGNED) \
     FROM sys.innodb_lock_waits w LEFT JOIN information_schema.PROCESSLIST p ON p.ID = w.blocking_pid \
     WHERE w.waiting_pid = ? ORDER BY w.blocking_trx_started, w.blocking_pid LIMIT 10";

/// What a SET of the message that begins ends with. Each of the two servers takes the other's comment for one. What the
/// session was is kept in it.
pub(super) const GUARD: &str = "@dualwrite_autocommit=@@autocommit,SESSION autocommit=0,\
     /*M!50500 @dualwrite_read_only=@@tx_read_only,SESSION tx_read_only=1*/\
     /*!50720 @dualwrite_read_only=@@transaction_read_only,SESSION transaction_read_only=1*/;\
     SAVEPOINT dualwrite_tx";
/// After the end of the transaction.
const UNGUARD: &str = ";SET SESSION autocommit=@dualwrite_autocommit,\
     /*M!50500 SESSION tx_read_only=@dualwrite_read_only*/\
     /*!50720 SESSION transaction_read_only=@dualwrite_read_only*/";

/// Also what a statement waits that was dropped in the middle; then the connection is closed.
const ABANDON_LIMIT: Duration = Duration::from_secs(5);

pub(super) async fn commit(
    conn: &mut PoolConnection<MySql>,
    marked: bool,
) -> Result<(), NotCommitted> {
    let unmark = if marked { format!(";{}", trigger::UNMARK) } else { String::new() };
    let sql = format!("RELEASE SAVEPOINT dualwrite_tx{unmark};COMMIT{UNGUARD}");
    match MySqlAdapter::run_text(conn, sql).await {
        Ok(()) => {
            ended(conn);
            Ok(())
        }
        Err(error) if MySqlAdapter::is_transaction_gone(&error) => {
            // Nobody knows what else was done to the session.
            conn.close_on_drop();
            Err(NotCommitted::Ended(Some(error)))
        }
        Err(error) => Err(NotCommitted::Failed(error)),
    }
}

pub(super) async fn roll_back(conn: &mut PoolConnection<MySql>) -> sqlx::Result<()> {
    let rolled_back = match MySqlAdapter::run_text(conn, format!("ROLLBACK{UNGUARD}")).await {
        // The answer to a nested transaction that was dropped before.
        Err(error) if number(&error) == Some(NO_SUCH_SAVEPOINT) => {
            MySqlAdapter::run_text(conn, format!("ROLLBACK{UNGUARD}")).await
        }
        rolled_back => rolled_back,
    };
    rolled_back.map(|()| ended(conn))
}

/// sqlx counts transactions, and only forgets one for a statement of its own: this one it sends with whatever
/// comes next, and it does nothing.
fn ended(conn: &mut PoolConnection<MySql>) {
    match Manager::get_transaction_depth(conn) {
        1 => Manager::start_rollback(conn),
        _ => conn.close_on_drop(), // somebody lost count
    }
}

/// Rolls back in the background, for the session must be made what it was before anybody else gets it.
pub(super) fn abandon(mut conn: PoolConnection<MySql>) {
    let Ok(runtime) = Handle::try_current() else {
        conn.close_on_drop();
        return;
    };
    runtime.spawn(async move {
        let restored = clock::limit(ABANDON_LIMIT, on_unsure(restore(&mut conn))).await;
        if !matches!(restored, Ok(Ok(Ok(true)))) {
            conn.close_on_drop();
        }
    });
}

/// Whether the connection is as it was before.
async fn restore(conn: &mut PoolConnection<MySql>) -> sqlx::Result<bool> {
    roll_back(conn).await?;
    is_in_step(conn).await
}

/// What was dropped may have been in the middle of a statement, whose answers would be taken for those to ours:
/// so they must bear a number.
pub(super) async fn is_in_step(conn: &mut MySqlConnection) -> sqlx::Result<bool> {
    static NUMBER: AtomicI64 = AtomicI64::new(0x6475_616c);
    let number = NUMBER.fetch_add(1, Relaxed);
    let row = sqlx::raw_sql(safe(format!("SELECT {number}"))).fetch_one(&mut *conn).await?;
    Ok(row.try_get::<i64, _>(0)? == number)
}
