//! PostgreSQL: an advisory lock, shared by writers and exclusive for a change of the position.
//!
//! The stage must be read in a statement after the one that takes the lock: one statement has one
//! snapshot, taken before the wait. Both are in one procedure, `dualwrite_fence`, whose statements
//! have their own snapshots under READ COMMITTED, and whose plans the server keeps; it is called in the
//! message that begins the transaction, so the fence costs no round trip of its own.

mod trigger;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::postgres::{PgListener, PgPoolOptions, PgRow};
use sqlx::{Column, PgConnection, Pool, Postgres, Row, TypeInfo};
use sqlx_core::transaction::TransactionManager;

use super::sealed::Adapter;
use super::{
    Backend, Begin, CONTROL_CONNECTIONS, Dialect, Fenced, Isolation, Pin, SqlRow, SqlSafeStr,
    SqlValue, Watched, bind, install_error, migrator, safe, typed_values,
};
use crate::clock;
use crate::control::Watch;
use crate::error::{BoxError, Error, ErrorKind};

const SCHEMA: &str = include_str!("../../migrations/postgres/0001_control.sql");
const CHANNEL: &str = "dualwrite";
const INSTALL_WAITS: u32 = 300;
const INSTALL_WAIT: Duration = Duration::from_millis(100);

/// SQLSTATEs by which the fence says that the epoch is another one: of `dualwrite_fence`, and of the
/// division by zero above READ COMMITTED.
const MOVED: &str = "DW001";
/// By which `dualwrite_fence` says that a plain `BEGIN` has begun above READ COMMITTED.
const OTHER_LEVEL: &str = "DW002";
/// Some server has another default level than READ COMMITTED: from then on the level is said each time,
/// which costs the server a little.
static DEFAULTS_DIFFER: AtomicBool = AtomicBool::new(false);
const DIVISION_BY_ZERO: &str = "22012";
const LOCK_NOT_AVAILABLE: &str = "55P03";

type Manager = <Postgres as sqlx::Database>::TransactionManager;

impl Backend for Postgres {
    type Adapter = PostgresAdapter;
}

/// Speaks to the database.
#[derive(Debug)]
#[doc(hidden)]
pub struct PostgresAdapter;

impl Adapter for PostgresAdapter {
    type Db = Postgres;

    const DIALECT: Dialect = Dialect {
        now: "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
        quote: '"',
        numbered: true,
        null_has_a_type: true,
        on_duplicate_key: false,
        // Excludes whoever changes or deletes the row, and not those who refer to it by a foreign key.
        for_update: " FOR NO KEY UPDATE",
        for_update_skip: " FOR NO KEY UPDATE SKIP LOCKED",
        expand_row_comparison: false,
        savepoint_replaces: false,
        server: true,
    };

    const PRESSURE: Option<&'static str> = Some(
        "SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
         AND wait_event_type = 'Lock'), (SELECT count(*) FROM pg_stat_activity \
         WHERE datname = current_database() AND state = 'active'), \
         (SELECT (extract(epoch FROM max(replay_lag)) * 1000000)::bigint FROM pg_stat_replication)",
    );

    const LOG_WRITTEN: Option<&'static str> =
        Some("SELECT 'wal', (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint::text");

    const ESTIMATE: Option<&'static str> =
        Some("SELECT reltuples::bigint FROM pg_class WHERE oid = '{table}'::regclass");

    const RELAX: Option<&'static str> = Some("SET LOCAL synchronous_commit = off");

    const FULL_JOIN: bool = true;

    fn digest(values: &[String]) -> Option<(String, String)> {
        let row = format!("hash_record_extended(ROW({}), 0)", values.join(", "));
        let folded = format!("COALESCE(bit_xor({row}), 0)");
        Some((row, folded))
    }

    fn spelled(value: &str) -> String {
        format!("quote_nullable({value})")
    }

    async fn execute(conn: &mut PgConnection, sql: &str, values: &[SqlValue]) -> sqlx::Result<u64> {
        let sql = safe(Self::DIALECT.statement(sql));
        Ok(bind!(sqlx::query(sql), values).execute(conn).await?.rows_affected())
    }

    async fn fetch(
        conn: &mut PgConnection,
        sql: &str,
        values: &[SqlValue],
    ) -> sqlx::Result<Vec<SqlRow>> {
        let sql = safe(Self::DIALECT.statement(sql));
        let rows = bind!(sqlx::query(sql), values).fetch_all(conn).await?;
        rows.iter().map(|row| decode(row, row.len())).collect()
    }

    typed_values!();

    async fn run(conn: &mut PgConnection, sql: &'static str) -> sqlx::Result<()> {
        sqlx::raw_sql(sql).execute(conn).await.map(drop)
    }

    async fn run_text(conn: &mut PgConnection, sql: String) -> sqlx::Result<()> {
        sqlx::raw_sql(safe(sql)).execute(conn).await.map(drop)
    }

    async fn begin_fenced(conn: &mut PgConnection, begin: Begin<'_>) -> sqlx::Result<Fenced> {
        let Begin { pins, isolation, .. } = begin;
        let sql = fenced_begin(begin);
        match Manager::begin(conn, Some(safe(sql).into_sql_str())).await {
            Ok(()) => Ok(Fenced::Confirmed),
            Err(error) if is_moved(&error, isolation) => {
                DEFAULTS_DIFFER.fetch_or(has_code(&error, OTHER_LEVEL), Relaxed);
                Self::run(conn, "ROLLBACK").await?;
                if isolation != Isolation::ReadCommitted {
                    return Ok(Fenced::Moved);
                }
                // Under the locks the positions stand still, so they can be read at leisure.
                let sql = locked_begin(pins);
                Manager::begin(conn, Some(safe(sql).into_sql_str())).await?;
                Self::read_pinned(conn, pins).await
            }
            Err(error) => Err(error),
        }
    }

    async fn begin_exclusive(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
        let key = Pin::lock_key(name);
        let sql = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED;SET LOCAL lock_timeout='1s';\
             SELECT pg_advisory_xact_lock({key});\
             SELECT 1 FROM dualwrite_migration WHERE name='{name}' FOR UPDATE"
        );
        Manager::begin(conn, Some(safe(sql).into_sql_str())).await
    }

    async fn read_pinned(conn: &mut PgConnection, pins: &[Pin]) -> sqlx::Result<Fenced> {
        super::read_positions::<Postgres>(conn, pins, "", trigger::MARK).await
    }

    async fn unmark(_conn: &mut PgConnection) -> sqlx::Result<()> {
        Ok(()) // the setting ends with the transaction
    }

    fn triggers(watched: &Watched, create: bool) -> Vec<String> {
        if create { trigger::create(watched) } else { trigger::drop(watched) }
    }

    fn is_lock_timeout(error: &sqlx::Error) -> bool {
        has_code(error, LOCK_NOT_AVAILABLE)
    }

    fn is_savepoint_gone(_error: &sqlx::Error) -> bool {
        false
    }

    async fn check_alive(conn: &mut PgConnection) -> sqlx::Result<()> {
        Self::run(conn, "SELECT 1").await
    }

    async fn notify(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
        let values = [SqlValue::from(CHANNEL), SqlValue::from(name)];
        Self::fetch(conn, "SELECT CAST(pg_notify(?, ?) AS TEXT)", &values).await.map(drop)
    }

    async fn watch(pool: &Pool<Postgres>) -> sqlx::Result<Option<Box<dyn Watch>>> {
        // A connection of its own: the listener keeps it for good.
        let options = (*pool.connect_options()).clone();
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(Some(Box::new(Listener(listener))))
    }

    fn control_pool(pool: &Pool<Postgres>) -> Pool<Postgres> {
        let options = (*pool.connect_options()).clone();
        PgPoolOptions::new().max_connections(CONTROL_CONNECTIONS).connect_lazy_with(options)
    }

    fn install(pool: &Pool<Postgres>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(install(pool))
    }
}

/// BEGIN, the fence, and the check that the epochs are the pins'; names are validated (letters, digits,
/// `.`, `_`, `-`).
///
/// Above READ COMMITTED the whole transaction has one snapshot, taken before the wait for an advisory
/// lock would end; so there the row itself is locked, and a change meanwhile is a serialization failure.
fn fenced_begin(begin: Begin<'_>) -> String {
    let Begin { pins, isolation, .. } = begin;
    let advisory = isolation == Isolation::ReadCommitted;
    let mut sql = match advisory && !DEFAULTS_DIFFER.load(Relaxed) {
        true => "BEGIN".to_owned(),
        false => format!("BEGIN ISOLATION LEVEL {}", isolation.as_sql()),
    };
    for pin in pins {
        let (name, epoch) = (&pin.name, pin.position.epoch);
        let row = format!("FROM dualwrite_migration WHERE name='{name}' AND epoch={epoch}");
        let key = Pin::lock_key(name);
        let _ = match advisory {
            true => write!(sql, ";CALL dualwrite_fence({key},'{name}',{epoch})"),
            false => write!(sql, ";SELECT 1/count(*) FROM (SELECT 1 {row} FOR SHARE) fence"),
        }; // a String takes all
    }
    if !advisory {
        sql.push(';');
        sql.push_str(trigger::MARK);
    }
    begin.push_savepoint(&mut sql);
    sql
}

/// BEGIN and the locks alone.
fn locked_begin(pins: &[Pin]) -> String {
    let mut sql = "BEGIN ISOLATION LEVEL READ COMMITTED".to_owned();
    for pin in pins {
        let _ = write!(sql, ";SELECT pg_advisory_xact_lock_shared({})", Pin::lock_key(&pin.name));
    }
    sql
}

fn is_moved(error: &sqlx::Error, isolation: Isolation) -> bool {
    let serialization = isolation != Isolation::ReadCommitted && has_code(error, "40001");
    serialization
        || has_code(error, MOVED)
        || has_code(error, OTHER_LEVEL)
        || has_code(error, DIVISION_BY_ZERO)
}

struct Listener(PgListener);

impl Watch for Listener {
    fn changed(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            // `None` means that the connection was lost and made anew: notifications may be missing,
            // which is a change as far as we know.
            let heard = self.0.try_recv().await;
            heard.map(drop).map_err(|error| Error::database("listening for changes", error))
        })
    }
}

/// sqlx's own lock waits inside a snapshot, which deadlocks with CREATE INDEX CONCURRENTLY in another
/// migration of the same database; polling holds nothing while it waits.
async fn install(pool: &Pool<Postgres>) -> Result<(), Error> {
    let failed = |error| Error::database("making the control tables", error);
    let key = SqlValue::from(Pin::lock_key("\u{0}install"));
    let mut conn = pool.acquire().await.map_err(failed)?;
    let mut waits = 0;
    loop {
        let sql = "SELECT CASE WHEN pg_try_advisory_lock(?) THEN 1::bigint ELSE 0::bigint END";
        let rows = PostgresAdapter::fetch(&mut conn, sql, std::slice::from_ref(&key)).await;
        let taken = rows.and_then(|rows| rows[0].integer(0)).map_err(failed)?;
        if taken == 1 {
            break;
        }
        waits += 1;
        if waits > INSTALL_WAITS {
            let message = "another process has been making the control tables for too long";
            return Err(Error::new(ErrorKind::Timeout, message));
        }
        clock::sleep(INSTALL_WAIT).await;
    }
    // A dropped or failed installation must not keep the session's lock.
    conn.close_on_drop();
    let mut migrator = migrator(SCHEMA);
    migrator.set_locking(false);
    migrator.run_direct(None, &mut *conn, false).await.map_err(install_error)
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|found| found == code)
}

/// The first columns of a row.
fn decode(row: &PgRow, count: usize) -> sqlx::Result<SqlRow> {
    let mut values = Vec::with_capacity(count);
    for column in row.columns().iter().take(count) {
        let index = column.ordinal();
        values.push(match column.type_info().name() {
            "INT8" => SqlValue::Integer(row.try_get(index)?),
            "INT4" => SqlValue::Integer(row.try_get::<Option<i32>, _>(index)?.map(i64::from)),
            "INT2" => SqlValue::Integer(row.try_get::<Option<i16>, _>(index)?.map(i64::from)),
            "UUID" => SqlValue::Uuid(row.try_get(index)?),
            _ => SqlValue::Text(row.try_get(index)?),
        });
    }
    Ok(SqlRow(values))
}
