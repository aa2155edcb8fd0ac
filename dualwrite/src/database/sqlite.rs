//! SQLite: one writer at a time, so `BEGIN IMMEDIATE` is the fence.

mod adopt;
mod catalogue;
mod foreign;
mod guard;
mod hazards;
mod trigger;
mod turn;

use std::fmt::Write as _;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::{Column, ConnectOptions as _, Pool, Row, Sqlite, SqliteConnection, TypeInfo, ValueRef};
use sqlx_core::transaction::TransactionManager;

use self::guard::Guarded;
use crate::clock;
use crate::database::sealed::{Adapter, NotCommitted};
use crate::database::watch::Watch;
use crate::database::{
    Adoption, Backend, Begin, Deferred, Dialect, Engine, Fenced, NewTable, Pin, SqlRow, SqlSafeStr,
    SqlValue, Watched, bind, check_version, install_error, is_installed, migrator, safe,
    typed_values,
};
use crate::database::{altering, doctoring, expanding};
use crate::error::{BoxError, Error};
use crate::key::KeyKind;
use crate::preflight::form::{KeyForm, Unfit};
use crate::preflight::rows::TableNotes;
use crate::preflight::schema::{self, PlainEquality, Table, TableName};
use crate::stages::hazard::HazardScan;

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

    type Held = Option<Guarded>;

    const DIALECT: Dialect = Dialect {
        now: "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
        quote: '"',
        numbered: false,
        null_has_a_type: false,
        typed_columns: false,
        on_duplicate_key: false,
        for_update: "",
        for_update_skip: "",
        expand_row_comparison: false,
        savepoint_replaces: false,
        wait_keeps_snapshot: false,
        fence_is_the_row: false,
        identity: "''",
        terms_digest: "a.terms",
        server: false,
        interruption_breaks: false,
    };

    const FOREIGN_KEYS_TO: &'static str = altering::SQLITE_FOREIGN_KEYS_TO;
    const VIEWS: &'static str = altering::SQLITE_VIEWS;
    const TRIGGERS: &'static str = altering::SQLITE_TRIGGERS;
    const TABLE_INDEXES: &'static str = expanding::SQLITE_INDEXES;
    const TABLE_RULES: &'static str = expanding::SQLITE_RULES;
    const TABLE_SIZE: &'static str = expanding::SQLITE_SIZE;
    const EXAMINATION: doctoring::Examination = doctoring::SQLITE;

    fn create_table(table: &TableName) -> Option<String> {
        Some(expanding::sqlite_create(table))
    }

    const INDEXED_COLUMNS: Option<&'static str> = Some(altering::SQLITE_INDEXED);

    fn alter_settings(lock: Duration, _statement: Duration) -> Vec<String> {
        altering::sqlite_settings(lock)
    }

    const LOG_WRITTEN: Option<&'static str> = None;

    const BROKEN_FENCES: Option<&'static str> = Some(
        "SELECT m.name FROM dualwrite_migration m \
         LEFT JOIN dualwrite_fence f ON f.id = m.fence WHERE NOT (CASE WHEN m.watched = 0 \
         THEN f.epoch IS m.epoch AND f.token IS m.token ELSE f.id IS NULL END)",
    );
    const BATCH_SETTINGS: Option<&'static str> = None;

    const FULL_JOIN: bool = false;

    fn needed_columns(table: &[String]) -> (String, Vec<SqlValue>) {
        let (function, values) = match table {
            [schema, table] => ("(?, ?)", vec![table.as_str().into(), schema.as_str().into()]),
            table => ("(?)", table.iter().map(|table| table.as_str().into()).collect()),
        };
        let sql = format!(
            "SELECT name FROM pragma_table_info{function} WHERE \"notnull\" = 1 AND dflt_value IS NULL AND pk = 0"
        );
        (sql, values)
    }

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

    type Waiting = turn::Waiting;

    async fn make_way() -> bool {
        turn::make_way().await
    }

    async fn begin_fenced(
        conn: &mut SqliteConnection,
        held: &mut Option<Guarded>,
        begin: Begin<'_>,
    ) -> sqlx::Result<Fenced> {
        // One message to the connection's thread instead of two, as long as nothing has changed.
        let guarded = &*held.insert(Guarded::new());
        match begin_guarded(conn, guarded, &confirming_begin(begin), begin).await {
            Ok(()) => return Ok(Fenced::Confirmed),
            Err(error) if is_moved(&error) => Self::run(conn, "ROLLBACK").await?,
            Err(error) => return Err(error),
        }
        begin_guarded(conn, guarded, BEGIN, Begin::plain(&[])).await?;
        Self::read_pinned(conn, begin.pins).await
    }

    async fn adopt_fence(conn: &mut SqliteConnection, _pins: &[Pin]) -> sqlx::Result<Adoption> {
        adopt::take_fence(conn).await
    }

    async fn guard_adopted(
        conn: &mut SqliteConnection,
        held: &mut Option<Guarded>,
    ) -> sqlx::Result<()> {
        adopt::guard(conn, held.insert(Guarded::new())).await
    }

    async fn commit_adopted(
        conn: &mut SqliteConnection,
        held: &Option<Guarded>,
        marked: &[Pin],
    ) -> Result<(), NotCommitted> {
        adopt::commit(conn, held.as_ref(), !marked.is_empty()).await
    }

    async fn roll_back_adopted(
        conn: &mut SqliteConnection,
        held: &Option<Guarded>,
    ) -> sqlx::Result<()> {
        adopt::roll_back(conn, held.as_ref()).await
    }

    fn leave(held: &Option<Guarded>) {
        held.iter().for_each(Guarded::leave);
    }

    async fn begin_writing(conn: &mut SqliteConnection) -> sqlx::Result<()> {
        Manager::begin(conn, Some("BEGIN IMMEDIATE".into_sql_str())).await
    }

    async fn begin_exclusive(
        conn: &mut SqliteConnection,
        held: &mut Option<Guarded>,
        _name: &str,
    ) -> sqlx::Result<()> {
        let guarded = &*held.insert(Guarded::new());
        begin_guarded(conn, guarded, BEGIN, Begin::plain(&[])).await
    }

    async fn begin_transition(conn: &mut SqliteConnection, _name: &str) -> sqlx::Result<()> {
        Self::begin_writing(conn).await
    }

    async fn commit(
        conn: &mut PoolConnection<Sqlite>,
        held: &Option<Guarded>,
        marked: bool,
    ) -> Result<(), NotCommitted> {
        let committed = match (held, marked) {
            (Some(guarded), _) if guarded.is_lost() => Err(None),
            (_, true) => Self::run(conn, trigger::UNMARK).await.map_err(Some),
            (_, false) => Ok(()),
        };
        held.iter().for_each(Guarded::ending);
        let committed = match committed {
            Ok(()) => Manager::commit(conn).await.map_err(Some),
            Err(error) => Err(error),
        };
        match (committed, held) {
            (Ok(()), _) => Ok(()),
            (Err(error), Some(guarded)) if guarded.is_lost() => {
                guard::forget(conn, guarded).await;
                Err(NotCommitted::Ended(error))
            }
            (Err(Some(error)), _) => Err(NotCommitted::Failed(error)),
            (Err(None), _) => Err(NotCommitted::Ended(None)),
        }
    }

    async fn roll_back(
        conn: &mut PoolConnection<Sqlite>,
        held: &Option<Guarded>,
    ) -> sqlx::Result<()> {
        match held {
            Some(guarded) if guarded.is_lost() => {
                guard::forget(conn, guarded).await;
                return Ok(());
            }
            held => held.iter().for_each(Guarded::ending),
        }
        Manager::rollback(conn).await
    }

    fn abandon(mut conn: PoolConnection<Sqlite>, held: Option<Guarded>) {
        held.iter().for_each(Guarded::ending);
        match held {
            Some(guarded) if guarded.is_lost() => guard::forget_later(conn, guarded),
            _ => Manager::start_rollback(&mut conn),
        }
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
        let unique = trigger::Unique::read(conn, watched).await?;
        let mut statements = hazards::left_behind(conn, watched).await?;
        statements.extend(trigger::create(watched, &unique));
        Ok(statements)
    }

    async fn hazards(
        conn: &mut SqliteConnection,
        watched: &Watched,
        new: Option<&NewTable>,
    ) -> sqlx::Result<HazardScan> {
        hazards::find_hazards(conn, watched, new).await
    }

    async fn catalogue(
        conn: &mut SqliteConnection,
        names: &[TableName],
    ) -> sqlx::Result<Vec<Option<Table>>> {
        catalogue::read(conn, names).await
    }

    fn compared_plainly(old: &schema::Column, new: &schema::Column) -> Option<PlainEquality> {
        catalogue::compared_plainly(old, new)
    }

    fn key_form(column: &schema::Column, kind: KeyKind) -> Result<KeyForm, Unfit> {
        catalogue::key_form(column, kind)
    }

    async fn repair_fence(conn: &mut SqliteConnection, name: &str) -> sqlx::Result<()> {
        let sql = "UPDATE dualwrite_migration SET epoch = epoch WHERE name = ?"; // its trigger does it
        Self::execute(conn, sql, &[name.into()]).await.map(drop)
    }

    async fn inspect(pool: &Pool<Sqlite>) -> Result<Engine, Error> {
        let failed = |error| Error::database("asking for the version", error);
        let mut conn = pool.acquire().await.map_err(failed)?;
        let rows = Self::fetch(&mut conn, "SELECT sqlite_version()", &[]).await.map_err(failed)?;
        let version = rows.first().map_or(Ok(""), |row| row.text(0)).map_err(failed)?;
        Ok(Engine::tested(format!("SQLite {version}")))
    }

    fn is_lock_timeout(error: &sqlx::Error) -> bool {
        // 5 is SQLITE_BUSY; the upper bytes extend it.
        error
            .as_database_error()
            .and_then(|error| error.code()?.parse::<u32>().ok())
            .is_some_and(|code| code & 0xff == 5)
    }

    fn is_transaction_gone(error: &sqlx::Error) -> bool {
        let error = error.as_database_error();
        error.is_some_and(|error| error.message().contains("no such savepoint"))
    }

    async fn check_ours(_conn: &mut SqliteConnection) -> sqlx::Result<()> {
        Ok(()) // the hooks know
    }

    async fn table_notes(conn: &mut SqliteConnection, table: &str) -> sqlx::Result<TableNotes> {
        let name = table.rsplit_once('.').map_or(table, |(_, name)| name).replace('"', "");
        let sql = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = lower(?) \
                   AND name NOT LIKE 'dualwrite%' AND sql NOT LIKE '% DELETE ON %' ORDER BY 1";
        let rows = Self::fetch(conn, sql, &[SqlValue::from(&*name)]).await?;
        let triggers = rows.iter().map(|row| row.text(0).map(str::to_owned));
        let triggers = triggers.collect::<sqlx::Result<_>>()?;
        let sql = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND lower(name) = lower(?) \
                   AND lower(sql) LIKE '%deferrable%initially%deferred%'";
        let rows = Self::fetch(conn, sql, &[SqlValue::from(&*name)]).await?;
        let late = rows.first().map_or(Ok(0), |row| row.integer(0))? > 0;
        let deferred = late.then(|| "a foreign key of the table".to_owned());
        let journal = catalogue::journal(conn).await?;
        Ok(TableNotes { triggers, deferred, journal, ..TableNotes::default() })
    }

    const DEFERS: bool = true;

    async fn deferred(
        conn: &mut SqliteConnection,
        table: &str,
        key: &[String],
    ) -> sqlx::Result<Deferred> {
        let queries = foreign::queries(conn, table, key).await?;
        Ok(if queries.is_empty() { Deferred::Nothing } else { Deferred::Asked(queries) })
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

    async fn check_version(conn: &mut SqliteConnection) -> Result<(), Error> {
        check_version(&migrator(SCHEMA), conn).await
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
                    // Who loses the race finds the version recorded: a unique value that is there already.
                    Err(error)
                        if (error.is_retryable() || error.is_about_data())
                            && attempt < INSTALL_ATTEMPTS =>
                    {
                        clock::sleep(Duration::from_millis(20 * u64::from(attempt))).await;
                        attempt += 1;
                    }
                    result => return result,
                }
            }
        })
    }
}

const BEGIN: &str = "BEGIN IMMEDIATE";

/// Begins by a message, and has the hooks of the connection know; installs them first where there are none.
async fn begin_guarded(
    conn: &mut SqliteConnection,
    guarded: &Guarded,
    message: &str,
    begin: Begin<'_>,
) -> sqlx::Result<()> {
    let mut sql = message.to_owned();
    guarded.push(&mut sql);
    begin.push_savepoint(&mut sql);
    match Manager::begin(conn, Some(safe(sql.clone()).into_sql_str())).await {
        Err(error) if guard::is_missing(&error) => {
            SqliteAdapter::run(conn, "ROLLBACK").await?;
            guard::install(conn).await?;
            Manager::begin(conn, Some(safe(sql).into_sql_str())).await
        }
        begun => begun,
    }
}

/// BEGIN, and the check that the epochs are the pins' and that no trigger wants a mark; fails on purpose
/// where they are not.
fn confirming_begin(begin: Begin<'_>) -> String {
    let mut sql = BEGIN.to_owned();
    for pin in begin.pins {
        let (id, epoch, token) = (pin.fence, pin.position.epoch, pin.token.0);
        let _ = write!(
            sql,
            ";SELECT abs(-9223372036854775808+count(*))FROM dualwrite_fence \
             WHERE id={id} AND epoch={epoch} AND token={token}"
        ); // a String takes all
    }
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
            (_, "BLOB") => SqlValue::Bytes(row.try_get_unchecked(index)?),
            (_, "REAL") => SqlValue::Real(row.try_get_unchecked(index)?),
            _ => match String::from_utf8(row.try_get_unchecked(index)?) {
                Ok(text) => SqlValue::Text(Some(text)),
                Err(error) => SqlValue::Bytes(error.into_bytes()),
            },
        });
    }
    Ok(SqlRow(values))
}
