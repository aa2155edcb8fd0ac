//! Changes of a migration's row that are no change of its position.
//!
//! On MySQL and MariaDB that row is the fence, which writers hold shared to the end of their transactions. Whoever
//! waits there for the exclusive lock makes the writers wait that come after. So the lock is asked for without
//! waiting, again and again; only where it is never free, as under load, does one wait for it as a change of the
//! position does: about a second at a time.

use std::time::Duration;

use crate::clock;
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlValue};
use crate::error::Error;
use crate::store::sql::SqlControl;
use crate::transaction::Tx;
use crate::transaction::alone::{FENCE_ATTEMPTS, fence_refused};

const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(25);
const LOCK: &str = "SELECT epoch FROM dualwrite_migration WHERE name = ? FOR UPDATE NOWAIT";

impl<DB: Backend> SqlControl<DB> {
    /// Runs one statement that changes the row of a migration; answers with the rows affected.
    pub(super) async fn change_row(
        &self,
        doing: &'static str,
        name: &str,
        sql: &str,
        values: &[SqlValue],
    ) -> Result<u64, Error> {
        if !DB::Adapter::DIALECT.fence_is_the_row {
            return self.execute(doing, sql, values).await;
        }
        let failed = |error| Error::database(doing, error).of(name);
        let mut tx = self.lock_row(doing, name).await?;
        let affected = DB::Adapter::execute(tx.connection(), sql, values).await.map_err(failed)?;
        tx.commit().await?;
        Ok(affected)
    }

    async fn lock_row(&self, doing: &'static str, name: &str) -> Result<Tx<'static, DB>, Error> {
        let failed = |error| Error::database(doing, error).of(name);
        for _ in 0..ATTEMPTS {
            let mut tx = Tx::opening_control(self.pool.acquire().await.map_err(failed)?);
            tx.begin_plain().await.map_err(failed)?;
            match DB::Adapter::fetch(tx.connection(), LOCK, &[name.into()]).await {
                Ok(_) => return Ok(tx),
                Err(error) if DB::Adapter::is_lock_timeout(&error) => tx.rollback().await?,
                Err(error) => return Err(failed(error)),
            }
            clock::sleep(PAUSE).await;
        }
        let begun = Tx::begin_alone(&self.pool, name, FENCE_ATTEMPTS, Tx::opening_control).await;
        let message = "writes in flight did not end in time; look for a transaction that is held open, and \
                       try again";
        begun.map_err(|error| fence_refused::<DB>(doing, message, error).of(name))
    }
}
