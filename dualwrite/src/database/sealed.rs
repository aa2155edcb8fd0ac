//! What a database must be able to do. Sealed: users name [`Backend`](super::Backend), and cannot
//! implement this.

use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::{Database, Pool};

use crate::database::watch::Watch;
use crate::database::{
    Adoption, Backend, Begin, Deferred, Dialect, Engine, Examination, Fenced, Holders, NewTable,
    Pin, Pressure, SqlRow, SqlValue, Upstream, Watched,
};
use crate::error::{BoxError, Error};
use crate::key::KeyKind;
use crate::preflight::form::{KeyForm, Unfit};
use crate::preflight::rows::TableNotes;
use crate::preflight::schema::{Column, PlainEquality, Table, TableName};
use crate::stages::hazard::HazardScan;

/// The longest that a transaction on SQLite, which has one writer at a time, waits for statements of the control tables.
pub const CONTROL_TURN_WAIT: Duration = Duration::from_millis(100);

type Connection<A> = <<A as Adapter>::Db as Database>::Connection;

/// What an adapter does. Futures are `Send`; connections are whatever sqlx uses.
pub trait Adapter: Send + Sync + 'static {
    type Db: Database;

    /// What is kept beside the connection of a transaction that the library began.
    type Held: Default + Send + Sync + 'static;

    const DIALECT: Dialect;

    /// Asks for a name, and the bytes that were ever written to the log, as a text; `None` where there is
    /// no such number.
    const LOG_WRITTEN: Option<&'static str>;

    /// Asks the catalogue for the number of rows of a table, which is quoted; `None` where it does not know.
    fn estimate(_table: &str) -> Option<String> {
        None
    }

    /// Asks for the columns of a table, after its schema where it has one, that an `INSERT` cannot leave out.
    fn needed_columns(table: &[String]) -> (String, Vec<SqlValue>);

    /// For the transactions of a backfill: lets the commit return before it is on disk, for it can be lost as
    /// a whole, and whoever commits later and waits, waits for this one too; and has statements planned anew.
    const BATCH_SETTINGS: Option<&'static str>;

    /// Asks for the names of migrations whose fence is not what their row says; `None` where the row is the fence.
    const BROKEN_FENCES: Option<&'static str> = None;

    /// Asks for the foreign keys of other tables that point to a table; bound are its schema, empty for the usual one,
    /// and its name. Answers with the other table, the name of the key, and the column that it points to.
    const FOREIGN_KEYS_TO: &'static str;

    /// Asks for the views and their texts.
    const VIEWS: &'static str;

    /// Asks for the triggers: the name, the table, and the text with what it executes.
    const TRIGGERS: &'static str;

    /// Asks for the indexes of a table, bound as above: the name, whether it is unique and valid, and what stands behind
    /// the table in `CREATE INDEX`.
    const TABLE_INDEXES: &'static str;

    /// Asks for the foreign keys of a table, bound as above, and where the catalogue has them for its checks: the name,
    /// whether it is valid, and the text.
    const TABLE_RULES: &'static str;

    /// Asks for an estimate of the rows of a table, bound as above, its bytes, and the rows that were written to it since
    /// the server counts; NULL where it is not known. No row where there is no such table.
    const TABLE_SIZE: &'static str;

    /// Asks for the number of replicas that follow the server.
    const REPLICAS: Option<&'static str> = None;

    /// What is asked of a running server before a migration.
    const EXAMINATION: Examination;

    /// Asks for the text that made a table, in the second column, where its checks stand there alone.
    fn create_table(_table: &TableName) -> Option<String> {
        None
    }

    /// Asks for the indexes of a table, bound as above, with their columns, where a column cannot be dropped before
    /// they are; those that a constraint made have an empty name.
    const INDEXED_COLUMNS: Option<&'static str> = None;

    /// Statements that limit how long a change of the schema waits for a lock, and how long it may take.
    fn alter_settings(lock: Duration, statement: Duration) -> Vec<String>;

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

    /// Opens a transaction that holds the fence of every pin, shared. Should it end before
    /// [`commit`](Adapter::commit), whoever ends it, what follows on this connection is not stored.
    fn begin_fenced(
        conn: &mut Connection<Self>,
        held: &mut Self::Held,
        begin: Begin<'_>,
    ) -> impl Future<Output = sqlx::Result<Fenced>> + Send;

    /// Commits, if the transaction is still the one that was begun. `marked`: the mark that a trigger looks at
    /// is removed before. Where it had ended, the connection can be used again, or is closed.
    fn commit(
        conn: &mut PoolConnection<Self::Db>,
        held: &Self::Held,
        marked: bool,
    ) -> impl Future<Output = Result<(), NotCommitted>> + Send;

    /// Rolls back, and makes the session what it was.
    fn roll_back(
        conn: &mut PoolConnection<Self::Db>,
        held: &Self::Held,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Rolls a dropped transaction back in the background, or closes its connection.
    fn abandon(conn: PoolConnection<Self::Db>, held: Self::Held);

    /// The server can end a transaction by itself, after which statements are stored one by one.
    const ENDS_UNSEEN: bool = false;

    /// Takes the fence of every pin, shared, in a transaction that somebody else began. Where it is not
    /// [`Held`](Adoption::Held) the transaction is as it was before, but for locks.
    fn adopt_fence(
        conn: &mut Connection<Self>,
        pins: &[Pin],
    ) -> impl Future<Output = sqlx::Result<Adoption>> + Send;

    /// After the savepoint that stands before everything that is written under the fence: an end of the transaction is
    /// noticed from now on, where that can be.
    fn guard_adopted(
        _conn: &mut Connection<Self>,
        _held: &mut Self::Held,
    ) -> impl Future<Output = sqlx::Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Releases that savepoint, if the transaction is still there, and removes the marks of these pins before: what
    /// the owner of the transaction writes afterwards does not bear them.
    fn commit_adopted(
        conn: &mut Connection<Self>,
        held: &Self::Held,
        marked: &[Pin],
    ) -> impl Future<Output = Result<(), NotCommitted>> + Send;

    /// Goes back to that savepoint.
    fn roll_back_adopted(
        conn: &mut Connection<Self>,
        held: &Self::Held,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// The owner of the transaction may end it from now on.
    fn leave(_held: &Self::Held) {}

    /// As [`check_ours`](Adapter::check_ours), for a transaction that somebody else began.
    fn check_adopted(conn: &mut Connection<Self>) -> impl Future<Output = sqlx::Result<()>> + Send {
        Self::check_ours(conn)
    }

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
    ) -> impl Future<Output = sqlx::Result<HazardScan>> + Send;

    /// What the catalogue says of these tables; `None` where there is no such table.
    fn catalogue(
        conn: &mut Connection<Self>,
        names: &[TableName],
    ) -> impl Future<Output = sqlx::Result<Vec<Option<Table>>>> + Send;

    /// How two columns of tables are compared exactly, where less is enough for it than for any two.
    fn compared_plainly(old: &Column, new: &Column) -> Option<PlainEquality>;

    /// The same for any two, by the types of these scalar queries of the old and of the new side.
    fn compared_by_type(
        conn: &mut Connection<Self>,
        sides: &[[String; 2]],
    ) -> impl Future<Output = sqlx::Result<Vec<Option<PlainEquality>>>> + Send {
        let _ = conn;
        std::future::ready(Ok(vec![None; sides.len()]))
    }

    /// How keys of this kind are read, bound and compared in a column, or why they cannot be.
    fn key_form(column: &Column, kind: KeyKind) -> Result<KeyForm, Unfit>;

    /// Held while a statement of the control tables waits for the lock of a whole database.
    type Waiting: Default + Send;

    /// Lets such a statement go first; answers whether it had its turn in time.
    fn make_way() -> impl Future<Output = bool> + Send {
        std::future::ready(true)
    }

    /// Opens a transaction that holds the fence of one migration exclusively. Gives up, with an
    /// error, after about a second of waiting, so that no queue of writers builds up behind it.
    fn begin_exclusive(
        conn: &mut Connection<Self>,
        held: &mut Self::Held,
        name: &str,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// The same on a connection of the control tables, which is closed where its transaction is not ended.
    fn begin_transition(
        conn: &mut Connection<Self>,
        name: &str,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// How the sessions are found that hold the fence of a migration.
    const HOLDERS: Holders = Holders::Unknown;

    /// Reads the positions of the pins where the transaction holds their fences already, and marks it where a
    /// trigger looks for the mark: always [`Fenced::Read`].
    fn read_pinned(
        conn: &mut Connection<Self>,
        pins: &[Pin],
    ) -> impl Future<Output = sqlx::Result<Fenced>> + Send;

    /// Makes the fence again by the row of the migration. Waits for writes in flight about a second.
    fn repair_fence(
        _conn: &mut Connection<Self>,
        _name: &str,
    ) -> impl Future<Output = sqlx::Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Finds out what is behind a pool.
    ///
    /// # Errors
    /// `Database`; `Unsupported` for what breaks connections.
    fn inspect(pool: &Pool<Self::Db>) -> impl Future<Output = Result<Engine, Error>> + Send;

    /// Whether an error says that the exclusive fence was not to be had in time.
    fn is_lock_timeout(error: &sqlx::Error) -> bool;

    /// Whether an error says that a savepoint is gone, and the transaction with it: the server has
    /// rolled all of it back, or a statement ended it.
    fn is_transaction_gone(error: &sqlx::Error) -> bool;

    /// Fails where the transaction has ended and COMMIT would say Ok all the same; asked after statements of
    /// the caller. Nothing to do where [`commit`](Adapter::commit) finds out.
    fn check_ours(conn: &mut Connection<Self>) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// The same within another statement: what a number in it is followed by, which fails it where `check_ours` would
    /// fail. `None`: it is asked by itself.
    const OURS_OR_FAIL: Option<&'static str> = None;

    /// Whether a statement with [`OURS_OR_FAIL`](Adapter::OURS_OR_FAIL) failed for that.
    fn is_not_ours(_error: &sqlx::Error) -> bool {
        false
    }

    /// Whether the next answer on the connection is that to the next statement. Asked where a statement may have
    /// been dropped while it was under way.
    fn is_in_step(_conn: &mut Connection<Self>) -> impl Future<Output = sqlx::Result<bool>> + Send {
        std::future::ready(Ok(true))
    }

    /// The columns of a table, which is quoted, that the database gives a new value by itself when their row is
    /// updated; quoted.
    fn self_updating(
        _conn: &mut Connection<Self>,
        _table: &str,
    ) -> impl Future<Output = sqlx::Result<Vec<String>>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// What matters of a table, which is quoted, beyond its columns.
    fn table_notes(
        conn: &mut Connection<Self>,
        table: &str,
    ) -> impl Future<Output = sqlx::Result<TableNotes>> + Send;

    /// Some constraints may be judged as late as at COMMIT.
    const DEFERS: bool = false;

    /// What may be judged as late as at COMMIT: a statement that judges all of it now, in a transaction that does
    /// nothing more. `None` where nothing can be judged before.
    const JUDGE_ALL: Option<&'static str> = None;

    /// Whether anything in this database may be judged as late as at COMMIT.
    fn defers(_conn: &mut Connection<Self>) -> impl Future<Output = sqlx::Result<bool>> + Send {
        std::future::ready(Ok(false))
    }

    /// What of a table, which is quoted as are the columns of its key, may be judged as late as at COMMIT.
    fn deferred(
        _conn: &mut Connection<Self>,
        _table: &str,
        _key: &[String],
    ) -> impl Future<Output = sqlx::Result<Deferred>> + Send {
        std::future::ready(Ok(Deferred::Nothing))
    }

    /// The servers that this one follows: where it is a replica, and how far it is behind.
    fn upstreams(
        conn: &mut Connection<Self>,
    ) -> impl Future<Output = sqlx::Result<Vec<Upstream>>> + Send {
        async move {
            let Some(sql) = Self::EXAMINATION.upstreams else { return Ok(Vec::new()) };
            Self::fetch(conn, sql, &[]).await?.iter().map(Upstream::of).collect()
        }
    }

    /// Where this connection finds the control tables, in words; `None` where there is only one place.
    fn place(
        _conn: &mut Connection<Self>,
    ) -> impl Future<Output = sqlx::Result<Option<String>>> + Send {
        std::future::ready(Ok(None))
    }

    /// Tells other processes that a position changed, at commit, where the database can push that.
    fn notify(
        _conn: &mut Connection<Self>,
        _name: &str,
    ) -> impl Future<Output = sqlx::Result<()>> + Send {
        std::future::ready(Ok(()))
    }

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

    /// Fails where the control tables are those of another release.
    fn check_version(conn: &mut Connection<Self>)
    -> impl Future<Output = Result<(), Error>> + Send;

    /// Makes or upgrades the control tables.
    fn install(pool: &Pool<Self::Db>) -> BoxFuture<'_, Result<(), Error>>;
}

/// Why nothing was committed.
#[derive(Debug)]
pub enum NotCommitted {
    /// The transaction had ended before, and nothing of what followed is stored.
    Ended(Option<sqlx::Error>),
    /// The commit failed.
    Failed(sqlx::Error),
}

impl NotCommitted {
    /// What a savepoint says that could not be released.
    pub(crate) fn nested<DB: Backend>(error: sqlx::Error) -> Self {
        match DB::Adapter::is_transaction_gone(&error) {
            true => Self::Ended(Some(error)),
            false => Self::Failed(error),
        }
    }
}
