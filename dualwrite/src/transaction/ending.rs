//! How a [`Tx`] ends: committed as a whole, rolled back, or dropped.

use std::time::Duration;

use sqlx_core::transaction::TransactionManager;

use super::{Conn, State, Tx, Work};
use crate::clock;
use crate::database::sealed::{Adapter as _, NotCommitted};
use crate::database::{Backend, Pin, on_unsure};
use crate::error::{Error, ErrorKind, is_lost};

const INTERRUPTED: &str = "nothing was committed, because a write in a nested transaction was dropped halfway and \
                           its connection cannot be used again; begin a new transaction";

const STILL_UNDER_WAY: &str =
    "a statement that was given up is still under way: drop the transaction";

/// How long a rollback waits for a statement of a write that was given up. Then the connection is closed, and
/// the server rolls back.
const GIVEN_UP_LIMIT: Duration = Duration::from_secs(2);

impl<DB: Backend> Tx<'_, DB> {
    /// Commits.
    ///
    /// # Errors
    /// `Poisoned` where a write failed or was dropped halfway: everything was rolled back. `Poisoned` too
    /// where the transaction had ended before: the server rolled it back (a deadlock on MySQL and MariaDB,
    /// `OR ROLLBACK` on SQLite) and that error was not handled, or a statement of the application ended it
    /// (`COMMIT`, `ROLLBACK`, DDL on MySQL and MariaDB); nothing of what followed is stored. `Database` or
    /// `Serialization` where the database refused to commit: nothing was applied. `CommitUnknown` where the connection
    /// was lost or ended before the answer: look whether it was applied before you do the same again. The same holds
    /// where this future is dropped before it has answered. Of an [adopted](Tx::adopt) transaction it ends only the
    /// part that was written through this `Tx`; whether all of it is stored, the owner's own commit says.
    pub async fn commit(mut self) -> Result<(), Error> {
        if self.interrupted && DB::Adapter::DIALECT.interruption_breaks {
            // Its connection may give the answers of one statement for those of another: it is closed.
            return Err(Error::new(ErrorKind::Poisoned, INTERRUPTED));
        }
        if let Some(reason) = self.spoiled {
            let message = format!(
                "nothing was committed, because {reason}; handle the error and roll back, or run \
                 what may fail inside a nested `tx.begin()`"
            );
            let poisoned = Error::new(ErrorKind::Poisoned, message);
            // What cannot be rolled back any more is not committed either.
            return Err(match self.roll_back().await {
                Ok(()) => poisoned,
                Err(error) => poisoned.caused_by(error),
            });
        }
        self.check_ours().await?;
        let committed = match &mut self.conn {
            Conn::Root(Some(conn), held) => DB::Adapter::commit(conn, held, self.marked).await,
            Conn::Root(None, _) => Ok(()),
            Conn::Nested { conn, .. } => {
                DB::TransactionManager::commit(conn).await.map_err(NotCommitted::nested::<DB>)
            }
            Conn::Adopted { conn, held } => {
                let marked: &[Pin] = if self.marked { &self.pins } else { &[] };
                DB::Adapter::commit_adopted(conn, held, marked).await
            }
        };
        match committed {
            Ok(()) => {
                self.state = State::Closed;
                Ok(())
            }
            Err(NotCommitted::Ended(error)) => {
                self.state = State::Closed;
                Err(ended_before(error))
            }
            Err(NotCommitted::Failed(error)) => Err(match &self.conn {
                Conn::Nested { .. } | Conn::Adopted { .. } => {
                    Error::database("releasing a savepoint", error)
                }
                Conn::Root(..) => Error::committing(error),
            }),
        }
    }

    /// Fails where statements of the caller may have ended the transaction, and have.
    ///
    /// # Errors
    /// `Poisoned`; `Database` where the connection is lost.
    pub(crate) async fn check_ours(&mut self) -> Result<(), Error> {
        if self.unseen_statements {
            let checked = match self.adopted {
                true => DB::Adapter::check_adopted(self.connection()).await,
                false => DB::Adapter::check_ours(self.connection()).await,
            };
            checked.map_err(|error| match is_lost(&error) {
                true => Error::database(
                    "making sure that the transaction is alive; nothing was committed",
                    error,
                ),
                false => ended_before(Some(error)),
            })?;
            self.unseen_statements = false;
        }
        Ok(())
    }

    /// Runs a statement of ours that fails where [`check_ours`](Self::check_ours) would, for it has
    /// [`OURS_OR_FAIL`](crate::database::sealed::Adapter::OURS_OR_FAIL) in it.
    ///
    /// # Errors
    /// As that; and what `failed` makes of any other failure.
    pub(crate) async fn run_checked<T>(
        &mut self,
        statement: impl AsyncFnOnce(&mut DB::Connection) -> sqlx::Result<T>,
        failed: impl FnOnce(sqlx::Error) -> Error,
    ) -> Result<T, Error> {
        if DB::Adapter::OURS_OR_FAIL.is_none() || self.adopted {
            self.check_ours().await?;
        }
        match statement(self.connection()).await {
            Ok(done) => {
                self.unseen_statements = false;
                Ok(done)
            }
            Err(error) if DB::Adapter::is_not_ours(&error) => Err(ended_before(Some(error))),
            Err(error) => Err(failed(error)),
        }
    }

    /// Rolls back.
    ///
    /// # Errors
    /// `Database` where the connection is lost; the transaction is then rolled back by the server.
    pub async fn rollback(mut self) -> Result<(), Error> {
        self.roll_back().await.map_err(|error| Error::database("rolling back", error))
    }

    /// Whether a server may still run a statement that nobody waits for any more.
    fn is_given_up(&self) -> bool {
        self.work == Work::GivenUp && DB::Adapter::DIALECT.server
    }

    async fn roll_back(&mut self) -> sqlx::Result<()> {
        let given_up = self.is_given_up();
        match &mut self.conn {
            Conn::Root(Some(conn), held) if given_up => {
                let rolled_back = on_unsure(async {
                    DB::Adapter::roll_back(conn, held).await?;
                    DB::Adapter::is_in_step(conn).await
                });
                let rolled_back = clock::limit(GIVEN_UP_LIMIT, rolled_back);
                if !matches!(rolled_back.await, Ok(Ok(Ok(true)))) {
                    conn.close_on_drop();
                }
            }
            Conn::Root(Some(conn), held) => DB::Adapter::roll_back(conn, held).await?,
            Conn::Root(None, _) => {}
            Conn::Nested { conn, .. } => DB::TransactionManager::rollback(conn).await?,
            Conn::Adopted { conn, held } if given_up => {
                let rolled_back = on_unsure(async {
                    DB::Adapter::roll_back_adopted(conn, held).await?;
                    DB::Adapter::is_in_step(conn).await
                });
                match clock::limit(GIVEN_UP_LIMIT, rolled_back).await.map(Result::flatten) {
                    Ok(Ok(true)) => {}
                    Ok(Err(error)) => return Err(error),
                    Ok(Ok(false)) | Err(()) => {
                        return Err(sqlx::Error::Protocol(STILL_UNDER_WAY.to_owned()));
                    }
                }
            }
            Conn::Adopted { conn, held } => DB::Adapter::roll_back_adopted(conn, held).await?,
        }
        self.state = State::Closed;
        Ok(())
    }
}

fn ended_before(error: Option<sqlx::Error>) -> Error {
    let message = "nothing was committed, because the transaction had ended before: the server rolled it \
                   back after an earlier statement failed and its error was not handled, or a statement \
                   committed or rolled back by itself; handle that error and begin again, and leave \
                   COMMIT, ROLLBACK and, on MySQL, DDL out of the transaction";
    let ended = Error::new(ErrorKind::Poisoned, message);
    match error {
        Some(error) => ended.caused_by(error),
        None => ended,
    }
}

impl<DB: Backend> Drop for Tx<'_, DB> {
    fn drop(&mut self) {
        let is_broken = self.is_broken();
        let closes = is_broken || self.is_given_up();
        match (&self.state, &mut self.conn) {
            (State::Closed, _) => {}
            (State::Opening, Conn::Root(Some(conn), _)) => conn.close_on_drop(),
            (State::Open, Conn::Root(Some(conn), _)) if closes => conn.close_on_drop(),
            (State::Open, Conn::Root(conn, held)) => {
                if let Some(conn) = conn.take() {
                    DB::Adapter::abandon(conn, std::mem::take(held));
                }
            }
            (State::Open, Conn::Nested { interrupted, .. }) if is_broken => **interrupted = true,
            (State::Open, Conn::Nested { conn, .. }) => {
                DB::TransactionManager::start_rollback(conn);
            }
            (State::Open, Conn::Adopted { conn, held }) => {
                DB::TransactionManager::start_rollback(conn);
                DB::Adapter::leave(held);
            }
            (State::Opening, Conn::Root(None, _) | Conn::Nested { .. } | Conn::Adopted { .. }) => {}
        }
    }
}
