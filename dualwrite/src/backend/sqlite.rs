//! SQLite: one writer at a time, so `BEGIN IMMEDIATE` is the fence.

use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::{Column, Pool, Row, Sqlite, SqliteConnection, TypeInfo, ValueRef};
use sqlx_core::transaction::TransactionManager;

use super::sealed::Adapter;
use super::{
    Dialect, Fenced, Isolation, Pin, SqlRow, SqlSafeStr, SqlValue, bind, install_error, migrator,
    safe, typed_values,
};
use crate::clock;
use crate::control::Watch;
use crate::error::{BoxError, Error};

const SCHEMA: &str = include_str!("../../migrations/sqlite/0001_control.sql");
const INSTALL_ATTEMPTS: u32 = 10;

type Manager = <Sqlite as sqlx::Database>::TransactionManager;

impl Adapter for Sqlite {
    const DIALECT: Dialect = Dialect {
        now: "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
        quote: '"',
        numbered: false,
        on_duplicate_key: false,
        for_update: "",
        for_update_skip: "",
        expand_row_comparison: false,
        savepoint_replaces: false,
    };

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

    async fn begin_fenced(
        conn: &mut SqliteConnection,
        pins: &[Pin],
        _isolation: Isolation,
    ) -> sqlx::Result<Fenced> {
        Manager::begin(conn, Some("BEGIN IMMEDIATE".into_sql_str())).await?;
        super::read_positions::<Self>(conn, pins, "").await
    }

    async fn begin_exclusive(conn: &mut SqliteConnection, _name: &str) -> sqlx::Result<()> {
        Manager::begin(conn, Some("BEGIN IMMEDIATE".into_sql_str())).await
    }

    fn is_lock_timeout(error: &sqlx::Error) -> bool {
        // 5 is SQLITE_BUSY; the upper bytes extend it.
        error
            .as_database_error()
            .and_then(|error| error.code()?.parse::<u32>().ok())
            .is_some_and(|code| code & 0xff == 5)
    }

    async fn check_alive(_conn: &mut SqliteConnection) -> sqlx::Result<()> {
        Ok(())
    }

    async fn notify(_conn: &mut SqliteConnection, _name: &str) -> sqlx::Result<()> {
        Ok(())
    }

    async fn watch(_pool: &Pool<Self>) -> sqlx::Result<Option<Box<dyn Watch>>> {
        Ok(None)
    }

    fn control_pool(pool: &Pool<Self>) -> Pool<Self> {
        pool.clone()
    }

    fn install(pool: &Pool<Self>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
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
