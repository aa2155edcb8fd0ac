//! Connections of the control tables, which nothing else can take: each statement has a limit, and a connection that
//! misses it is closed and replaced. What was given up is cancelled on the server, where that can be done.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::Pool;
use sqlx::pool::PoolConnection;
use sqlx_core::transaction::TransactionManager as _;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::clock::{self, Clock};
use crate::database::sealed::Adapter;
use crate::database::{Backend, SqlRow, SqlValue};
use crate::error::{Error, ErrorKind, is_lost};

/// For how long a connection is kept that is not needed, unless it is to last.
const IDLE_NS: u64 = 5_000_000_000;
/// How long one waits for others to be done.
const TURN_WAIT: Duration = Duration::from_secs(15);
/// A connection that has not been used for so long is asked whether it is still there.
const FRESH_NS: u64 = 1_000_000_000;
/// How many statements that were given up are cancelled at once; the others end by their limit on the server.
const CANCELS_MAX: usize = 2;

/// A few connections for one purpose.
pub(crate) struct Connections<DB: Backend> {
    /// Where they come from.
    source: Pool<DB>,
    /// They are taken out of it for good. Else they are lent from it for one statement: a database in memory has no
    /// connections but those of the application.
    own: bool,
    lasting: bool,
    seats: Semaphore,
    /// Who wants one waits here, which is not counted against the limit.
    queue: Semaphore,
    idle: Mutex<Vec<Line<DB>>>,
    cancels: Arc<Semaphore>,
    limit: Duration,
    clock: Clock,
}

/// One of its own.
struct Line<DB: Backend> {
    conn: DB::Connection,
    /// Its number on the server.
    id: Option<i64>,
    /// When it was used last.
    used: u64,
}

enum Held<DB: Backend> {
    Own(Line<DB>),
    Pooled(PoolConnection<DB>),
}

impl<DB: Backend> Connections<DB> {
    /// At most `seats` at a time. Those that last are kept while they are not needed.
    pub(crate) fn new(pool: &Pool<DB>, seats: usize, lasting: bool, limit: Duration) -> Self {
        let source = DB::Adapter::control_source(pool, limit);
        Self {
            own: source.is_some(),
            source: source.unwrap_or_else(|| pool.clone()),
            lasting,
            seats: Semaphore::new(seats),
            queue: Semaphore::new(seats),
            idle: Mutex::default(),
            cancels: Arc::new(Semaphore::new(CANCELS_MAX)),
            limit,
            clock: Clock::system(),
        }
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// One of them, for one statement or one transaction.
    pub(crate) async fn lend(&self) -> sqlx::Result<Lent<'_, DB>> {
        let seat = self.seats.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
        let held = match self.kept() {
            Some(line) if self.is_alive(&line) => Held::Own(line),
            Some(mut line) => match sqlx::Connection::ping(&mut line.conn).await {
                Ok(()) => Held::Own(line),
                Err(_) => self.connect().await?,
            },
            None => self.connect().await?,
        };
        let reused = matches!(&held, Held::Own(line) if line.used > 0);
        Ok(Lent { from: self, _seat: seat, held: Some(held), running: None, open: false, reused })
    }

    fn kept(&self) -> Option<Line<DB>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn is_alive(&self, line: &Line<DB>) -> bool {
        self.lasting || self.clock.now().saturating_sub(line.used) < FRESH_NS
    }

    async fn connect(&self) -> sqlx::Result<Held<DB>> {
        let conn = self.source.acquire().await?;
        if !self.own {
            return Ok(Held::Pooled(conn));
        }
        let mut conn = conn.detach();
        let id = DB::Adapter::prepare_control(&mut conn, self.limit).await?;
        Ok(Held::Own(Line { conn, id, used: 0 }))
    }

    /// Nothing can be done by them any more.
    pub(crate) fn close(&self) {
        self.queue.close();
        self.seats.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Closes those that have not been needed for a while.
    pub(crate) fn trim(&self) {
        if !self.lasting {
            let now = self.clock.now();
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|line| now.saturating_sub(line.used) < IDLE_NS);
        }
    }

    /// Runs one query within the limit.
    pub(crate) async fn fetch(
        &self,
        doing: &str,
        sql: &str,
        values: &[SqlValue],
    ) -> Result<Vec<SqlRow>, Error> {
        self.within(doing, async {
            loop {
                let mut lent = self.lend().await?;
                match lent.fetch(sql, values).await {
                    // The server has closed it while it was not used. Each try leaves one less that was kept.
                    Err(error) if lent.reused && is_lost(&error) => {}
                    rows => return rows,
                }
            }
        })
        .await
    }

    /// One of them, in a transaction whose first statement writes.
    pub(crate) async fn begin(&self) -> sqlx::Result<Lent<'_, DB>> {
        loop {
            let mut lent = self.lend().await?;
            match lent.begin().await {
                Err(error) if lent.reused && is_lost(&error) => {}
                begun => return begun.map(|()| lent),
            }
        }
    }

    /// Runs one statement within the limit.
    pub(crate) async fn execute(
        &self,
        doing: &str,
        sql: &str,
        values: &[SqlValue],
    ) -> Result<u64, Error> {
        self.within(doing, async { self.lend().await?.execute(sql, values).await }).await
    }

    /// Limits what is done on a connection.
    pub(crate) async fn within<T>(
        &self,
        doing: &str,
        work: impl Future<Output = sqlx::Result<T>>,
    ) -> Result<T, Error> {
        let _turn = self.turn(doing).await?;
        match clock::limit(self.limit, work).await {
            Ok(done) => done.map_err(|error| self.failed(doing, error)),
            Err(()) => Err(self.too_late(doing)),
        }
    }

    /// A turn to work, of as many as there are connections.
    pub(crate) async fn turn(&self, doing: &str) -> Result<SemaphorePermit<'_>, Error> {
        match clock::limit(TURN_WAIT, self.queue.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) => Err(Error::shutting_down()),
            Err(()) => {
                let message = format!(
                    "the connections of the control tables were busy for {TURN_WAIT:?} while {doing}; try again"
                );
                Err(Error::new(ErrorKind::Timeout, message))
            }
        }
    }

    /// What an error of the database means here: after the end of the runtime that these belong to, that.
    pub(crate) fn failed(&self, doing: &str, error: sqlx::Error) -> Error {
        match error {
            sqlx::Error::PoolClosed if self.seats.is_closed() => Error::shutting_down(),
            error => Error::database(doing, error),
        }
    }

    pub(crate) fn too_late(&self, doing: &str) -> Error {
        let message = format!(
            "the database did not answer within {:?} while {doing}; the connection was closed, and the next try takes \
             another one",
            self.limit
        );
        Error::new(ErrorKind::Timeout, message)
    }
}

/// A connection that is lent. Dropped in the middle of a statement it is closed, for it may be waiting for an answer
/// that never comes, and the statement is cancelled.
pub(crate) struct Lent<'l, DB: Backend> {
    from: &'l Connections<DB>,
    _seat: SemaphorePermit<'l>,
    held: Option<Held<DB>>,
    /// The statement that is under way; empty for one of several.
    running: Option<String>,
    /// A transaction is open.
    open: bool,
    reused: bool,
}

impl<DB: Backend> Lent<'_, DB> {
    pub(crate) async fn fetch(
        &mut self,
        sql: &str,
        values: &[SqlValue],
    ) -> sqlx::Result<Vec<SqlRow>> {
        self.running = Some(sql.to_owned());
        let rows = DB::Adapter::fetch(self, sql, values).await;
        self.ended(rows)
    }

    pub(crate) async fn execute(&mut self, sql: &str, values: &[SqlValue]) -> sqlx::Result<u64> {
        self.running = Some(sql.to_owned());
        let _waiting = <DB::Adapter as Adapter>::Waiting::default();
        let affected = DB::Adapter::execute(self, sql, values).await;
        self.ended(affected)
    }

    /// Its number on the server, where that is known.
    pub(crate) fn number(&self) -> Option<i64> {
        match &self.held {
            Some(Held::Own(line)) => line.id,
            _ => None,
        }
    }

    /// From now on it is busy with several statements, until [`Lent::ended`].
    pub(crate) fn busy(&mut self) {
        self.running = Some(String::new());
    }

    /// The answer has come; one that says that the connection is lost leaves it to be closed.
    pub(crate) fn ended<T>(&mut self, answer: sqlx::Result<T>) -> sqlx::Result<T> {
        if !matches!(&answer, Err(error) if is_lost(error)) {
            self.running = None;
        }
        answer
    }

    /// The same of several statements, whose answers were made one of ours.
    pub(crate) fn all_ended<T>(&mut self, answer: Result<T, Error>) -> Result<T, Error> {
        if !answer.as_ref().is_err_and(Error::is_of_lost_connection) {
            self.running = None;
        }
        answer
    }

    /// Whether such an answer says that the server had closed the connection while it was not used: another one may
    /// do. Each try leaves one less that was kept.
    pub(crate) fn was_closed<T>(&self, answer: &Result<T, Error>) -> bool {
        self.reused && answer.as_ref().is_err_and(Error::is_of_lost_connection)
    }

    /// Opens a transaction whose first statement writes.
    async fn begin(&mut self) -> sqlx::Result<()> {
        self.busy();
        let _waiting = <DB::Adapter as Adapter>::Waiting::default();
        DB::Adapter::begin_writing(self).await?;
        self.open = true;
        Ok(())
    }

    /// Opens one that holds the fence of a migration alone.
    pub(crate) async fn begin_exclusive(&mut self, name: &str) -> sqlx::Result<()> {
        self.busy();
        let _waiting = <DB::Adapter as Adapter>::Waiting::default();
        DB::Adapter::begin_transition(self, name).await?;
        self.open = true;
        Ok(())
    }

    pub(crate) async fn commit(mut self) -> sqlx::Result<()> {
        DB::TransactionManager::commit(&mut self).await?;
        (self.open, self.running) = (false, None);
        Ok(())
    }

    pub(crate) async fn rollback(mut self) -> sqlx::Result<()> {
        DB::TransactionManager::rollback(&mut self).await?;
        (self.open, self.running) = (false, None);
        Ok(())
    }
}

impl<DB: Backend> Deref for Lent<'_, DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        match &self.held {
            Some(Held::Own(line)) => &line.conn,
            Some(Held::Pooled(conn)) => conn,
            None => unreachable!("it is taken out when it is dropped"),
        }
    }
}

impl<DB: Backend> DerefMut for Lent<'_, DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        match &mut self.held {
            Some(Held::Own(line)) => &mut line.conn,
            Some(Held::Pooled(conn)) => conn,
            None => unreachable!("it is taken out when it is dropped"),
        }
    }
}

impl<DB: Backend> Drop for Lent<'_, DB> {
    fn drop(&mut self) {
        match (self.held.take(), self.running.take()) {
            (Some(Held::Own(mut line)), None) if !self.open => {
                line.used = self.from.clock.now().max(1);
                self.from.idle.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
            (Some(Held::Own(line)), running) => {
                let id = line.id;
                drop(line); // closes the connection
                if let (Some(id), Some(text)) = (id, running) {
                    self.from.cancel(id, text);
                }
            }
            (Some(Held::Pooled(mut conn)), running) => {
                if self.open || running.is_some() {
                    DB::TransactionManager::start_rollback(&mut conn); // if there is one
                }
            }
            (None, _) => {}
        }
    }
}

impl<DB: Backend> Connections<DB> {
    /// Cancels a statement that nobody waits for any more, from another connection; where its text is empty, whatever
    /// statement about the control tables is under way there. It ends by its limit anyway.
    fn cancel(&self, id: i64, text: String) {
        let (Ok(handle), Ok(permit)) =
            (tokio::runtime::Handle::try_current(), Arc::clone(&self.cancels).try_acquire_owned())
        else {
            return;
        };
        let (source, limit) = (self.source.clone(), self.limit);
        handle.spawn(async move {
            let cancelling = async {
                let mut conn = source.acquire().await?.detach();
                DB::Adapter::cancel(&mut conn, id, &text).await
            };
            if let Ok(Err(error)) = clock::limit(limit, cancelling).await {
                tracing::debug!(%error, "a statement that was given up was not cancelled");
            }
            drop(permit);
        });
    }
}
