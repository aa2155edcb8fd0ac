//! Constraints that the database would judge as late as at COMMIT, past every savepoint. What a copy writes is judged
//! before its transaction commits, so that a row that violates one stands alone; and what a mirror write has done is
//! judged under its savepoint, so that the caller's write does not pay for it.

use super::keyed::KeyParts;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::run::SqlCopier;
use super::source::Pages;
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, Deferred, SqlValue};
use crate::error::{Error, ErrorKind};
use crate::stages::stage::Side;
use crate::state::Shared;
use crate::transaction::Tx;

/// Mirror writes after which the catalogue is asked again, for the service's schema may change while it runs.
const ASKED_AGAIN_AFTER: u32 = 1_000;

type Connection<DB> = <DB as sqlx::Database>::Connection;

impl<DB: Backend> SqlCopier<DB> {
    /// Whether a mirror write to this side has to be judged before its savepoint is left.
    pub(crate) fn defers(&self, side: Side) -> bool {
        if !DB::Adapter::DEFERS || self.judged_pages(side).is_none() {
            return false;
        }
        let again = self.judged.used.fetch_add(1, Relaxed).is_multiple_of(ASKED_AGAIN_AFTER);
        again || self.judged.of(side).is_none_or(|found| *found != Deferred::Nothing)
    }

    fn judged_pages(&self, side: Side) -> Option<&Pages> {
        match side {
            Side::Old => Some(&self.pages),
            Side::New => self.new_pages.as_ref(),
        }
    }

    /// Judges what a transaction of a caller has done to the rows of keys on one side. Where it fails the
    /// transaction must go back to a savepoint before that.
    pub(crate) async fn judge(
        &self,
        shared: &Shared,
        tx: &mut Tx<'_, DB>,
        keys: &[KeyParts],
        side: Side,
    ) -> Result<(), Error> {
        let Some(pages) = self.judged_pages(side) else { return Ok(()) };
        let failed = |error: sqlx::Error| match error.as_database_error() {
            Some(_) => Error::copying(error).of(&shared.name),
            None => Error::database("judging constraints", error).of(&shared.name),
        };
        let again = self.judged.used.load(Relaxed) % ASKED_AGAIN_AFTER <= 1;
        let deferred = match self.judged.of(side).filter(|_| !again) {
            Some(known) => known,
            None => {
                let asked = DB::Adapter::deferred(tx.connection(), pages.table(), pages.columns());
                let found = Arc::new(asked.await.map_err(failed)?);
                self.judged.set(side, Arc::clone(&found));
                found
            }
        };
        let keys: Vec<Vec<SqlValue>> =
            keys.iter().map(|key| key.iter().cloned().map(SqlValue::from).collect()).collect();
        let judged = deferred.judge::<DB::Adapter>(tx.connection(), &keys);
        match judged.await.map_err(failed)? {
            true => Ok(()),
            false => {
                let cause = format!("a deferred foreign key of {} is violated", pages.table());
                Err(Error::copying(cause).of(&shared.name))
            }
        }
    }

    /// Asks whether there are such constraints, on whichever table a copy may write.
    pub(crate) async fn learn(&self, conn: &mut Connection<DB>) -> sqlx::Result<()> {
        if DB::Adapter::JUDGE_ALL.is_some() {
            let found = DB::Adapter::defers(conn).await?;
            self.judged.anywhere.store(found, Relaxed);
        }
        Ok(())
    }

    /// Judges all that a transaction of the library's own has copied. Where it fails it must be rolled back.
    pub(crate) async fn judge_all(
        &self,
        shared: &Shared,
        tx: &mut Tx<'_, DB>,
    ) -> Result<(), Error> {
        let Some(sql) = DB::Adapter::JUDGE_ALL else { return Ok(()) };
        if !self.judged.anywhere.load(Relaxed) {
            return Ok(());
        }
        let judged = DB::Adapter::run(tx.connection(), sql).await;
        judged.map_err(|error| {
            Error::database("judging constraints", error).of(&shared.name).blaming_the_copy()
        })
    }

    /// Takes in that a commit was refused for what was copied. The error is the row's fault where nothing more can
    /// be judged before a commit; else it is tried again, and judged before.
    pub(crate) fn refused(&self, error: Error) -> Error {
        if !error.is_about_data() || error.kind() != ErrorKind::Database {
            return error;
        }
        let judges = DB::Adapter::JUDGE_ALL.is_some();
        if judges && !self.judged.anywhere.swap(true, Relaxed) {
            let message = "a constraint was judged at the commit; it is judged before from now on";
            return Error::new(ErrorKind::Serialization, message).caused_by(error);
        }
        error.blaming_the_copy()
    }

    /// Judges and commits one key's copy.
    pub(crate) async fn commit_copy(
        &self,
        shared: &Shared,
        mut tx: Tx<'_, DB>,
    ) -> Result<(), Error> {
        // One key: asking first costs little, and the row has to pay at once.
        let asked = self.learn(tx.connection()).await;
        asked.map_err(|error| Error::database("asking for constraints", error).of(&shared.name))?;
        self.judge_all(shared, &mut tx).await?;
        tx.commit().await.map_err(|error| error.of(&shared.name).blaming_the_copy())
    }
}
