//! Keeps what follows the end of a transaction from being stored, for SQLite.
//!
//! SQLite rolls a whole transaction back by itself (`OR ROLLBACK`, `RAISE(ROLLBACK)`, a full disk, an interrupt), and
//! the connection goes on in autocommit, without the fence. So the connection has a commit hook, which
//! turns every commit into a rollback that is not the one of the library's transaction, and a rollback hook,
//! which notices the end of that transaction. They are installed once per connection. The message that begins a
//! transaction speaks to them through a collation, which is called with the number of the transaction:
//! that costs nothing beside the message.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection};
use sqlx_core::transaction::TransactionManager;
use tokio::runtime::Handle;

use crate::database::sealed::Adapter as _;
use crate::database::sqlite::{Manager, SqliteAdapter};

/// Transactions that are about to begin.
static BEGINNING: LazyLock<Mutex<HashMap<u64, Arc<Mutex<Phase>>>>> = LazyLock::new(Mutex::default);

/// What a transaction and the hooks of its connection know of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Whatever ends it now is not the library.
    Open,
    /// The library ends it.
    Ending,
    /// It has ended before.
    Lost,
    /// It belongs to somebody else, who has not heard of its end: the next commit is refused, and none after it.
    Refused,
}

/// A transaction that the library began, or is about to begin.
#[derive(Debug)]
pub struct Guarded {
    number: u64,
    phase: Arc<Mutex<Phase>>,
}

impl Guarded {
    pub(super) fn new() -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let number = NUMBERS.fetch_add(1, Relaxed);
        let phase = Arc::new(Mutex::new(Phase::Open));
        lock(&BEGINNING).insert(number, Arc::clone(&phase));
        Self { number, phase }
    }

    /// Makes the transaction under way this one. Fails where the hooks are not installed.
    pub(super) fn push(&self, sql: &mut String) {
        sql.push_str(&format!(";SELECT '{}'='' COLLATE dualwrite_guard", self.number));
    }

    pub(super) fn ending(&self) {
        let mut phase = lock(&self.phase);
        if *phase == Phase::Open {
            *phase = Phase::Ending;
        }
    }

    /// Nobody waits for the library any more: the owner of the transaction ends it, if it is still there.
    pub(super) fn leave(&self) {
        match self.is_lost() {
            true => self.refuse(),
            false => self.ending(),
        }
    }

    /// The next commit on the connection is refused.
    pub(super) fn refuse(&self) {
        *lock(&self.phase) = Phase::Refused;
    }

    /// The library has noticed the loss: what the connection commits from now on is its own affair.
    fn noticed(&self) {
        *lock(&self.phase) = Phase::Ending;
    }

    pub(super) fn is_lost(&self) -> bool {
        *lock(&self.phase) == Phase::Lost
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        lock(&BEGINNING).remove(&self.number);
    }
}

/// Whether `begin` failed because the connection has no hooks yet.
pub(super) fn is_missing(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.message().contains("dualwrite_guard"))
}

/// The transaction of a connection, as its hooks have it.
type Current = Arc<Mutex<Option<Arc<Mutex<Phase>>>>>;

pub(super) async fn install(conn: &mut SqliteConnection) -> sqlx::Result<()> {
    let current = Current::default();
    let [began, commits] = [(); 2].map(|()| Arc::clone(&current));
    let mut handle = conn.lock_handle().await?;
    handle.create_collation("dualwrite_guard", move |number, _| {
        let phase = number.parse().ok().and_then(|number: u64| lock(&BEGINNING).remove(&number));
        if let Some(phase) = phase {
            *lock(&began) = Some(phase);
        }
        Ordering::Equal
    })?;
    handle.set_commit_hook(move || may_end(&commits));
    handle.set_rollback_hook(move || {
        may_end(&current);
    });
    Ok(())
}

/// After a loss sqlx believes in a transaction that is gone, and the hooks in one that may not end: both are
/// given one that does. Closes the connection where that fails.
pub(super) async fn forget(conn: &mut PoolConnection<Sqlite>, guarded: &Guarded) {
    let depth = Manager::get_transaction_depth(conn);
    let mut forgotten = begin_again(conn).await;
    guarded.noticed();
    for _ in 0..depth {
        if forgotten.is_ok() {
            forgotten = Manager::rollback(conn).await;
        }
    }
    if forgotten.is_err() {
        conn.close_on_drop();
    }
}

/// Begins what sqlx believes in.
pub(super) async fn begin_again(conn: &mut SqliteConnection) -> sqlx::Result<()> {
    let depth = Manager::get_transaction_depth(conn);
    let mut sql = "BEGIN".to_owned();
    (1..depth).for_each(|level| sql.push_str(&format!(";SAVEPOINT _sqlx_savepoint_{level}")));
    let _ = SqliteAdapter::run(conn, "ROLLBACK").await; // of what the application began meanwhile
    SqliteAdapter::run_text(conn, sql).await
}

/// The same for a transaction that was dropped.
pub(super) fn forget_later(mut conn: PoolConnection<Sqlite>, guarded: Guarded) {
    match Handle::try_current() {
        Ok(runtime) => {
            runtime.spawn(async move { forget(&mut conn, &guarded).await });
        }
        Err(_) => conn.close_on_drop(),
    }
}

/// At the end of any transaction of the connection: whether it may be committed.
fn may_end(current: &Current) -> bool {
    let mut current = lock(current);
    let mut may_end = true;
    if let Some(phase) = &*current {
        let mut phase = lock(phase);
        match *phase {
            Phase::Ending => {}
            Phase::Refused => may_end = false,
            Phase::Open | Phase::Lost => {
                *phase = Phase::Lost;
                return false;
            }
        }
    }
    *current = None;
    may_end
}

/// Nothing panics while it holds one of these.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn current(guarded: &Guarded) -> Current {
        Arc::new(Mutex::new(lock(&BEGINNING).remove(&guarded.number)))
    }

    #[test]
    fn an_end_that_is_not_the_librarys_loses_the_transaction_and_all_that_follows() {
        let guarded = Guarded::new();
        let current = current(&guarded);
        assert!(!may_end(&current));
        guarded.ending();
        assert!(guarded.is_lost());
        assert!(!may_end(&current));
    }

    #[test]
    fn the_end_of_the_library_is_let_through_and_sets_the_connection_free() {
        let guarded = Guarded::new();
        let current = current(&guarded);
        guarded.ending();
        assert!(may_end(&current));
        assert!(!guarded.is_lost());
        assert!(may_end(&current), "a plain statement of the application");
    }

    #[test]
    fn a_transaction_of_somebody_else_that_was_lost_is_refused_once() {
        let guarded = Guarded::new();
        let current = current(&guarded);
        assert!(!may_end(&current));
        guarded.leave();
        assert!(!may_end(&current), "the owner's commit");
        assert!(may_end(&current), "whoever has the connection next");
    }

    #[test]
    fn a_begin_that_is_dropped_leaves_nothing() {
        let number = Guarded::new().number;
        assert!(!lock(&BEGINNING).contains_key(&number));
    }
}
