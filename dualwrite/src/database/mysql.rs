//! MySQL and MariaDB: a locking read of the migration's row is the fence, shared by writers and
//! exclusive for a change of the position. `LOCK IN SHARE MODE` is understood by both.

mod adopt;
mod catalogue;
mod decode;
mod engine;
mod hazards;
mod inspect;
mod notes;
mod sequences;
mod session;
mod trigger;
mod upstream;

use std::fmt::Write as _;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::{MySql, MySqlConnection, Pool, Row};
use sqlx_core::transaction::TransactionManager;

use self::decode::decode;
use crate::database::sealed::{Adapter, NotCommitted};
use crate::database::watch::Watch;
use crate::database::{
    Adoption, Backend, Begin, Dialect, Engine, Fenced, Holders, Isolation, NewTable, Pin, Pressure,
    SqlRow, SqlSafeStr, SqlValue, Watched, bind, check_version, install_error, is_installed,
    migrator, safe, typed_values,
};
use crate::database::{Upstream, altering, doctoring, expanding};
use crate::error::{BoxError, Error, ErrorKind};
use crate::key::KeyKind;
use crate::preflight::form::{KeyForm, Unfit};
use crate::preflight::rows::TableNotes;
use crate::preflight::schema::{self, PlainEquality, Table, TableName};
use crate::stages::hazard::HazardScan;

const SCHEMA: &str = include_str!("../../migrations/mysql/0001_control.sql");
const INSTALL_WAIT_S: i64 = 30;
/// After so many limits on a statement MariaDB ends a transaction of ours in which nothing happens.
const IDLE_LIMITS: u64 = 5;
const LOCK_WAIT_TIMEOUT: u16 = 1205;
/// What MySQL says where nobody wants to wait.
const LOCK_NOWAIT: u16 = 3572;
/// Also what it says of a savepoint after a deadlock, which costs the victim its whole transaction.
const NO_SUCH_SAVEPOINT: u16 = 1305;

/// A write in a transaction that is read-only, as everything is that follows one of ours.
const READ_ONLY: u16 = 1792;

/// A BIGINT value is out of range: by which the fence says that the epoch is another one.
const OUT_OF_RANGE: u16 = 1690;

fn number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?;
    Some(error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()?.number())
}

/// The fence in the message that begins the transaction; fails where an epoch is not the pin's, or
/// where a trigger looks at the table. Names are validated (letters, digits, `.`, `_`, `-`).
///
/// It is one statement with the guard, for each statement costs the server as much as the lock does.
fn confirming_begin(mut sql: String, begin: Begin<'_>) -> String {
    sql.push_str(";SET ");
    for pin in begin.pins {
        let (name, epoch, token) = (&pin.name, pin.position.epoch, pin.token.0);
        let _ = write!(
            sql,
            "@dualwrite_fence=(SELECT 9223372036854775807 + (1 - count(*)) FROM dualwrite_migration \
             WHERE name='{name}' AND epoch={epoch} AND token={token} AND watched=0 LOCK IN SHARE MODE),"
        ); // a String takes all
    }
    sql.push_str(session::GUARD);
    begin.push_savepoint(&mut sql);
    sql
}

type Manager = <MySql as sqlx::Database>::TransactionManager;

impl Backend for MySql {
    type Adapter = MySqlAdapter;
}

/// Speaks to the database.
#[derive(Debug)]
#[doc(hidden)]
pub struct MySqlAdapter;

impl Adapter for MySqlAdapter {
    type Db = MySql;

    type Held = ();

    const DIALECT: Dialect = Dialect {
        now: "CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)",
        quote: '`',
        numbered: false,
        null_has_a_type: false,
        typed_columns: true,
        on_duplicate_key: true,
        for_update: " FOR UPDATE",
        for_update_skip: " FOR UPDATE SKIP LOCKED",
        expand_row_comparison: true,
        savepoint_replaces: true,
        wait_keeps_snapshot: false,
        fence_is_the_row: true,
        identity: "CONCAT(@@hostname, ':', @@port, ':', @@server_id)",
        terms_digest: "md5(a.terms)",
        server: true,
        interruption_breaks: true,
    };

    const FOREIGN_KEYS_TO: &'static str = altering::MYSQL_FOREIGN_KEYS_TO;
    const VIEWS: &'static str = altering::MYSQL_VIEWS;
    const TRIGGERS: &'static str = altering::MYSQL_TRIGGERS;
    const TABLE_INDEXES: &'static str = expanding::MYSQL_INDEXES;
    const TABLE_RULES: &'static str = expanding::MYSQL_RULES;
    const TABLE_SIZE: &'static str = expanding::MYSQL_SIZE;
    const EXAMINATION: doctoring::Examination = doctoring::MYSQL;
    const REPLICAS: Option<&'static str> = Some(expanding::MYSQL_REPLICAS);

    fn create_table(table: &TableName) -> Option<String> {
        Some(expanding::mysql_create(table))
    }

    fn alter_settings(lock: Duration, _statement: Duration) -> Vec<String> {
        altering::mysql_settings(lock)
    }

    const LOG_WRITTEN: Option<&'static str> =
        Some("SHOW GLOBAL STATUS LIKE 'Innodb_os_log_written'");

    const BATCH_SETTINGS: Option<&'static str> = None;

    const COMMIT_WAITS: bool = true;

    const FULL_JOIN: bool = false;

    const LOCKS_SEE_NEWER: bool = true;

    fn estimate(table: &str) -> Option<String> {
        let plain = table.replace(Self::DIALECT.quote, "");
        let (schema, name) = match plain.split_once('.') {
            Some((schema, name)) => (format!("'{schema}'"), name),
            None => ("DATABASE()".to_owned(), &*plain),
        };
        Some(format!(
            "SELECT CAST(table_rows AS SIGNED) FROM information_schema.tables \
             WHERE table_schema = {schema} AND table_name = '{name}'"
        ))
    }

    fn needed_columns(table: &[String]) -> (String, Vec<SqlValue>) {
        let (schema, name) = match table {
            [schema, name] => (Some(schema.as_str()), name.as_str()),
            table => (None, table.first().map_or("", String::as_str)),
        };
        let sql = "SELECT column_name FROM information_schema.columns \
                   WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? AND is_nullable = 'NO' \
                   AND column_default IS NULL AND extra NOT LIKE '%auto_increment%' \
                   AND extra NOT LIKE '%GENERATED%'";
        (sql.to_owned(), vec![SqlValue::Text(schema.map(Into::into)), name.into()])
    }

    async fn pressure(conn: &mut MySqlConnection) -> sqlx::Result<Pressure> {
        // Not `innodb_trx`, which needs a right, and is a copy that is not made anew while somebody looks at it
        // more often than ten times a second.
        let sql = "SHOW GLOBAL STATUS WHERE Variable_name IN \
                   ('Innodb_row_lock_current_waits', 'Threads_running')";
        let mut pressure = Pressure::default();
        for row in Self::fetch(conn, sql, &[]).await? {
            let number = row.text(1)?.parse().ok();
            match row.text(0)? {
                "Threads_running" => pressure.active = number,
                _ => pressure.lock_waits = number,
            }
        }
        Ok(pressure)
    }

    fn digest(values: &[String]) -> Option<(String, String)> {
        let spelled: Vec<String> = values.iter().map(|value| Self::spelled(value)).collect();
        // 60 of the bits of MD5: a number that is not negative.
        let row =
            format!("CAST(CONV(LEFT(MD5(CONCAT({})), 15), 16, 10) AS SIGNED)", spelled.join(", "));
        let folded = format!("CAST(BIT_XOR({row}) AS SIGNED)");
        Some((row, folded))
    }

    /// The length goes before the bytes, so that no two values run into one another.
    fn spelled(value: &str) -> String {
        let bytes = format!("CAST({value} AS BINARY)");
        format!("COALESCE(CONCAT(LENGTH({bytes}), ':', {bytes}), 'N')")
    }

    async fn execute(
        conn: &mut MySqlConnection,
        sql: &str,
        values: &[SqlValue],
    ) -> sqlx::Result<u64> {
        let sql = safe(Self::DIALECT.statement(sql));
        Ok(bind!(sqlx::query(sql), values).execute(conn).await?.rows_affected())
    }

    async fn fetch(
        conn: &mut MySqlConnection,
        sql: &str,
        values: &[SqlValue],
    ) -> sqlx::Result<Vec<SqlRow>> {
        let sql = safe(Self::DIALECT.statement(sql));
        let rows = bind!(sqlx::query(sql), values).fetch_all(conn).await?;
        rows.iter().map(|row| decode(row, row.len())).collect()
    }

    typed_values!();

    async fn run(conn: &mut MySqlConnection, sql: &'static str) -> sqlx::Result<()> {
        sqlx::raw_sql(sql).execute(conn).await.map(drop)
    }

    async fn run_text(conn: &mut MySqlConnection, sql: String) -> sqlx::Result<()> {
        sqlx::raw_sql(safe(sql)).execute(conn).await.map(drop)
    }

    type Waiting = ();

    async fn begin_fenced(
        conn: &mut MySqlConnection,
        (): &mut (),
        begin: Begin<'_>,
    ) -> sqlx::Result<Fenced> {
        // READ COMMITTED unless asked otherwise: above it, gap locks make unrelated writers of
        // neighbouring keys deadlock.
        let level = begin.isolation.as_sql();
        let mut sql = format!("SET TRANSACTION ISOLATION LEVEL {level};START TRANSACTION");
        let confirming = confirming_begin(sql.clone(), begin);
        match Manager::begin(conn, Some(safe(confirming).into_sql_str())).await {
            Ok(()) => return Ok(Fenced::Confirmed),
            Err(error) if number(&error) == Some(OUT_OF_RANGE) => {
                Self::run(conn, "ROLLBACK").await?
            }
            Err(error) => return Err(error),
        }
        sql.push_str(";SET ");
        sql.push_str(session::GUARD);
        Manager::begin(conn, Some(safe(sql).into_sql_str())).await?;
        super::read_pinned::<MySql>(conn, begin.pins, " LOCK IN SHARE MODE", trigger::mark).await
    }

    const ENDS_UNSEEN: bool = true;

    async fn adopt_fence(conn: &mut MySqlConnection, pins: &[Pin]) -> sqlx::Result<Adoption> {
        adopt::take_fence(conn, pins).await
    }

    async fn commit_adopted(
        conn: &mut MySqlConnection,
        (): &(),
        marked: &[Pin],
    ) -> Result<(), NotCommitted> {
        if !marked.is_empty() {
            Self::run(conn, trigger::UNMARK).await.map_err(NotCommitted::nested::<MySql>)?;
        }
        Manager::commit(conn).await.map_err(NotCommitted::nested::<MySql>)
    }

    async fn roll_back_adopted(conn: &mut MySqlConnection, (): &()) -> sqlx::Result<()> {
        Manager::rollback(conn).await
    }

    async fn check_adopted(conn: &mut MySqlConnection) -> sqlx::Result<()> {
        adopt::check(conn).await
    }

    async fn begin_writing(conn: &mut MySqlConnection) -> sqlx::Result<()> {
        let level = Isolation::ReadCommitted.as_sql();
        let sql = format!("SET TRANSACTION ISOLATION LEVEL {level};START TRANSACTION");
        Manager::begin(conn, Some(safe(sql).into_sql_str())).await
    }

    const HOLDERS: Holders = Holders::ByWaiter(session::HOLDERS);

    async fn begin_exclusive(
        conn: &mut MySqlConnection,
        (): &mut (),
        name: &str,
    ) -> sqlx::Result<()> {
        // As every fenced transaction: a copy may be made in this one.
        let level = Isolation::ReadCommitted.as_sql();
        let sql = format!(
            "SET @dualwrite_wait=@@innodb_lock_wait_timeout,SESSION innodb_lock_wait_timeout=1;\
             SET TRANSACTION ISOLATION LEVEL {level};START TRANSACTION;SET {}",
            session::GUARD
        );
        Manager::begin(conn, Some(safe(sql).into_sql_str())).await?;
        let sql = "SELECT epoch FROM dualwrite_migration WHERE name = ? FOR UPDATE";
        let locked = Self::fetch(conn, sql, &[SqlValue::from(name)]).await;
        Self::run(conn, "SET SESSION innodb_lock_wait_timeout=@dualwrite_wait").await?;
        locked.map(drop)
    }

    async fn begin_transition(conn: &mut MySqlConnection, name: &str) -> sqlx::Result<()> {
        let level = Isolation::ReadCommitted.as_sql();
        let sql = format!(
            "SET @dualwrite_wait=@@innodb_lock_wait_timeout,SESSION innodb_lock_wait_timeout=1;\
             SET TRANSACTION ISOLATION LEVEL {level};START TRANSACTION"
        );
        Manager::begin(conn, Some(safe(sql).into_sql_str())).await?;
        let sql = "SELECT epoch FROM dualwrite_migration WHERE name = ? FOR UPDATE";
        let locked = Self::fetch(conn, sql, &[SqlValue::from(name)]).await;
        Self::run(conn, "SET SESSION innodb_lock_wait_timeout=@dualwrite_wait").await?;
        locked.map(drop)
    }

    async fn commit(
        conn: &mut PoolConnection<MySql>,
        (): &(),
        marked: bool,
    ) -> Result<(), NotCommitted> {
        session::commit(conn, marked).await
    }

    async fn roll_back(conn: &mut PoolConnection<MySql>, (): &()) -> sqlx::Result<()> {
        session::roll_back(conn).await
    }

    fn abandon(conn: PoolConnection<MySql>, (): ()) {
        session::abandon(conn);
    }

    async fn is_in_step(conn: &mut MySqlConnection) -> sqlx::Result<bool> {
        session::is_in_step(conn).await
    }

    async fn read_pinned(conn: &mut MySqlConnection, pins: &[Pin]) -> sqlx::Result<Fenced> {
        super::read_pinned::<MySql>(conn, pins, "", trigger::mark).await
    }

    async fn unmark(conn: &mut MySqlConnection) -> sqlx::Result<()> {
        Self::run(conn, trigger::UNMARK).await
    }

    async fn triggers(
        conn: &mut MySqlConnection,
        watched: &Watched,
        create: bool,
    ) -> sqlx::Result<Vec<String>> {
        if !create {
            return Ok(trigger::drop(watched));
        }
        let mut statements = hazards::left_behind(conn, watched).await?;
        statements.extend(trigger::create(watched));
        Ok(statements)
    }

    async fn hazards(
        conn: &mut MySqlConnection,
        watched: &Watched,
        new: Option<&NewTable>,
    ) -> sqlx::Result<HazardScan> {
        let mut scan = hazards::find_hazards(conn, watched).await?;
        if let Some(new) = new {
            scan.hazards.extend(sequences::behind(conn, watched, new).await?);
        }
        Ok(scan)
    }

    async fn catalogue(
        conn: &mut MySqlConnection,
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

    async fn inspect(pool: &Pool<MySql>) -> Result<Engine, Error> {
        inspect::inspect(pool).await
    }

    fn is_lock_timeout(error: &sqlx::Error) -> bool {
        matches!(number(error), Some(LOCK_WAIT_TIMEOUT | LOCK_NOWAIT))
    }

    fn is_transaction_gone(error: &sqlx::Error) -> bool {
        matches!(number(error), Some(NO_SUCH_SAVEPOINT | READ_ONLY))
    }

    async fn table_notes(conn: &mut MySqlConnection, table: &str) -> sqlx::Result<TableNotes> {
        notes::of(conn, table).await
    }

    async fn self_updating(conn: &mut MySqlConnection, table: &str) -> sqlx::Result<Vec<String>> {
        notes::self_updating(conn, table).await
    }

    async fn upstreams(conn: &mut MySqlConnection) -> sqlx::Result<Vec<Upstream>> {
        upstream::upstreams(conn).await
    }

    async fn place(conn: &mut MySqlConnection) -> sqlx::Result<Option<String>> {
        let rows = Self::fetch(conn, "SELECT DATABASE()", &[]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(format!("database {}", row.optional_text(0)?.unwrap_or("(none is chosen)"))))
    }

    async fn check_ours(_conn: &mut MySqlConnection) -> sqlx::Result<()> {
        Ok(())
    }

    async fn watch(_pool: &Pool<MySql>) -> sqlx::Result<Option<Box<dyn Watch>>> {
        Ok(None)
    }

    fn control_source(pool: &Pool<MySql>, limit: Duration) -> Option<Pool<MySql>> {
        Some(super::control_source(pool, limit))
    }

    async fn prepare_control(
        conn: &mut MySqlConnection,
        limit: Duration,
    ) -> sqlx::Result<Option<i64>> {
        let seconds = limit.as_secs().max(1);
        // The first is MariaDB's, the second MySQL's, for what only reads. A process that vanishes in a transaction must not
        // keep its locks until the connection is found dead; MySQL has no such limit.
        let mariadb = format!(
            "SET SESSION max_statement_time = {:.3}, idle_transaction_timeout = {}",
            limit.as_secs_f64(),
            seconds * IDLE_LIMITS
        );
        if Self::run_text(conn, mariadb).await.is_err() {
            let mysql = format!("SET SESSION max_execution_time = {}", limit.as_millis().max(1));
            Self::run_text(conn, mysql).await?;
        }
        let locks = format!(
            "SET SESSION innodb_lock_wait_timeout = {seconds}, lock_wait_timeout = {seconds}, autocommit = 1"
        );
        Self::run_text(conn, locks).await?;
        let rows = Self::fetch(conn, "SELECT CAST(CONNECTION_ID() AS SIGNED)", &[]).await?;
        rows.first().map(|row| row.integer(0)).transpose()
    }

    async fn cancel(conn: &mut MySqlConnection, id: i64, text: &str) -> sqlx::Result<()> {
        // Behind a proxy the number is another client's; and the values may stand where the text has none.
        let sql = "SELECT count(*) FROM information_schema.PROCESSLIST WHERE ID = ? AND INFO LIKE ? ESCAPE '!'";
        let text = Self::DIALECT.statement(text);
        let known: String = text.split('?').next().unwrap_or_default().chars().take(100).collect();
        let pattern = super::control_statement(&known);
        let found = Self::fetch(conn, sql, &[id.into(), pattern.as_str().into()]).await?;
        match found.first().map(|row| row.integer(0)).transpose()? {
            Some(1) => Self::run_text(conn, format!("KILL {id}")).await,
            _ => Ok(()),
        }
    }

    async fn check_version(conn: &mut MySqlConnection) -> Result<(), Error> {
        check_version(&migrator(SCHEMA), conn).await
    }

    fn install(pool: &Pool<MySql>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(install(pool))
    }
}

/// sqlx asks for its lock with an endless wait, which MariaDB takes for none at all; so we take our own.
async fn install(pool: &Pool<MySql>) -> Result<(), Error> {
    let failed = |error| Error::database("making the control tables", error);
    let mut conn = pool.acquire().await.map_err(failed)?;
    let mut migrator = migrator(SCHEMA);
    if is_installed(&migrator, &mut *conn).await {
        return Ok(());
    }
    // A dropped or failed installation must not keep the session's lock.
    conn.close_on_drop();
    let sql = "SELECT GET_LOCK(LEFT(CONCAT('dualwrite.', DATABASE()), 64), ?)";
    let rows = MySqlAdapter::fetch(&mut conn, sql, &[SqlValue::from(INSTALL_WAIT_S)]).await;
    if rows.and_then(|rows| rows[0].optional_integer(0)).map_err(failed)? != Some(1) {
        let message = "another process has been making the control tables for too long";
        return Err(Error::new(ErrorKind::Timeout, message));
    }
    migrator.set_locking(false);
    match migrator.run_direct(None, &mut *conn, false).await {
        // Somebody died halfway: DDL has no transaction here. Under the lock it can be done again,
        // since every statement says IF NOT EXISTS.
        Err(sqlx::migrate::MigrateError::Dirty(_)) => {
            let sql = "DELETE FROM _dualwrite_migrations WHERE success = 0";
            MySqlAdapter::execute(&mut conn, sql, &[]).await.map_err(failed)?;
            migrator.run_direct(None, &mut *conn, false).await.map_err(install_error)
        }
        result => result.map_err(install_error),
    }
}
