//! The fence of exact mode in one database: writes hold it shared from before they read the row of authority to their
//! end, a change of the row holds it alone. And the snapshot in which a read and the row are seen together.

use sqlx::SqlSafeStr as _;
use sqlx_core::transaction::TransactionManager as _;

use crate::database::sealed::Adapter as _;
use crate::database::{Backend, Dialect, SqlRow, SqlValue, safe};
use crate::stages::bucket::salt;

const ROW: &str = "SELECT side, is_primary, is_open, recording, copied, epoch, token, {now} - changed_at, \
                   closed, closed_by, closed_because, closed_until \
                   FROM dualwrite_authority WHERE migration = ?";

/// Which of the three ways a database has.
enum Way {
    /// A lock by number, whose queue is fair: a lock of the row, of which many may be shared, can be passed for ever.
    Advisory,
    /// The row itself.
    Row,
    /// There is one writer at a time.
    Transaction,
}

fn way(dialect: &Dialect) -> Way {
    match (dialect.numbered, dialect.on_duplicate_key) {
        (true, _) => Way::Advisory,
        (_, true) => Way::Row,
        _ => Way::Transaction,
    }
}

fn number(migration: &str) -> i64 {
    // Another number than any lock that is made of the name alone.
    (salt(&format!("dualwrite authority {migration}")) >> 1) as i64
}

/// The lock that a transaction takes when it begins, before [`hold`]; `None` where the row is the lock.
pub(crate) fn lock<DB: Backend>(migration: &str) -> Option<i64> {
    matches!(way(&DB::Adapter::DIALECT), Way::Advisory).then(|| number(migration))
}

/// Reads the row, in a transaction that has begun with [`lock`], and holds it against changes to the end of it. The lock
/// came in a statement of its own: the one that reads has a snapshot that is younger.
pub(crate) async fn hold<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
) -> sqlx::Result<Option<SqlRow>> {
    let end = match way(&DB::Adapter::DIALECT) {
        Way::Row => " LOCK IN SHARE MODE",
        Way::Advisory | Way::Transaction => "",
    };
    one::<DB>(conn, &format!("{ROW}{end}"), migration).await
}

/// The same, and raises the versions of these keys where the row takes writes and records them, in one statement. Answers
/// with the row, and after its columns, once for each key, the key and its version. `None` where the database cannot.
pub(crate) async fn hold_and_raise<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    keys: &[&str],
) -> sqlx::Result<Option<Vec<SqlRow>>> {
    if !matches!(way(&DB::Adapter::DIALECT), Way::Advisory) {
        return Ok(None);
    }
    let places = vec!["(CAST(? AS text))"; keys.len()].join(", ");
    // In the order of bytes, as everybody locks keys.
    let sql = format!(
        "WITH a AS MATERIALIZED (SELECT side, is_primary, is_open, recording, copied, epoch, token, {{now}} - changed_at, \
         closed, closed_by, closed_because, closed_until FROM dualwrite_authority WHERE migration = ?), raised AS (\
         INSERT INTO dualwrite_version (migration, key_text, version, gone) \
         SELECT ?, k.key_text, 1, 0 FROM (VALUES {places}) k (key_text), a \
         WHERE a.is_primary = 1 AND a.is_open = 1 AND a.recording = 1 AND a.closed = 0 ORDER BY k.key_text COLLATE \"C\" \
         ON CONFLICT (migration, key_text) DO UPDATE SET version = dualwrite_version.version + 1, gone = 0 \
         RETURNING key_text, version) SELECT a.*, raised.key_text, raised.version FROM a LEFT JOIN raised ON true"
    );
    let mut values: Vec<SqlValue> = vec![migration.into(), migration.into()];
    values.extend(keys.iter().map(|key| SqlValue::from(*key)));
    DB::Adapter::fetch(conn, &sql, &values).await.map(Some)
}

/// Waits for writes in flight, for about a second, and reads the row. A lock timeout where they did not end.
pub(crate) async fn hold_alone<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
) -> sqlx::Result<Option<SqlRow>> {
    match way(&DB::Adapter::DIALECT) {
        Way::Advisory => {
            DB::Adapter::run(conn, "SET LOCAL lock_timeout='1s'").await?;
            let lock = "SELECT pg_advisory_xact_lock(?)";
            DB::Adapter::execute(conn, lock, &[number(migration).into()]).await?;
            one::<DB>(conn, ROW, migration).await
        }
        Way::Row => {
            let wait =
                "SET @dualwrite_wait=@@innodb_lock_wait_timeout,SESSION innodb_lock_wait_timeout=1";
            DB::Adapter::run(conn, wait).await?;
            let row = one::<DB>(conn, &format!("{ROW} FOR UPDATE"), migration).await;
            DB::Adapter::run(conn, "SET SESSION innodb_lock_wait_timeout=@dualwrite_wait").await?;
            row
        }
        Way::Transaction => one::<DB>(conn, ROW, migration).await,
    }
}

/// Reads the row as the connection sees it.
pub(crate) async fn read_authority<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
) -> sqlx::Result<Option<SqlRow>> {
    one::<DB>(conn, ROW, migration).await
}

async fn one<DB: Backend>(
    conn: &mut DB::Connection,
    sql: &str,
    migration: &str,
) -> sqlx::Result<Option<SqlRow>> {
    let rows = DB::Adapter::fetch(conn, sql, &[migration.into()]).await?;
    Ok(rows.into_iter().next())
}

/// Begins a transaction that reads alone, all of it in one snapshot. Its first statement makes the snapshot.
pub(crate) async fn begin_snapshot<DB: Backend>(conn: &mut DB::Connection) -> sqlx::Result<()> {
    let sql = match way(&DB::Adapter::DIALECT) {
        Way::Advisory => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        Way::Row => {
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
        }
        Way::Transaction => "BEGIN",
    };
    DB::TransactionManager::begin(conn, Some(safe(sql).into_sql_str())).await
}
