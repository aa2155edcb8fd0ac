//! [`Tx`]: a transaction that took the fence when it began, and pins the positions for its life.
//!
//! Dual writes take `&mut Tx`, so an unfenced dual write does not compile. While a `Tx` is open no
//! position that it pins can change, and it sees the positions that were in force when it began.
//!
//! A `Tx` refuses to commit what is not whole: after a write that failed, or that was dropped halfway, and
//! where its transaction has ended before. A server ends one by itself (a deadlock on MySQL, `OR ROLLBACK` on
//! SQLite), and the application can (DDL on MySQL, a `COMMIT` of its own). What follows is then not
//! stored; the adapters say how.

mod adopt;
pub(crate) mod begin;
pub(crate) mod build;
mod ending;
pub(crate) mod exclusive;
pub(crate) mod fenced;
pub(crate) mod shared;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sqlx::pool::PoolConnection;
use sqlx_core::transaction::TransactionManager;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::database::sealed::Adapter;
use crate::database::{Backend, Isolation, Pin};
use crate::error::Error;
use crate::stages::position::Position;
use crate::state::open::OpenTransaction;

/// A fenced transaction. Dereferences to the sqlx connection.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use dualwrite::{Error, Migration, Tx};
///
/// async fn pay(migration: &Migration, pool: &sqlx::SqlitePool) -> Result<(), Error> {
///     let mut tx: Tx<'_, sqlx::Sqlite> = migration.begin(pool).await?;
///     // … dual writes and any other statements: sqlx::query("…").execute(&mut *tx) …
///     tx.commit().await
/// }
/// # }
/// ```
///
/// Dropped without [`commit`](Tx::commit), it is rolled back.
#[must_use = "a transaction that is dropped is rolled back"]
pub struct Tx<'c, DB: Backend> {
    conn: Conn<'c, DB>,
    pins: Arc<[Pin]>,
    isolation: Isolation,
    state: State,
    /// Why this transaction must not be committed.
    spoiled: Option<&'static str>,
    /// Statements of the caller have run, and no whole write since: whether the server still goes on with
    /// the transaction is not known.
    unseen_statements: bool,
    /// It bears the mark that a trigger looks at.
    marked: bool,
    mirror_savepoint: MirrorSavepoint,
    work: Work,
    /// A nested transaction was dropped at work.
    interrupted: bool,
    /// Somebody else ends the transaction.
    adopted: bool,
    /// Where its connection is from, if it began the transaction: comparisons of what it reads take another one.
    pool: Option<sqlx::Pool<DB>>,
    /// A shutdown waits for it.
    _operation: Option<TaskTrackerToken>,
    /// A change of the stage that waits for this transaction names it.
    _open: Vec<OpenTransaction>,
}

enum Conn<'c, DB: Backend> {
    /// `None` only while the transaction is dropped.
    Root(Option<PoolConnection<DB>>, Held<DB>),
    Nested {
        conn: &'c mut DB::Connection,
        /// Of the outer one, where this one was dropped at work.
        interrupted: &'c mut bool,
    },
    /// A savepoint in a transaction that somebody else began.
    Adopted { conn: &'c mut DB::Connection, held: Held<DB> },
}

type Held<DB> = <<DB as Backend>::Adapter as Adapter>::Held;

#[derive(PartialEq)]
enum State {
    /// BEGIN is under way: nobody knows what the server did. Dropped now, the connection is closed,
    /// for sqlx would put it back into the pool with the fence still held.
    Opening,
    Open,
    Closed,
}

/// What is under way on the connection: dropped now, nobody knows which answers it still waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    None,
    /// Statements of a write, or of ours.
    UnderWay,
    /// A side of a write that was given up, perhaps in the middle of a statement.
    GivenUp,
}

/// The savepoint before a mirror write, at the level of this transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MirrorSavepoint {
    None,
    /// It was set in the message that began the transaction, and nothing was run since: going back to it
    /// undoes nothing but what comes from now on.
    AtStart,
    Later,
}

impl MirrorSavepoint {
    pub(crate) fn exists(self) -> bool {
        self != Self::None
    }

    /// After a statement.
    fn passed(self) -> Self {
        match self {
            Self::None => Self::None,
            Self::AtStart | Self::Later => Self::Later,
        }
    }
}

impl<'c, DB: Backend> Tx<'c, DB> {
    fn new(conn: Conn<'c, DB>, pins: Arc<[Pin]>, isolation: Isolation, state: State) -> Self {
        Self {
            conn,
            pins,
            isolation,
            state,
            spoiled: None,
            unseen_statements: false,
            marked: false,
            _operation: None,
            _open: Vec::new(),
            mirror_savepoint: MirrorSavepoint::None,
            work: Work::None,
            interrupted: false,
            adopted: false,
            pool: None,
        }
    }

    pub(crate) fn pinned(&self, name: &str) -> Option<Position> {
        self.pin(name).map(|pin| pin.position)
    }

    /// What it is fenced for, of a migration.
    pub(crate) fn pin(&self, name: &str) -> Option<&Pin> {
        self.pins.iter().find(|pin| &*pin.name == name)
    }

    /// Whether it sees its rows as they were when it began to read, and locks them as they are.
    pub(crate) fn keeps_a_snapshot(&self) -> bool {
        DB::Adapter::LOCKS_SEE_NEWER && self.isolation == Isolation::RepeatableRead
    }

    /// Begins a nested transaction (a savepoint). An error inside it spoils only the nested one.
    ///
    /// # Errors
    /// `Database`.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// # use dualwrite::{Error, Tx};
    /// async fn try_it(tx: &mut Tx<'_, sqlx::Sqlite>) -> Result<(), Error> {
    ///     let attempt = tx.begin().await?;
    ///     attempt.rollback().await
    /// }
    /// # }
    /// ```
    pub async fn begin(&mut self) -> Result<Tx<'_, DB>, Error> {
        let before = self.spoiled.replace("a nested `begin` was dropped");
        self.mirror_savepoint = self.mirror_savepoint.passed();
        let begun = DB::TransactionManager::begin(self.connection(), None).await;
        begun.map_err(|error| Error::database("setting a savepoint", error))?;
        self.spoiled = before;
        let (pins, isolation) = (Arc::clone(&self.pins), self.isolation);
        let interrupted = &mut self.interrupted;
        let conn = match &mut self.conn {
            Conn::Root(conn, _) => conn.as_deref_mut().expect(DROPPED),
            Conn::Nested { conn, .. } | Conn::Adopted { conn, .. } => conn,
        };
        let mut nested = Tx::new(Conn::Nested { conn, interrupted }, pins, isolation, State::Open);
        nested.adopted = self.adopted;
        nested.pool.clone_from(&self.pool);
        Ok(nested)
    }

    /// Whether what it reads can be read once more on another connection.
    pub(crate) fn has_pool(&self) -> bool {
        self.pool.is_some()
    }

    /// The savepoint before a mirror write, at this level.
    pub(crate) fn mirror_savepoint(&self) -> MirrorSavepoint {
        self.mirror_savepoint
    }

    /// A savepoint was set before a mirror write.
    pub(crate) fn mirror_savepoint_set(&mut self) {
        self.mirror_savepoint = MirrorSavepoint::Later;
    }

    /// Whether it must not be committed as it stands.
    pub(crate) fn is_spoiled(&self) -> bool {
        self.spoiled.is_some()
    }

    /// From now on this transaction must not be committed, unless [`Tx::clear_spoiled`] follows.
    pub(crate) fn spoil(&mut self, reason: &'static str) {
        self.spoiled = Some(reason);
        self.mirror_savepoint = self.mirror_savepoint.passed();
    }

    /// Takes back the `spoil` of a write that came to its end, so the server's transaction is alive. Only
    /// for a write that found the transaction whole: what another left undone stays so.
    pub(crate) fn clear_spoiled(&mut self) {
        self.spoiled = None;
        // Where nothing guards the session, a statement of a side may have ended the transaction as well.
        self.unseen_statements = self.adopted && DB::Adapter::ENDS_UNSEEN;
    }

    /// From now on the connection waits for answers to statements of a write or of ours, until
    /// [`Tx::end_work`] follows.
    pub(crate) fn begin_work(&mut self) {
        self.work = Work::UnderWay;
    }

    /// Nothing is under way on the connection.
    pub(crate) fn end_work(&mut self) {
        self.work = Work::None;
    }

    /// A side was given up: a statement of it may be under way for as long as it likes.
    pub(crate) fn give_up(&mut self) {
        self.work = Work::GivenUp;
    }

    /// Whether the connection cannot be used again once this is dropped. sqlx can take up a connection to
    /// MySQL only where no prepared statement was under way: else it waits for ever, or takes the answer of
    /// one statement for that of the next.
    fn is_broken(&self) -> bool {
        DB::Adapter::DIALECT.interruption_breaks && (self.work != Work::None || self.interrupted)
    }

    /// The connection, for our own statements.
    pub(crate) fn connection(&mut self) -> &mut DB::Connection {
        match &mut self.conn {
            Conn::Root(conn, _) => conn.as_deref_mut().expect(DROPPED),
            Conn::Nested { conn, .. } | Conn::Adopted { conn, .. } => conn,
        }
    }
}

/// Only `drop` takes the connection out.
const DROPPED: &str = "a transaction has its connection until it is dropped";

impl<DB: Backend> Deref for Tx<'_, DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        match &self.conn {
            Conn::Root(conn, _) => conn.as_deref().expect(DROPPED),
            Conn::Nested { conn, .. } | Conn::Adopted { conn, .. } => conn,
        }
    }
}

impl<DB: Backend> DerefMut for Tx<'_, DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        self.unseen_statements = true;
        self.mirror_savepoint = self.mirror_savepoint.passed();
        self.connection()
    }
}

impl<DB: Backend> std::fmt::Debug for Tx<'_, DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx").field("pins", &self.pins).field("spoiled", &self.spoiled).finish()
    }
}

/// A fenced transaction, whatever the alias by which its type is named.
#[diagnostic::on_unimplemented(
    message = "take `&mut dualwrite::Tx<'_, DB>` here: `{Self}` is not a fenced transaction",
    label = "not a fenced transaction",
    note = "`migration.begin(&pool)` gives one; without it the write could run under a stage that has passed"
)]
pub trait HoldsFence {
    /// The same type. What has none is no type at all for the compiler, which then says nothing more of it.
    type Fenced;

    /// The same transaction.
    fn fenced(&mut self) -> &mut Self::Fenced;
}

impl<DB: Backend> HoldsFence for Tx<'_, DB> {
    type Fenced = Self;

    fn fenced(&mut self) -> &mut Self {
        self
    }
}

/// Accepts a fenced transaction alone.
pub fn fenced<T: HoldsFence>(tx: &mut T) -> &mut T::Fenced {
    tx.fenced()
}
