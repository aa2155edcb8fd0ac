//! The narrow waist to a SQL database: bind, fetch, begin with a fence. Everything that differs between
//! databases is in the adapters below; the statements above them are written once.

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
use self::sealed::Adapter as _;
use futures_util::future::BoxFuture;
use sqlx::{AssertSqlSafe, Database, Pool, SqlSafeStr};
use uuid::Uuid;

use crate::control::Watch;
use crate::error::{BoxError, Error};
use crate::key::{KeyKind, KeyPart};
use crate::position::{Epoch, Position};
use crate::stage::Stage;

/// A database that this library can fence: `sqlx::Sqlite`, `sqlx::Postgres`, `sqlx::MySql`.
///
/// Sealed: the fence is only correct if every adapter keeps DESIGN's promises.
///
/// ```
/// fn fenced<DB: dualwrite::Backend>() {}
/// # #[cfg(feature = "sqlite")]
/// fenced::<sqlx::Sqlite>();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a database that dualwrite can fence",
    note = "use sqlx::Sqlite, sqlx::Postgres or sqlx::MySql, and enable the feature `sqlite`, \
            `postgres` or `mysql` of dualwrite"
)]
pub trait Backend: Database {
    /// How this library speaks to it. Not among the methods of the database itself: those would be in
    /// the way of the names in code that is generic over it.
    #[doc(hidden)]
    type Adapter: sealed::Adapter<Db = Self>;
}

/// A value on its way to or from a statement.
#[derive(Clone, Debug, PartialEq)]
#[doc(hidden)]
pub enum SqlValue {
    Integer(Option<i64>),
    Text(Option<String>),
    Uuid(Uuid),
}

impl From<i64> for SqlValue {
    fn from(value: i64) -> Self {
        Self::Integer(Some(value))
    }
}

impl From<u64> for SqlValue {
    fn from(value: u64) -> Self {
        Self::Integer(Some(i64::try_from(value).unwrap_or(i64::MAX)))
    }
}

impl From<&str> for SqlValue {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<KeyPart> for SqlValue {
    fn from(part: KeyPart) -> Self {
        match part {
            KeyPart::Integer(value) => Self::Integer(Some(value)),
            KeyPart::Text(value) => Self::Text(Some(value)),
            KeyPart::Uuid(value) => Self::Uuid(value),
        }
    }
}

/// One row of a result, decoded.
#[derive(Clone, Debug)]
#[doc(hidden)]
pub struct SqlRow(pub Vec<SqlValue>);

impl SqlRow {
    pub(crate) fn integer(&self, column: usize) -> sqlx::Result<i64> {
        self.optional_integer(column)?.ok_or_else(|| unexpected(column, "an integer"))
    }

    pub(crate) fn unsigned(&self, column: usize) -> sqlx::Result<u64> {
        u64::try_from(self.integer(column)?).map_err(|_| unexpected(column, "not negative"))
    }

    pub(crate) fn optional_integer(&self, column: usize) -> sqlx::Result<Option<i64>> {
        match self.0.get(column) {
            Some(SqlValue::Integer(value)) => Ok(*value),
            Some(SqlValue::Text(None)) => Ok(None),
            _ => Err(unexpected(column, "an integer")),
        }
    }

    pub(crate) fn text(&self, column: usize) -> sqlx::Result<&str> {
        self.optional_text(column)?.ok_or_else(|| unexpected(column, "a text"))
    }

    pub(crate) fn optional_text(&self, column: usize) -> sqlx::Result<Option<&str>> {
        match self.0.get(column) {
            Some(SqlValue::Text(value)) => Ok(value.as_deref()),
            Some(SqlValue::Integer(None)) => Ok(None),
            _ => Err(unexpected(column, "a text")),
        }
    }

    pub(crate) fn stage(&self, column: usize) -> sqlx::Result<Stage> {
        let code = self.integer(column)?;
        u8::try_from(code)
            .ok()
            .and_then(Stage::from_code)
            .ok_or_else(|| unexpected(column, "the number of a stage"))
    }
}

pub(crate) fn unexpected(column: usize, expected: &str) -> sqlx::Error {
    let message = format!("column {column} of a control table is not {expected}");
    sqlx::Error::Decode(message.into())
}

/// When two columns say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub enum Alike {
    /// The database says that they are equal.
    Equal,
    /// They are the same text to the letter, whatever the collation says.
    Letters,
}

/// How a database spells what standard SQL leaves open.
#[derive(Debug)]
#[doc(hidden)]
pub struct Dialect {
    /// Microseconds since 1970 by the database's clock.
    pub(crate) now: &'static str,
    pub(crate) quote: char,
    /// `$1` instead of `?`.
    pub(crate) numbered: bool,
    /// `ON DUPLICATE KEY UPDATE` instead of `ON CONFLICT`.
    pub(crate) on_duplicate_key: bool,
    /// Appended to a SELECT to lock its rows until the end of the transaction.
    pub(crate) for_update: &'static str,
    /// The same, passing over rows that are locked already.
    pub(crate) for_update_skip: &'static str,
    /// `(a, b) > (x, y)` is written out, because the planner does not use an index for the short form.
    pub(crate) expand_row_comparison: bool,
    /// Replaces an older savepoint of the same name by itself.
    pub(crate) savepoint_replaces: bool,
    /// There is a server, and a connection to it can be thrown away without losing anything.
    pub(crate) server: bool,
}

impl Dialect {
    /// A statement written with `?`, in this database's placeholders. `{now}` stands for its clock.
    pub(crate) fn statement<'s>(&self, sql: &'s str) -> Cow<'s, str> {
        let sql = match sql.contains("{now}") {
            true => Cow::Owned(sql.replace("{now}", self.now)),
            false => Cow::Borrowed(sql),
        };
        if !self.numbered || !sql.contains('?') {
            return sql;
        }
        let mut numbered = String::with_capacity(sql.len() + 8);
        let mut count = 0;
        for piece in sql.split_inclusive('?') {
            match piece.strip_suffix('?') {
                Some(before) => {
                    count += 1;
                    numbered.push_str(before);
                    numbered.push_str(&format!("${count}"));
                }
                None => numbered.push_str(piece),
            }
        }
        Cow::Owned(numbered)
    }

    /// The condition that two columns do not say the same; NULL is the same as NULL.
    pub(crate) fn differs(&self, left: &str, right: &str, alike: Alike) -> String {
        match (self.numbered, self.on_duplicate_key, alike) {
            (true, _, Alike::Equal) => format!("{left} IS DISTINCT FROM {right}"),
            (true, _, Alike::Letters) => {
                format!("CAST({left} AS text) IS DISTINCT FROM CAST({right} AS text)")
            }
            (_, true, Alike::Equal) => format!("NOT ({left} <=> {right})"),
            // Bytes have no collation, which would take letters for equal or leave blanks out.
            (_, true, Alike::Letters) => {
                let bytes = |side: &str| format!("CAST(CONVERT({side} USING utf8mb4) AS BINARY)");
                format!("NOT ({} <=> {})", bytes(left), bytes(right))
            }
            (_, false, _) => format!("{left} IS NOT {right} COLLATE BINARY"),
        }
    }

    /// The condition that two values are not the same to the letter or not by the database's own equality;
    /// NULL is the same as NULL.
    pub(crate) fn differs_exactly(&self, left: &str, right: &str) -> String {
        match (self.numbered, self.on_duplicate_key) {
            // Two columns of two collations have no order and no equality, unless they are given one.
            (true, _) => format!(
                "CAST({left} AS text) COLLATE \"C\" IS DISTINCT FROM CAST({right} AS text) COLLATE \"C\""
            ),
            // Bytes that are no text are compared by equality only.
            (_, true) => format!(
                "({} OR {})",
                self.differs(left, right, Alike::Equal),
                self.differs(left, right, Alike::Letters)
            ),
            // A column of numbers takes the text `1.0` for 1; of one type nothing is converted.
            (_, false) => format!(
                "({} OR (typeof({left}) <> typeof({right}) \
                 AND CAST({left} AS TEXT) IS NOT CAST({right} AS TEXT)))",
                self.differs(left, right, Alike::Letters)
            ),
        }
    }

    /// The end of an INSERT that overwrites `columns` where `key` is there already.
    pub(crate) fn upsert(&self, key: &str, columns: &[&str]) -> String {
        let assign = |column: &&str| match self.on_duplicate_key {
            true => format!("{column} = VALUES({column})"),
            false => format!("{column} = excluded.{column}"),
        };
        let list = columns.iter().map(assign).collect::<Vec<_>>().join(", ");
        match (self.on_duplicate_key, columns.is_empty()) {
            (true, true) => {
                let first = key.split(',').next().unwrap_or(key);
                format!(" ON DUPLICATE KEY UPDATE {first} = {first}")
            }
            (true, false) => format!(" ON DUPLICATE KEY UPDATE {list}"),
            (false, true) => format!(" ON CONFLICT ({key}) DO NOTHING"),
            (false, false) => format!(" ON CONFLICT ({key}) DO UPDATE SET {list}"),
        }
    }
}

/// The isolation level of a fenced transaction on PostgreSQL and MySQL. SQLite, with a single writer at
/// a time, is always serializable.
///
/// ```
/// assert_eq!(dualwrite::Isolation::default(), dualwrite::Isolation::ReadCommitted);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// The level for dual writes unless something needs another one.
    #[default]
    ReadCommitted,
    /// One snapshot for the whole transaction. On PostgreSQL a write that meets a newer one fails with
    /// `Serialization`, and so may `begin` while the stage changes.
    RepeatableRead,
    /// As if one transaction ran after the other; any statement, and the commit, may fail with
    /// `Serialization`.
    Serializable,
}

impl Isolation {
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    pub(crate) const fn as_sql(self) -> &'static str {
        match self {
            Self::ReadCommitted => "READ COMMITTED",
            Self::RepeatableRead => "REPEATABLE READ",
            Self::Serializable => "SERIALIZABLE",
        }
    }
}

/// One migration that a transaction shall be fenced for.
#[derive(Clone, Debug)]
#[doc(hidden)]
pub struct Pin {
    pub(crate) name: Arc<str>,
    /// The position that the caller believes in.
    pub(crate) position: Position,
}

#[cfg(feature = "postgres")]
impl Pin {
    /// The advisory lock of a migration: `xxh3_64("dualwrite:" + name)`, as a signed number.
    pub(crate) fn lock_key(name: &str) -> i64 {
        xxhash_rust::xxh3::xxh3_64(format!("dualwrite:{name}").as_bytes()) as i64
    }
}

/// A table of old whose writers are watched.
#[derive(Clone, Debug)]
#[doc(hidden)]
pub struct Watched {
    /// A validated name.
    pub(crate) migration: String,
    /// Quoted, as are the columns of the key.
    pub(crate) table: String,
    pub(crate) columns: Vec<(String, KeyKind)>,
    /// Of the trigger, and of the function on PostgreSQL.
    pub(crate) name: String,
}

impl Watched {
    pub(crate) fn new(migration: &str, table: String, columns: Vec<(String, KeyKind)>) -> Self {
        // Of all that it depends on, so that one of this name is this one, and need not be replaced:
        // in between, writes would go by unseen.
        let parts = columns.iter().map(|(column, kind)| format!("{column} {kind}"));
        let parts: Vec<String> =
            [migration.to_owned(), table.clone()].into_iter().chain(parts).collect();
        let hash = xxhash_rust::xxh3::xxh3_64(parts.join("\0").as_bytes());
        let name = format!("dualwrite_watch_{hash:016x}");
        Self { migration: migration.to_owned(), table, columns, name }
    }
}

/// What a database says of its own load; `None` where it does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pressure {
    pub(crate) lock_waits: Option<u64>,
    pub(crate) active: Option<u64>,
    pub(crate) lag: Option<Duration>,
}

impl Pressure {
    /// From a row of the adapter's `PRESSURE`.
    pub(crate) fn of(row: &SqlRow) -> sqlx::Result<Self> {
        let number = |column| -> sqlx::Result<Option<u64>> {
            Ok(row.optional_integer(column)?.and_then(|value| u64::try_from(value).ok()))
        };
        let lag = number(2)?.map(Duration::from_micros);
        Ok(Self { lock_waits: number(0)?, active: number(1)?, lag })
    }
}

/// How a fenced transaction begins.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub struct Begin<'p> {
    pub pins: &'p [Pin],
    pub isolation: Isolation,
    /// Sets the savepoint of the first mirror write right away, in the same message. Only where the
    /// positions are found as the pins say.
    pub savepoint: bool,
}

impl<'p> Begin<'p> {
    /// At the usual level, without a savepoint.
    pub(crate) fn plain(pins: &'p [Pin]) -> Self {
        Self { pins, isolation: Isolation::ReadCommitted, savepoint: false }
    }

    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    fn push_savepoint(self, sql: &mut String) {
        if self.savepoint {
            sql.push(';');
            sql.push_str(SAVEPOINT);
        }
    }
}

/// Before a mirror write whose failure would be forgiven.
pub(crate) const SAVEPOINT: &str = "SAVEPOINT dualwrite_mirror";

/// What taking the fence found.
#[derive(Debug)]
#[doc(hidden)]
pub enum Fenced {
    /// The positions are as the pins say, and the savepoint is set if it was asked for.
    Confirmed,
    /// The positions in force, in the order of the pins; `None` where there is no such migration.
    /// `watched`: a trigger records writes that do not bear the mark of a fenced transaction.
    Read { positions: Vec<Option<Position>>, watched: bool },
    /// Some position is another one; the transaction was rolled back.
    Moved,
}

pub(crate) mod sealed {
    use super::*;

    /// What an adapter does. Futures are `Send`; connections are whatever sqlx uses.
    type Connection<A> = <<A as Adapter>::Db as Database>::Connection;

    pub trait Adapter: Send + Sync + 'static {
        type Db: Database;

        const DIALECT: Dialect;

        /// Asks for sessions that wait for a lock, sessions that are active, and microseconds that a
        /// replica is behind, each NULL where unknown.
        const PRESSURE: Option<&'static str>;

        /// Asks for a name, and the bytes that were ever written to the log, as a text; `None` where there is
        /// no such number.
        const LOG_WRITTEN: Option<&'static str>;

        /// Asks the catalogue for the number of rows of `{table}`, quoted.
        const ESTIMATE: Option<&'static str>;

        /// Lets the transaction's commit return before it is on disk. For what can be lost as a whole:
        /// whoever commits later and waits, waits for this one too.
        const RELAX: Option<&'static str>;

        /// There is a full join that uses the order of keys, and comparing texts of two collations is an
        /// error; elsewhere a left join and a look for the rest do it.
        const FULL_JOIN: bool;

        /// A number for a tuple of values, which other tuples do not have but by chance, below 2⁶³; and the
        /// aggregate of such numbers, in any order. `None` where the library has to hash.
        fn digest(values: &[String]) -> Option<(String, String)>;

        /// A value as a text that no other value has.
        fn spelled(value: &str) -> String;

        /// Runs one statement with bound values; answers with the rows affected.
        fn execute(
            conn: &mut Connection<Self>,
            sql: &str,
            values: &[SqlValue],
        ) -> impl Future<Output = sqlx::Result<u64>> + Send;

        /// Runs one query with bound values.
        fn fetch(
            conn: &mut Connection<Self>,
            sql: &str,
            values: &[SqlValue],
        ) -> impl Future<Output = sqlx::Result<Vec<SqlRow>>> + Send;

        /// Runs one query whose values are of the user's types.
        fn fetch_typed(
            conn: &mut Connection<Self>,
            sql: &str,
            values: <Self::Db as Database>::Arguments,
        ) -> impl Future<Output = sqlx::Result<Vec<<Self::Db as Database>::Row>>> + Send;

        /// Runs one statement whose values are of the user's types; answers with the rows affected.
        fn execute_typed(
            conn: &mut Connection<Self>,
            sql: &str,
            values: <Self::Db as Database>::Arguments,
        ) -> impl Future<Output = sqlx::Result<u64>> + Send;

        /// Adds a value of ours to the user's.
        fn push_value(
            values: &mut <Self::Db as Database>::Arguments,
            value: &SqlValue,
        ) -> Result<(), BoxError>;

        /// The first columns of a row, as values of ours.
        fn key_columns(row: &<Self::Db as Database>::Row, count: usize) -> sqlx::Result<SqlRow>;

        /// A column as it came.
        fn raw_column(
            row: &<Self::Db as Database>::Row,
            column: usize,
        ) -> sqlx::Result<<Self::Db as Database>::ValueRef<'_>>;

        /// Runs statements without values, unprepared.
        fn run(
            conn: &mut Connection<Self>,
            sql: &'static str,
        ) -> impl Future<Output = sqlx::Result<()>> + Send;

        /// Runs one statement without values, unprepared.
        fn run_text(
            conn: &mut Connection<Self>,
            sql: String,
        ) -> impl Future<Output = sqlx::Result<()>> + Send;

        /// Opens a transaction that holds the fence of every pin, shared.
        fn begin_fenced(
            conn: &mut Connection<Self>,
            begin: Begin<'_>,
        ) -> impl Future<Output = sqlx::Result<Fenced>> + Send;

        /// Removes the mark of a fenced transaction, which a trigger looks at, before it commits.
        fn unmark(conn: &mut Connection<Self>) -> impl Future<Output = sqlx::Result<()>> + Send;

        /// The statements that make, or remove, the trigger on a table of old.
        fn triggers(watched: &Watched, create: bool) -> Vec<String>;

        /// Opens a transaction that holds the fence of one migration exclusively. Gives up, with an
        /// error, after about a second of waiting, so that no queue of writers builds up behind it.
        fn begin_exclusive(
            conn: &mut Connection<Self>,
            name: &str,
        ) -> impl Future<Output = sqlx::Result<()>> + Send;

        /// Whether an error says that the exclusive fence was not to be had in time.
        fn is_lock_timeout(error: &sqlx::Error) -> bool;

        /// Whether an error says that a savepoint is gone, and the transaction with it: the server has
        /// rolled all of it back.
        fn is_savepoint_gone(error: &sqlx::Error) -> bool;

        /// Fails where an earlier error has already ended the transaction, although COMMIT would say Ok.
        fn check_alive(
            conn: &mut Connection<Self>,
        ) -> impl Future<Output = sqlx::Result<()>> + Send;

        /// Tells other processes that a position changed, at commit.
        fn notify(
            conn: &mut Connection<Self>,
            name: &str,
        ) -> impl Future<Output = sqlx::Result<()>> + Send;

        /// Hints of changes, where the database can push them.
        fn watch(
            pool: &Pool<Self::Db>,
        ) -> impl Future<Output = sqlx::Result<Option<Box<dyn Watch>>>> + Send;

        /// A small pool for the control tables alone, so that a busy application cannot starve the
        /// heartbeat; the application's own where the database has a single writer anyway.
        fn control_pool(pool: &Pool<Self::Db>) -> Pool<Self::Db>;

        /// Makes or upgrades the control tables.
        fn install(pool: &Pool<Self::Db>) -> BoxFuture<'_, Result<(), Error>>;
    }
}

/// The lines of `SELECT stage, ramp, epoch …` as positions.
pub(crate) fn position_of(row: &SqlRow, first: usize) -> sqlx::Result<Position> {
    let ramp = u16::try_from(row.integer(first + 1)?)
        .ok()
        .and_then(|ramp| crate::position::Percent::from_basis_points(ramp).ok())
        .ok_or_else(|| unexpected(first + 1, "a ramp"))?;
    Ok(Position { stage: row.stage(first)?, ramp, epoch: Epoch(row.unsigned(first + 2)?) })
}

/// Reads the positions of all pins inside the transaction that holds their fences.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
async fn read_positions<DB: Backend>(
    conn: &mut DB::Connection,
    pins: &[Pin],
    lock: &str,
    mark: &'static str,
) -> sqlx::Result<Fenced> {
    let mut found = Vec::with_capacity(pins.len());
    let mut watched = false;
    let sql =
        format!("SELECT stage, ramp, epoch, watched FROM dualwrite_migration WHERE name = ?{lock}");
    for pin in pins {
        let rows = DB::Adapter::fetch(conn, &sql, &[SqlValue::from(&*pin.name)]).await?;
        found.push(rows.first().map(|row| position_of(row, 0)).transpose()?);
        watched |= matches!(rows.first(), Some(row) if row.integer(3)? != 0);
    }
    if watched {
        DB::Adapter::run(conn, mark).await?;
    }
    Ok(Fenced::Read { positions: found, watched })
}

/// Connections for the control tables, per process.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) const CONTROL_CONNECTIONS: u32 = 2;

/// The one place that declares a statement safe: texts of this crate, with validated identifiers.
pub(crate) fn safe(sql: impl Into<String>) -> AssertSqlSafe<String> {
    AssertSqlSafe(sql.into())
}

/// Binds our values to a query of a given database.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
macro_rules! bind {
    ($query:expr, $values:expr) => {{
        let mut query = $query;
        for value in $values {
            query = match value {
                SqlValue::Integer(value) => query.bind(*value),
                SqlValue::Text(value) => query.bind(value.clone()),
                SqlValue::Uuid(value) => query.bind(*value),
            };
        }
        query
    }};
}
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub(crate) use bind;

/// The part of an adapter that moves values of the user's types; the same text for each database.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
macro_rules! typed_values {
    () => {
        async fn fetch_typed(
            conn: &mut <Self::Db as sqlx::Database>::Connection,
            sql: &str,
            values: <Self::Db as sqlx::Database>::Arguments,
        ) -> sqlx::Result<Vec<<Self::Db as sqlx::Database>::Row>> {
            let sql = safe(Self::DIALECT.statement(sql));
            sqlx::query_with(sql, values).fetch_all(conn).await
        }

        async fn execute_typed(
            conn: &mut <Self::Db as sqlx::Database>::Connection,
            sql: &str,
            values: <Self::Db as sqlx::Database>::Arguments,
        ) -> sqlx::Result<u64> {
            let sql = safe(Self::DIALECT.statement(sql));
            Ok(sqlx::query_with(sql, values).execute(conn).await?.rows_affected())
        }

        fn push_value(
            values: &mut <Self::Db as sqlx::Database>::Arguments,
            value: &SqlValue,
        ) -> Result<(), BoxError> {
            use sqlx_core::arguments::Arguments as _;
            match value {
                SqlValue::Integer(value) => values.add(*value),
                SqlValue::Text(value) => values.add(value.clone()),
                SqlValue::Uuid(value) => values.add(*value),
            }
        }

        fn key_columns(
            row: &<Self::Db as sqlx::Database>::Row,
            count: usize,
        ) -> sqlx::Result<SqlRow> {
            decode(row, count)
        }

        fn raw_column(
            row: &<Self::Db as sqlx::Database>::Row,
            column: usize,
        ) -> sqlx::Result<<Self::Db as sqlx::Database>::ValueRef<'_>> {
            row.try_get_raw(column)
        }
    };
}
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub(crate) use typed_values;

/// Runs the embedded sqlx migrations of the control tables under their own history table, so that they
/// cannot collide with the application's.
pub(crate) fn migrator(sql: &'static str) -> sqlx::migrate::Migrator {
    use sqlx::migrate::{Migration, MigrationType, Migrator};
    let first = Migration::new(
        1,
        "control tables".into(),
        MigrationType::Simple,
        safe(sql).into_sql_str(),
        false,
    );
    let mut migrator = Migrator::with_migrations(vec![first]);
    migrator.dangerous_set_table_name("_dualwrite_migrations");
    migrator
}

/// Explains a failed installation.
pub(crate) fn install_error(error: sqlx::migrate::MigrateError) -> Error {
    use crate::error::ErrorKind;
    use sqlx::migrate::MigrateError;
    let (kind, message) = match &error {
        MigrateError::VersionMissing(version) => (
            ErrorKind::NewerControlTables,
            format!(
                "the control tables are at version {version}, which this release does not know; \
                 upgrade dualwrite in this service before it joins"
            ),
        ),
        MigrateError::VersionMismatch(version) => (
            ErrorKind::NewerControlTables,
            format!(
                "version {version} of the control tables was made by another build of dualwrite"
            ),
        ),
        _ => (ErrorKind::Database, "the control tables could not be made".to_owned()),
    };
    Error::new(kind, message).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERED: Dialect = Dialect {
        now: "clock()",
        quote: '"',
        numbered: true,
        on_duplicate_key: false,
        for_update: "",
        for_update_skip: "",
        expand_row_comparison: false,
        savepoint_replaces: false,
        server: true,
    };

    #[test]
    fn placeholders_are_numbered_and_the_clock_filled_in() {
        let sql = NUMBERED.statement("UPDATE t SET a = ?, at = {now} WHERE b = ?");
        assert_eq!(sql, "UPDATE t SET a = $1, at = clock() WHERE b = $2");
    }

    #[test]
    fn upserts_name_their_columns() {
        assert_eq!(
            NUMBERED.upsert("a, b", &["c", "d"]),
            " ON CONFLICT (a, b) DO UPDATE SET c = excluded.c, d = excluded.d"
        );
        let mysql = Dialect { on_duplicate_key: true, ..NUMBERED };
        assert_eq!(mysql.upsert("a, b", &["c"]), " ON DUPLICATE KEY UPDATE c = VALUES(c)");
        assert_eq!(mysql.upsert("a, b", &[]), " ON DUPLICATE KEY UPDATE a = a");
    }

    #[test]
    fn null_is_the_same_as_null_in_every_dialect() {
        let mysql = Dialect { numbered: false, on_duplicate_key: true, ..NUMBERED };
        let sqlite = Dialect { numbered: false, ..NUMBERED };
        assert_eq!(NUMBERED.differs("a", "b", Alike::Equal), "a IS DISTINCT FROM b");
        assert_eq!(mysql.differs("a", "b", Alike::Equal), "NOT (a <=> b)");
        assert_eq!(sqlite.differs("a", "b", Alike::Letters), "a IS NOT b COLLATE BINARY");
        assert!(NUMBERED.differs_exactly("a", "b").contains("COLLATE \"C\" IS DISTINCT FROM"));
        assert!(mysql.differs_exactly("a", "b").contains("AS BINARY"));
        assert!(sqlite.differs_exactly("a", "b").contains("CAST(a AS TEXT) IS NOT"));
    }
}
