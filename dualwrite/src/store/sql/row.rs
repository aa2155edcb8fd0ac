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
use crate::store::connections::Lent;
use crate::store::sql::SqlControl;

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
        let mut lent = self.lock_row(doing, name).await?;
        let affected = lent.execute(sql, values).await.map_err(failed)?;
        lent.commit().await.map_err(failed)?;
        Ok(affected)
    }

    async fn lock_row(&self, doing: &'static str, name: &str) -> Result<Lent<'_, DB>, Error> {
        for _ in 0..ATTEMPTS {
            let locking = self.moves.within(doing, async {
                let mut lent = self.moves.begin().await?;
                match lent.fetch(LOCK, &[name.into()]).await {
                    Ok(_) => Ok(Some(lent)),
                    Err(error) if DB::Adapter::is_lock_timeout(&error) => {
                        lent.rollback().await?;
                        Ok(None)
                    }
                    Err(error) => Err(error),
                }
            });
            if let Some(lent) = locking.await.map_err(|error| error.of(name))? {
                return Ok(lent);
            }
            clock::sleep(PAUSE).await;
        }
        self.exclusive(name).await
    }
}
