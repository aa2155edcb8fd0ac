//! What a database must be able to do. Sealed: users name [`Backend`](super::Backend), and cannot
//! implement this.

use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::{Database, Pool};

use crate::control::Watch;
use crate::database::{Begin, Dialect, Fenced, NewTable, Pin, Pressure, SqlRow, SqlValue, Watched};
use crate::error::{BoxError, Error};
use crate::key::KeyKind;
use crate::preflight::form::{KeyForm, Unfit};
use crate::preflight::schema::{Column, Table, TableName};
use crate::stages::hazard::Looked;

type Connection<A> = <<A as Adapter>::Db as Database>::Connection;

/// What an adapter does. Futures are `Send`; connections are whatever sqlx uses.
pub trait Adapter: Send + Sync + 'static {
    type Db: Database;

    const DIALECT: Dialect;

    /// Asks for a name, and the bytes that were ever written to the log, as a text; `None` where there is
    /// no such number.
    const LOG_WRITTEN: Option<&'static str>;

    /// Asks the catalogue for the number of rows of a table, which is quoted; `None` where it does not know.
    fn estimate(_table: &str) -> Option<String> {
        None
    }

    /// For the transactions of a backfill: lets the commit return before it is on disk, for it can be lost as
    /// a whole, and whoever commits later and waits, waits for this one too; and has statements planned anew.
    const BATCH_SETTINGS: Option<&'static str>;

    /// A commit waits for the disk, and other transactions can write meanwhile.
    const COMMIT_WAITS: bool = false;

    /// There is a full join that uses the order of keys, and comparing texts of two collations is an
    /// error; elsewhere a left join and a look for the rest do it.
    const FULL_JOIN: bool;

    /// In a transaction with one snapshot a locking statement sees rows that are newer than it, and says
    /// nothing.
    const LOCKS_SEE_NEWER: bool = false;

    /// What it says of its own load.
    fn pressure(
        _conn: &mut Connection<Self>,
    ) -> impl Future<Output = sqlx::Result<Pressure>> + Send {
        std::future::ready(Ok(Pressure::default()))
    }

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

    /// Runs one statement whose values are of the user's types; answers with the rows affected. `again`:
    /// it is worth to be kept prepared.
    fn execute_typed(
        conn: &mut Connection<Self>,
        sql: &str,
        values: <Self::Db as Database>::Arguments,
        again: bool,
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

    /// Opens a transaction without a fence, whose first statement writes.
    fn begin_writing(conn: &mut Connection<Self>) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Removes the marks of a fenced transaction, which triggers look at, before it commits.
    fn unmark(conn: &mut Connection<Self>) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// The statements that make, or remove, the trigger on a table of old, by what the catalogue says of it.
    fn triggers(
        conn: &mut Connection<Self>,
        watched: &Watched,
        create: bool,
    ) -> impl Future<Output = sqlx::Result<Vec<String>>> + Send;

    /// What the catalogue says of writers of the old table that the trigger does not see, and of sequences of the
    /// new one.
    fn hazards(
        conn: &mut Connection<Self>,
        watched: &Watched,
        new: Option<&NewTable>,
    ) -> impl Future<Output = sqlx::Result<Looked>> + Send;

    /// What the catalogue says of these tables; `None` where there is no such table.
    fn catalogue(
        conn: &mut Connection<Self>,
        names: &[TableName],
    ) -> impl Future<Output = sqlx::Result<Vec<Option<Table>>>> + Send;

    /// How keys of this kind are read, bound and compared in a column, or why they cannot be.
    fn key_form(column: &Column, kind: KeyKind) -> Result<KeyForm, Unfit>;

    /// Opens a transaction that holds the fence of one migration exclusively. Gives up, with an
    /// error, after about a second of waiting, so that no queue of writers builds up behind it.
    fn begin_exclusive(
        conn: &mut Connection<Self>,
        name: &str,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Reads the positions of the pins where the transaction holds their fences already, and marks it where a
    /// trigger looks for the mark: always [`Fenced::Read`].
    fn read_pinned(
        conn: &mut Connection<Self>,
        pins: &[Pin],
    ) -> impl Future<Output = sqlx::Result<Fenced>> + Send;

    /// Whether an error says that the exclusive fence was not to be had in time.
    fn is_lock_timeout(error: &sqlx::Error) -> bool;

    /// Whether an error says that a savepoint is gone, and the transaction with it: the server has
    /// rolled all of it back.
    fn is_savepoint_gone(error: &sqlx::Error) -> bool;

    /// Fails where an earlier error has already ended the transaction, although COMMIT would say Ok.
    fn check_alive(conn: &mut Connection<Self>) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Tells other processes that a position changed, at commit.
    fn notify(
        conn: &mut Connection<Self>,
        name: &str,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Hints of changes, where the database can push them.
    fn watch(
        pool: &Pool<Self::Db>,
    ) -> impl Future<Output = sqlx::Result<Option<Box<dyn Watch>>>> + Send;

    /// Where the control tables have their connections from, with the settings and hooks of the application's: a
    /// pool that is only used to connect. `None` where there is no other way to the database than the application's
    /// own connections.
    fn control_source(pool: &Pool<Self::Db>, limit: Duration) -> Option<Pool<Self::Db>>;

    /// Prepares such a connection: the server ends a statement that takes longer than the limit. Answers with the
    /// number of the connection, where there is one to cancel by.
    fn prepare_control(
        conn: &mut Connection<Self>,
        limit: Duration,
    ) -> impl Future<Output = sqlx::Result<Option<i64>>> + Send;

    /// Cancels a statement, with this text, on the connection of this number.
    fn cancel(
        conn: &mut Connection<Self>,
        id: i64,
        text: &str,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Makes or upgrades the control tables.
    fn install(pool: &Pool<Self::Db>) -> BoxFuture<'_, Result<(), Error>>;
}
