//! SQLite: one writer at a time, so `BEGIN IMMEDIATE` is the fence.

mod catalogue;
mod hazards;
mod trigger;

use std::fmt::Write as _;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::{Column, ConnectOptions as _, Pool, Row, Sqlite, SqliteConnection, TypeInfo, ValueRef};
use sqlx_core::transaction::TransactionManager;

use crate::clock;
use crate::control::Watch;
use crate::database::sealed::Adapter;
use crate::database::{
    Backend, Begin, Dialect, Fenced, NewTable, Pin, SqlRow, SqlSafeStr, SqlValue, Watched, bind,
    install_error, is_installed, migrator, safe, typed_values,
};
use crate::error::{BoxError, Error};
use crate::key::KeyKind;
use crate::preflight::form::{KeyForm, Unfit};
use crate::preflight::schema::{self, Table, TableName};
use crate::stages::hazard::Looked;

const SCHEMA: &str = include_str!("../../migrations/sqlite/0001_control.sql");
const INSTALL_ATTEMPTS: u32 = 10;

type Manager = <Sqlite as sqlx::Database>::TransactionManager;

impl Backend for Sqlite {
    type Adapter = SqliteAdapter;
}

/// Speaks to the database.
#[derive(Debug)]
#[doc(hidden)]
pub struct SqliteAdapter;

impl Adapter for SqliteAdapter {
    type Db = Sqlite;

    const DIALECT: Dialect = Dialect {
        now: "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
        quote: '"',
        numbered: false,
        null_has_a_type: false,
        on_duplicate_key: false,
        for_update: "",
        for_update_skip: "",
        expand_row_comparison: false,
        savepoint_replaces: false,
        wait_keeps_snapshot: false,
        identity: "''",
        server: false,
        interruption_breaks: false,
    };

    const LOG_WRITTEN: Option<&'static str> = None;

    const BATCH_SETTINGS: Option<&'static str> = None;

    const FULL_JOIN: bool = false;

    fn digest(_values: &[String]) -> Option<(String, String)> {
        None
    }

    fn spelled(value: &str) -> String {
        format!("quote({value})")
    }

    async fn execute(
        conn: &mut SqliteConnection,
        sql: &str,
        values: &[SqlValue],
    ) -> sqlx::Result<u64> {
        let sql = safe(Self::DIALECT.statement(sql));
        Ok(bind!(sqlx::query(sql), values).execute(conn).await?.rows_affected())
    }

    async fn fetch(
        conn: &mut SqliteConnection,
        sql: &str,
        values: &[SqlValue],
    ) -> sqlx::Result<Vec<SqlRow>> {
        let sql = safe(Self::DIALECT.statement(sql));
        let rows = bind!(sqlx::query(sql), values).fetch_all(conn).await?;
        rows.iter().map(|row| decode(row, row.len())).collect()
    }

    typed_values!();

    async fn run(conn: &mut SqliteConnection, sql: &'static str) -> sqlx::Result<()> {
        sqlx::raw_sql(sql).execute(conn).await.map(drop)
    }

    async fn run_text(conn: &mut SqliteConnection, sql: String) -> sqlx::Result<()> {
        sqlx::raw_sql(safe(sql)).execute(conn).await.map(drop)
    }

    async fn begin_fenced(conn: &mut SqliteConnection, begin: Begin<'_>) -> sqlx::Result<Fenced> {
        // One message to the connection's thread instead of two, as long as nothing has changed.
        match Manager::begin(conn, Some(safe(confirming_begin(begin)).into_sql_str())).await {
            Ok(()) => return Ok(Fenced::Confirmed),
            Err(error) if is_moved(&error) => Self::run(conn, "ROLLBACK").await?,
            Err(error) => return Err(error),
        }
        Manager::begin(conn, Some("BEGIN IMMEDIATE".into_sql_str())).await?;
        Self::read_pinned(conn, begin.pins).await
    }

    async fn begin_writing(conn: &mut SqliteConnection) -> sqlx::Result<()> {
        Manager::begin(conn, Some("BEGIN IMMEDIATE".into_sql_str())).await
    }

    async fn begin_exclusive(conn: &mut SqliteConnection, _name: &str) -> sqlx::Result<()> {
        Manager::begin(conn, Some("BEGIN IMMEDIATE".into_sql_str())).await
    }

    async fn read_pinned(conn: &mut SqliteConnection, pins: &[Pin]) -> sqlx::Result<Fenced> {
        super::read_pinned::<Sqlite>(conn, pins, "", trigger::mark).await
    }

    async fn unmark(conn: &mut SqliteConnection) -> sqlx::Result<()> {
        Self::run(conn, trigger::UNMARK).await
    }

    async fn triggers(
        conn: &mut SqliteConnection,
        watched: &Watched,
        create: bool,
    ) -> sqlx::Result<Vec<String>> {
        if !create {
            return Ok(trigger::drop(watched));
        }
        let table = watched.table_name().replace('"', "");
        let values = [SqlValue::from(&*table), SqlValue::from(&*table)];
        let rows = Self::fetch(conn, trigger::Unique::READ, &values).await?;
        Ok(trigger::create(watched, &trigger::Unique::of(&rows)?))
    }

    async fn hazards(
        conn: &mut SqliteConnection,
        watched: &Watched,
        new: Option<&NewTable>,
    ) -> sqlx::Result<Looked> {
        hazards::look(conn, watched, new).await
    }

    async fn catalogue(
        conn: &mut SqliteConnection,
        names: &[TableName],
    ) -> sqlx::Result<Vec<Option<Table>>> {
        catalogue::read(conn, names).await
    }

    fn key_form(column: &schema::Column, kind: KeyKind) -> Result<KeyForm, Unfit> {
        catalogue::key_form(column, kind)
    }

    fn is_lock_timeout(error: &sqlx::Error) -> bool {
        // 5 is SQLITE_BUSY; the upper bytes extend it.
        error
            .as_database_error()
            .and_then(|error| error.code()?.parse::<u32>().ok())
            .is_some_and(|code| code & 0xff == 5)
    }

    fn is_savepoint_gone(_error: &sqlx::Error) -> bool {
        false
    }

    async fn check_alive(_conn: &mut SqliteConnection) -> sqlx::Result<()> {
        Ok(())
    }

    async fn notify(_conn: &mut SqliteConnection, _name: &str) -> sqlx::Result<()> {
        Ok(())
    }

    async fn watch(_pool: &Pool<Sqlite>) -> sqlx::Result<Option<Box<dyn Watch>>> {
        Ok(None)
    }

    fn control_source(pool: &Pool<Sqlite>, limit: Duration) -> Option<Pool<Sqlite>> {
        // A database in memory is another one for each who opens it, or locks whole tables; and a single connection
        // may have locked the file for itself.
        let options = pool.connect_options();
        let name = options.get_filename().to_string_lossy().into_owned();
        let is_file =
            !name.is_empty() && !name.contains(":memory:") && !name.contains("-in-memory-");
        let shares = pool.options().get_max_connections() > 1;
        (is_file && shares && !options.to_url_lossy().as_str().contains("mode=memory"))
            .then(|| super::control_source(pool, limit))
    }

    async fn prepare_control(
        conn: &mut SqliteConnection,
        limit: Duration,
    ) -> sqlx::Result<Option<i64>> {
        // It must fail before whoever waits for it gives up.
        let wait = limit.mul_f32(0.9).as_millis().max(1);
        Self::run_text(conn, format!("PRAGMA busy_timeout = {wait}")).await.map(|()| None)
    }

    async fn cancel(_conn: &mut SqliteConnection, _id: i64, _text: &str) -> sqlx::Result<()> {
        Ok(())
    }

    fn install(pool: &Pool<Sqlite>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let mut conn = pool
                .acquire()
                .await
                .map_err(|error| Error::database("making the control tables", error))?;
            if is_installed(&migrator(SCHEMA), &mut *conn).await {
                return Ok(());
            }
            drop(conn);
            // sqlx takes no lock on SQLite, so of several processes that start at once one may lose
            // the race; the tables are made with IF NOT EXISTS and the loser finds them done.
            let mut attempt = 1;
            loop {
                match migrator(SCHEMA).run(pool).await.map_err(install_error) {
                    Err(error) if error.is_retryable() && attempt < INSTALL_ATTEMPTS => {
                        clock::sleep(Duration::from_millis(20 * u64::from(attempt))).await;
                        attempt += 1;
                    }
                    result => return result,
                }
            }
        })
    }
}

/// BEGIN, and the check that the epochs are the pins' and that no trigger wants a mark; fails on purpose
/// where they are not.
fn confirming_begin(begin: Begin<'_>) -> String {
    let mut sql = "BEGIN IMMEDIATE".to_owned();
    for pin in begin.pins {
        let (id, epoch, token) = (Pin::fence(&pin.name), pin.position.epoch, pin.token.0);
        let _ = write!(
            sql,
            ";SELECT abs(-9223372036854775808+count(*))FROM dualwrite_fence \
             WHERE id={id} AND epoch={epoch} AND token={token}"
        ); // a String takes all
    }
    begin.push_savepoint(&mut sql);
    sql
}

/// There is no positive number for the smallest one.
fn is_moved(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.message().contains("integer overflow"))
}

/// The first columns of a row. SQLite has types per value, not per column.
fn decode(row: &sqlx::sqlite::SqliteRow, count: usize) -> sqlx::Result<SqlRow> {
    let mut values = Vec::with_capacity(count);
    for column in row.columns().iter().take(count) {
        let index = column.ordinal();
        let raw = row.try_get_raw(index)?;
        values.push(match (raw.is_null(), raw.type_info().name()) {
            (true, _) => SqlValue::Integer(None),
            (_, "INTEGER" | "BOOLEAN") => SqlValue::Integer(Some(row.try_get_unchecked(index)?)),
            (_, "BLOB") => SqlValue::Uuid(row.try_get_unchecked(index)?),
            _ => SqlValue::Text(Some(row.try_get_unchecked(index)?)),
        });
    }
    Ok(SqlRow(values))
}
