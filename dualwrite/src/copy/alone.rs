//! Copies to old with the fence held alone. A delete that passes old before a row is there locks nothing in
//! old; a row that is copied back in between would stay there when the delete has reached new. So a row
//! that old lacks is copied back while no write is in flight; or, by a reverse copy, beside writes, and what
//! is left over is removed when those have ended.

use super::CopyKeys;
use super::run::SqlCopier;
use crate::error::Error;
use crate::position::Position;
use crate::shared::Shared;
use crate::transaction::Tx;
use crate::transaction::alone::{FENCE_ATTEMPTS, fence_refused};

/// How often the fence is asked for, for the sake of one key, about a second each time: other writers wait
/// as long, and a key can wait for the next round.
const ATTEMPTS_FOR_A_KEY: u32 = 1;

impl<C: CopyKeys> SqlCopier<C> {
    /// Whether a row that is inserted into old must be copied with the fence held alone. Where one
    /// transaction writes at a time, every one holds it alone.
    pub(crate) fn inserts_alone(&self) -> bool {
        self.pages.has_row_locks()
    }

    /// A transaction that holds the fence of this migration alone.
    pub(crate) async fn begin_alone(
        &self,
        shared: &Shared,
    ) -> Result<(Tx<'static, C::Database>, Position), Error> {
        let mut tx = self.take_fence(shared, ATTEMPTS_FOR_A_KEY).await?;
        tx.pin_alone(shared.pin()).await.map_err(|error| error.of(&shared.name))?;
        let position = tx.pinned(&shared.name).unwrap_or(Position::start());
        Ok((tx, position))
    }

    /// Waits until every write has ended that is in flight now: the fence is taken alone, and given back.
    pub(crate) async fn wait_for_writes(&self, shared: &Shared) -> Result<(), Error> {
        self.take_fence(shared, FENCE_ATTEMPTS).await?.rollback().await
    }

    async fn take_fence(
        &self,
        shared: &Shared,
        attempts: u32,
    ) -> Result<Tx<'static, C::Database>, Error> {
        let begun = Tx::begin_alone(&self.pool, &shared.name, attempts, Tx::opening).await;
        begun.map_err(|error| {
            let message = "writes in flight did not end in time, so nothing more was copied to old; look \
                           for a transaction that is held open, and copy again";
            fence_refused::<C::Database>("waiting for writes in flight", message, error)
                .of(&shared.name)
        })
    }
}
