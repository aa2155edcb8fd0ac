//! PostgreSQL: writers lock the fence, an empty table, and then call a procedure whose name bears the epoch and its token; a
//! change of the position locks the fence against them and renames the procedure. `LOCK TABLE` waits without a snapshot, so whatever the transaction sees is from after that, the name of
//! the procedure included, at every isolation level. Both statements go in the message that begins the
//! transaction, so the fence costs no round trip.

mod adopt;
mod catalogue;
mod decode;
mod engine;
mod fence;
mod hazards;
mod inspect;
mod install;
mod notes;
mod pooler;
mod telling;
mod trigger;
mod types;

use std::fmt::Write as _;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgListener;
use sqlx::{PgConnection, Pool, Postgres, Row};
use sqlx_core::transaction::TransactionManager;

use self::decode::decode;
use crate::database::sealed::{Adapter, NotCommitted};
use crate::database::watch::Watch;
use crate::database::{
    Adoption, Backend, Begin, Deferred, Dialect, Engine, Fenced, Holders, Isolation, NewTable, Pin,
    Pressure, SqlRow, SqlSafeStr, SqlValue, Watched, bind, check_version, migrator, safe,
    typed_values,
};
use crate::database::{altering, doctoring, expanding};
use crate::error::{BoxError, Error};
use crate::key::KeyKind;
use crate::preflight::form::{KeyForm, Unfit};
use crate::preflight::rows::TableNotes;
use crate::preflight::schema::{self, PlainEquality, Table, TableName};
use crate::stages::hazard::HazardScan;

const SCHEMA: &str = include_str!("../../migrations/postgres/0001_control.sql");
/// How often the positions are looked up while they keep changing.
const FENCE_CHECKS: u32 = 8;

const UNDEFINED_FUNCTION: &str = "42883";
const UNDEFINED_TABLE: &str = "42P01";
const NO_SUCH_SAVEPOINT: &str = "3B001";
const NO_TRANSACTION: &str = "25P01";
const DIVISION_BY_ZERO: &str = "22012";
/// An error was not handled, and the transaction does nothing more.
const FAILED_TRANSACTION: &str = "25P02";
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// What a transaction of ours bears; one that the application began in its place does not.
const OURS: &str = "SET LOCAL dualwrite.tx='1'";
/// Fails in another transaction, in none, and in one that an error has ended.
const IS_OURS: &str =
    "SELECT 1/(current_setting('dualwrite.tx',true) IS NOT DISTINCT FROM '1')::int";
const OURS_OR_FAIL: &str = "/(current_setting('dualwrite.tx',true) IS NOT DISTINCT FROM '1')::int";

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

    type Held = ();

    const DIALECT: Dialect = Dialect {
        now: "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
        quote: '"',
        numbered: true,
        null_has_a_type: true,
        typed_columns: true,
        on_duplicate_key: false,
        // Excludes whoever changes or deletes the row, and not those who refer to it by a foreign key.
        for_update: " FOR NO KEY UPDATE",
        for_update_skip: " FOR NO KEY UPDATE SKIP LOCKED",
        expand_row_comparison: false,
        savepoint_replaces: false,
        wait_keeps_snapshot: true,
        fence_is_the_row: false,
        identity: "CAST(pg_postmaster_start_time() AS text)",
        terms_digest: "md5(a.terms)",
        server: true,
        interruption_breaks: false,
    };

    const FOREIGN_KEYS_TO: &'static str = altering::POSTGRES_FOREIGN_KEYS_TO;
    const VIEWS: &'static str = altering::POSTGRES_VIEWS;
    const TRIGGERS: &'static str = altering::POSTGRES_TRIGGERS;
    const TABLE_INDEXES: &'static str = expanding::POSTGRES_INDEXES;
    const TABLE_RULES: &'static str = expanding::POSTGRES_RULES;
    const TABLE_SIZE: &'static str = expanding::POSTGRES_SIZE;
    const EXAMINATION: doctoring::Examination = doctoring::POSTGRES;
    const REPLICAS: Option<&'static str> = Some(expanding::POSTGRES_REPLICAS);

    fn alter_settings(lock: Duration, statement: Duration) -> Vec<String> {
        altering::postgres_settings(lock, statement)
    }

    const LOG_WRITTEN: Option<&'static str> =
        Some("SELECT 'wal', (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint::text");

    // A plan that was made while new was empty reads all of it for each row that is looked for there, later on.
    const BROKEN_FENCES: Option<&'static str> = Some(fence::BROKEN);
    const BATCH_SETTINGS: Option<&'static str> =
        Some("SET LOCAL synchronous_commit=off;SET LOCAL plan_cache_mode=force_custom_plan");

    const FULL_JOIN: bool = true;

    fn estimate(table: &str) -> Option<String> {
        // Of a partitioned table only its parts are counted as they fill.
        Some(format!(
            "SELECT sum(greatest(reltuples, 0))::bigint FROM pg_class WHERE relkind <> 'p' AND oid IN \
             (SELECT '{table}'::regclass UNION SELECT relid FROM pg_partition_tree('{table}'))"
        ))
    }

    fn needed_columns(table: &[String]) -> (String, Vec<SqlValue>) {
        let quoted: Vec<String> = table.iter().map(|part| format!("\"{part}\"")).collect();
        let sql = "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass(?) AND attnum > 0 \
                   AND NOT attisdropped AND attnotnull AND NOT atthasdef AND attidentity = ''";
        (sql.to_owned(), vec![quoted.join(".").as_str().into()])
    }

    async fn pressure(conn: &mut PgConnection) -> sqlx::Result<Pressure> {
        let sql = "SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
         AND wait_event_type = 'Lock'), (SELECT count(*) FROM pg_stat_activity \
         WHERE datname = current_database() AND state = 'active'), \
         (SELECT (extract(epoch FROM max(replay_lag)) * 1000000)::bigint FROM pg_stat_replication)";
        let rows = Self::fetch(conn, sql, &[]).await?;
        let number = |column| -> sqlx::Result<Option<u64>> {
            let Some(row) = rows.first() else { return Ok(None) };
            Ok(row.optional_integer(column)?.and_then(|value| u64::try_from(value).ok()))
        };
        let lag = number(2)?.map(Duration::from_micros);
        Ok(Pressure { lock_waits: number(0)?, active: number(1)?, lag })
    }

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

    type Waiting = ();

    async fn begin_fenced(
        conn: &mut PgConnection,
        (): &mut (),
        begin: Begin<'_>,
    ) -> sqlx::Result<Fenced> {
        if try_begin(conn, begin).await? {
            return Ok(Fenced::Confirmed);
        }
        let mut seen = Vec::new();
        for _ in 0..FENCE_CHECKS {
            let found = super::read_positions::<Postgres>(conn, begin.pins, "").await?;
            let known = begin.pins.iter().zip(&found).filter_map(|(pin, found)| {
                let super::Found { position, token, .. } = (*found)?;
                Some(Pin { position, token, ..pin.clone() })
            });
            let known: Vec<Pin> = known.collect();
            if try_begin(conn, Begin { pins: &known, savepoint: false, ..begin }).await? {
                return Ok(Fenced::Read(found));
            }
            if seen == found {
                return Ok(Fenced::Lost);
            }
            seen = found;
        }
        Ok(Fenced::Moved)
    }

    async fn adopt_fence(conn: &mut PgConnection, pins: &[Pin]) -> sqlx::Result<Adoption> {
        adopt::take_fence(conn, pins).await
    }

    async fn commit_adopted(
        conn: &mut PgConnection,
        (): &(),
        marked: &[Pin],
    ) -> Result<(), NotCommitted> {
        if !marked.is_empty() {
            Self::run_text(conn, trigger::unmark(marked))
                .await
                .map_err(NotCommitted::nested::<Postgres>)?;
        }
        Manager::commit(conn).await.map_err(NotCommitted::nested::<Postgres>)
    }

    async fn roll_back_adopted(conn: &mut PgConnection, (): &()) -> sqlx::Result<()> {
        Manager::rollback(conn).await
    }

    async fn begin_writing(conn: &mut PgConnection) -> sqlx::Result<()> {
        Manager::begin(conn, Some("BEGIN ISOLATION LEVEL READ COMMITTED".into_sql_str())).await
    }

    const HOLDERS: Holders = Holders::ByName(
        "SELECT a.pid::bigint, a.usename::text, nullif(a.application_name, ''), host(a.client_addr), a.state, \
         extract(epoch FROM clock_timestamp() - a.xact_start)::bigint \
         FROM dualwrite_migration m JOIN pg_locks l ON l.relation = to_regclass('dualwrite_fence_' || m.fence) \
         JOIN pg_stat_activity a ON a.pid = l.pid AND a.datname = current_database() \
         WHERE m.name = ? AND l.granted AND a.pid <> pg_backend_pid() ORDER BY a.xact_start, a.pid LIMIT 10",
    );

    async fn begin_exclusive(conn: &mut PgConnection, (): &mut (), name: &str) -> sqlx::Result<()> {
        // The trigger on this table locks the fence. The limits of the application's sessions are not for this.
        let sql = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED;{OURS};SET LOCAL lock_timeout='1s';\
             SET LOCAL statement_timeout='5s';\
             UPDATE dualwrite_migration SET epoch=epoch WHERE name='{name}';\
             SET LOCAL statement_timeout TO DEFAULT"
        );
        Manager::begin(conn, Some(safe(sql).into_sql_str())).await
    }

    async fn begin_transition(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
        Self::begin_exclusive(conn, &mut (), name).await
    }

    async fn read_pinned(conn: &mut PgConnection, pins: &[Pin]) -> sqlx::Result<Fenced> {
        super::read_pinned::<Postgres>(conn, pins, "", trigger::mark).await
    }

    async fn commit(
        conn: &mut PoolConnection<Postgres>,
        (): &(),
        _marked: bool, // the setting ends with the transaction
    ) -> Result<(), NotCommitted> {
        Manager::commit(conn).await.map_err(NotCommitted::Failed)
    }

    async fn roll_back(conn: &mut PoolConnection<Postgres>, (): &()) -> sqlx::Result<()> {
        Manager::rollback(conn).await
    }

    fn abandon(mut conn: PoolConnection<Postgres>, (): ()) {
        Manager::start_rollback(&mut conn);
    }

    async fn unmark(_conn: &mut PgConnection) -> sqlx::Result<()> {
        Ok(()) // the setting ends with the transaction
    }

    async fn triggers(
        _conn: &mut PgConnection,
        watched: &Watched,
        create: bool,
    ) -> sqlx::Result<Vec<String>> {
        Ok(if create { trigger::create(watched) } else { trigger::drop(watched) })
    }

    async fn hazards(
        conn: &mut PgConnection,
        watched: &Watched,
        new: Option<&NewTable>,
    ) -> sqlx::Result<HazardScan> {
        hazards::find_hazards(conn, watched, new).await
    }

    async fn catalogue(
        conn: &mut PgConnection,
        names: &[TableName],
    ) -> sqlx::Result<Vec<Option<Table>>> {
        catalogue::read(conn, names).await
    }

    async fn compared_by_type(
        conn: &mut PgConnection,
        sides: &[[String; 2]],
    ) -> sqlx::Result<Vec<Option<PlainEquality>>> {
        types::compared(conn, sides).await
    }

    fn compared_plainly(old: &schema::Column, new: &schema::Column) -> Option<PlainEquality> {
        catalogue::compared_plainly(old, new)
    }

    fn key_form(column: &schema::Column, kind: KeyKind) -> Result<KeyForm, Unfit> {
        catalogue::key_form(column, kind)
    }

    async fn repair_fence(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
        fence::repair(conn, name).await
    }

    async fn inspect(pool: &Pool<Postgres>) -> Result<Engine, Error> {
        inspect::inspect(pool).await
    }

    fn is_lock_timeout(error: &sqlx::Error) -> bool {
        has_code(error, LOCK_NOT_AVAILABLE)
    }

    fn is_transaction_gone(error: &sqlx::Error) -> bool {
        has_code(error, NO_SUCH_SAVEPOINT) || has_code(error, NO_TRANSACTION)
    }

    async fn table_notes(conn: &mut PgConnection, table: &str) -> sqlx::Result<TableNotes> {
        notes::of(conn, table).await
    }

    const DEFERS: bool = true;

    const JUDGE_ALL: Option<&'static str> = Some("SET CONSTRAINTS ALL IMMEDIATE");

    async fn defers(conn: &mut PgConnection) -> sqlx::Result<bool> {
        let sql =
            "SELECT count(*) FROM (SELECT 1 FROM pg_constraint WHERE condeferrable LIMIT 1) c";
        Ok(Self::fetch(conn, sql, &[]).await?.first().map_or(Ok(0), |row| row.integer(0))? > 0)
    }

    async fn deferred(
        conn: &mut PgConnection,
        table: &str,
        _key: &[String],
    ) -> sqlx::Result<Deferred> {
        // Those of the table, and foreign keys of others that refer to it.
        let sql = "SELECT string_agg(DISTINCT format('%I.%I', n.nspname, c.conname), ', ') \
                   FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace \
                   WHERE c.condeferrable AND to_regclass(?) IN (c.conrelid, c.confrelid)";
        let rows = Self::fetch(conn, sql, &[SqlValue::from(table)]).await?;
        let names = rows.first().map(|row| row.optional_text(0)).transpose()?.flatten();
        Ok(names.map_or(Deferred::Nothing, |names| Deferred::Named(names.to_owned())))
    }

    async fn place(conn: &mut PgConnection) -> sqlx::Result<Option<String>> {
        let sql = "SELECT current_database(), (SELECT relnamespace::regnamespace::text FROM pg_class \
                   WHERE oid = to_regclass('dualwrite_migration'))";
        let rows = Self::fetch(conn, sql, &[]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let schema = row.optional_text(1)?.unwrap_or("(no schema of the search_path)");
        Ok(Some(format!("schema {schema} of database {}", row.text(0)?)))
    }

    const OURS_OR_FAIL: Option<&'static str> = Some(OURS_OR_FAIL);

    fn is_not_ours(error: &sqlx::Error) -> bool {
        has_code(error, DIVISION_BY_ZERO) || has_code(error, FAILED_TRANSACTION)
    }

    async fn check_ours(conn: &mut PgConnection) -> sqlx::Result<()> {
        Self::run(conn, IS_OURS).await
    }

    async fn notify(conn: &mut PgConnection, name: &str) -> sqlx::Result<()> {
        telling::tell(conn, name).await
    }

    async fn watch(pool: &Pool<Postgres>) -> sqlx::Result<Option<Box<dyn Watch>>> {
        // A connection of its own: the listener keeps it for good.
        let options = (*pool.connect_options()).clone();
        let own = pool.options().clone().min_connections(0).max_connections(1);
        let mut listener = PgListener::connect_with(&own.connect_lazy_with(options)).await?;
        listener.listen(telling::CHANNEL).await?;
        Ok(Some(Box::new(Listener(listener))))
    }

    fn control_source(pool: &Pool<Postgres>, limit: Duration) -> Option<Pool<Postgres>> {
        Some(super::control_source(pool, limit))
    }

    async fn prepare_control(
        conn: &mut PgConnection,
        limit: Duration,
    ) -> sqlx::Result<Option<i64>> {
        let sql =
            "SELECT CAST(pg_backend_pid() AS bigint), set_config('statement_timeout', ?, false)";
        let limit = limit.as_millis().max(1).to_string();
        let rows = Self::fetch(conn, sql, &[limit.as_str().into()]).await?;
        rows.first().map(|row| row.integer(0)).transpose()
    }

    async fn cancel(conn: &mut PgConnection, id: i64, text: &str) -> sqlx::Result<()> {
        // Behind a pooler the number is another client's by now.
        let sql = "SELECT CASE WHEN pg_cancel_backend(pid) THEN 1 ELSE 0 END FROM pg_stat_activity \
                   WHERE pid = ? AND state = 'active' AND query LIKE ? ESCAPE '!'";
        let known: String = Self::DIALECT.statement(text).chars().take(200).collect();
        let pattern = super::control_statement(&known);
        Self::fetch(conn, sql, &[id.into(), pattern.as_str().into()]).await.map(drop)
    }

    async fn check_version(conn: &mut PgConnection) -> Result<(), Error> {
        check_version(&migrator(SCHEMA), conn).await
    }

    fn install(pool: &Pool<Postgres>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(install::install(pool))
    }
}

/// BEGIN and the fences, at the epochs that the pins say; `false` where one of them has passed.
async fn try_begin(conn: &mut PgConnection, begin: Begin<'_>) -> sqlx::Result<bool> {
    match Manager::begin(conn, Some(safe(fenced_begin(begin)).into_sql_str())).await {
        Ok(()) => Ok(true),
        Err(error) if has_code(&error, UNDEFINED_TABLE) || has_code(&error, UNDEFINED_FUNCTION) => {
            PostgresAdapter::run(conn, "ROLLBACK").await.map(|()| false)
        }
        Err(error) => Err(error),
    }
}

fn fenced_begin(begin: Begin<'_>) -> String {
    let mut sql = match begin.isolation {
        Isolation::Usual => "BEGIN".to_owned(),
        level => format!("BEGIN ISOLATION LEVEL {}", level.as_sql()),
    };
    sql.push(';');
    sql.push_str(OURS);
    for pin in begin.pins {
        let (fence, epoch, token) = (pin.fence, pin.position.epoch, pin.token.0);
        let _ = write!(
            sql,
            ";LOCK TABLE ONLY dualwrite_fence_{fence} IN ROW EXCLUSIVE MODE;\
             CALL dualwrite_fence_{fence}_{epoch}_{token}()"
        ); // a String takes all
    }
    if let Some(number) = begin.lock {
        let _ = write!(sql, ";SELECT pg_advisory_xact_lock_shared({number})"); // a String takes all
    }
    begin.push_savepoint(&mut sql);
    sql
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

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|found| found == code)
}
