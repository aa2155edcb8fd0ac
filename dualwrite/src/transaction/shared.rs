//! [`SharedTx`]: a fenced transaction that several repositories carry, whose traits know nothing of transactions.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::database::Backend;
use crate::error::{Error, ErrorKind};
use crate::transaction::Tx;

/// A fenced transaction that is carried by repositories instead of being handed to each call.
///
/// Wrappers that `#[repository(transaction = …)]` generates take it with `within`. Their writes are then part of
/// this transaction, until [`commit`](SharedTx::commit) or [`rollback`](SharedTx::rollback) ends it. Reads are
/// not: they use the pool of their side, and see what was committed.
///
/// One call at a time: a write that begins while another is under way fails with `Conflict`. A call that is dropped
/// halfway rolls the transaction back. Clones are the same transaction, which is rolled back when the last of them is
/// dropped, those that repositories carry included.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use dualwrite::{Error, Migration, SharedTx};
///
/// async fn both(migration: &Migration, pool: &sqlx::SqlitePool) -> Result<(), Error> {
///     let shared = SharedTx::from(migration.begin(pool).await?);
///     // customers.within(&shared).save(&customer).await?;
///     // notes.within(&shared).add(&note).await?;
///     shared.commit().await
/// }
/// # }
/// ```
pub struct SharedTx<DB: Backend>(Arc<Mutex<Slot<DB>>>);

/// Where the transaction is.
enum Slot<DB: Backend> {
    Idle(Tx<'static, DB>),
    /// A call has it.
    Lent,
    Ended,
}

impl<DB: Backend> SharedTx<DB> {
    /// Commits.
    ///
    /// # Errors
    /// As [`Tx::commit`]. `Conflict` while a call is under way: it can then be tried again with another clone.
    /// `Poisoned` where the transaction has ended before.
    pub async fn commit(self) -> Result<(), Error> {
        self.end("it cannot be committed")?.commit().await
    }

    /// Rolls back.
    ///
    /// # Errors
    /// As [`Tx::rollback`], and as [`commit`](SharedTx::commit) where there is nothing to roll back.
    pub async fn rollback(self) -> Result<(), Error> {
        self.end("it cannot be rolled back")?.rollback().await
    }

    fn end(&self, what: &str) -> Result<Tx<'static, DB>, Error> {
        let tx = self.take(what)?;
        *self.slot() = Slot::Ended;
        Ok(tx)
    }

    /// Lends the transaction to one call.
    pub(crate) fn lend(&self) -> Result<Turn<DB>, Error> {
        let tx = self.take("this write cannot be part of it")?;
        Ok(Turn { tx: Some(tx), owner: Some(self.clone()) })
    }

    fn take(&self, what: &str) -> Result<Tx<'static, DB>, Error> {
        let mut slot = self.slot();
        match std::mem::replace(&mut *slot, Slot::Lent) {
            Slot::Idle(tx) => Ok(tx),
            Slot::Lent => {
                let message = format!(
                    "await one call before the next: another call of this shared transaction is under way, so {what}"
                );
                Err(Error::new(ErrorKind::Conflict, message))
            }
            Slot::Ended => {
                *slot = Slot::Ended;
                let message =
                    format!("begin another transaction: this shared one has ended, so {what}");
                Err(Error::new(ErrorKind::Poisoned, message))
            }
        }
    }

    fn slot(&self) -> MutexGuard<'_, Slot<DB>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<DB: Backend> From<Tx<'static, DB>> for SharedTx<DB> {
    fn from(tx: Tx<'static, DB>) -> Self {
        Self(Arc::new(Mutex::new(Slot::Idle(tx))))
    }
}

impl<DB: Backend> Clone for SharedTx<DB> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<DB: Backend> std::fmt::Debug for SharedTx<DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match &*self.slot() {
            Slot::Idle(_) => "idle",
            Slot::Lent => "in a call",
            Slot::Ended => "ended",
        };
        f.debug_tuple("SharedTx").field(&state).finish()
    }
}

/// The transaction of one call: its own, or one that is shared.
pub struct Turn<DB: Backend> {
    /// `None` only when it is over.
    tx: Option<Tx<'static, DB>>,
    owner: Option<SharedTx<DB>>,
}

impl<DB: Backend> Turn<DB> {
    pub(crate) fn own(tx: Tx<'static, DB>) -> Self {
        Self { tx: Some(tx), owner: None }
    }

    /// The transaction.
    pub fn tx(&mut self) -> &mut Tx<'static, DB> {
        self.tx.as_mut().expect("a turn has its transaction until it is over")
    }

    /// Commits the call's own transaction where it succeeded, and rolls it back where it failed. A shared one
    /// goes back to its owner; where the call failed, it knows that it must not be committed.
    ///
    /// # Errors
    /// As [`Tx::commit`].
    pub async fn end(mut self, is_ok: bool) -> Result<(), Error> {
        match (self.tx.take(), self.owner.take()) {
            (Some(tx), Some(owner)) => {
                *owner.slot() = Slot::Idle(tx);
                Ok(())
            }
            (Some(tx), None) if is_ok => tx.commit().await,
            (Some(tx), None) => {
                if let Err(error) = tx.rollback().await {
                    // The server does it when the connection is closed. The caller gets the error of the call.
                    tracing::debug!(kind = ?error.kind(), "a write that failed could not be rolled back at once");
                }
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }
}

/// A call that is dropped halfway leaves statements under way: the transaction is rolled back.
impl<DB: Backend> Drop for Turn<DB> {
    fn drop(&mut self) {
        if let (Some(_), Some(owner)) = (&self.tx, &self.owner) {
            *owner.slot() = Slot::Ended;
        }
    }
}
