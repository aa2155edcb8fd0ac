//! A [`Tx`] inside a transaction that somebody else began, and will end.
//!
//! The fence belongs to the outer transaction and lasts until that one ends. What is written through the `Tx` stands
//! under a savepoint: it is undone, and nothing else is, where the `Tx` is dropped or does not commit.

use std::sync::Arc;

use sqlx_core::transaction::TransactionManager;

use super::begin::pinned;
use super::{Conn, Held, State, Tx};
use crate::database::sealed::Adapter as _;
use crate::database::{Adoption, Backend, Fenced, Isolation, Pin};
use crate::error::{Error, ErrorKind};
use crate::state::Shared;

const DOING: &str =
    "taking the fence; the control tables must be in the database of the transaction";

const ENDED: &str = "the transaction has ended, or an earlier statement in it has failed: roll it back, handle the \
                     error of that statement, and begin again";

const LATE: &str = "take the fence before the first write and the first row lock of the transaction: call `Tx::adopt` \
                    right after `begin`";

const BEHIND: &str = "roll back and begin again: the transaction sees the database as it was before the last stage \
                      change; call `Tx::adopt` right after `begin`, before the first read";

const OPENED: &str =
    "writes were closed for maintenance and have just been opened again; try again";

impl<'c, DB: Backend> Tx<'c, DB> {
    pub(crate) async fn adopt_shared(
        conn: &'c mut DB::Connection,
        migrations: &[&Shared],
    ) -> Result<Self, Error> {
        let failed = |error| Error::database(DOING, error);
        migrations.iter().try_for_each(|migration| migration.check_writes())?;
        let operation = migrations.first().map(|migration| migration.operate()).transpose()?;
        let mut pins: Vec<Pin> = migrations.iter().map(|migration| migration.pin()).collect();
        pins.sort_unstable_by(|one, other| one.name.cmp(&other.name)); // as every transaction does
        match DB::Adapter::adopt_fence(conn, &pins).await.map_err(failed)? {
            Adoption::Held => {}
            Adoption::Ended => return Err(Error::new(ErrorKind::Poisoned, ENDED)),
            Adoption::Late => return Err(Error::new(ErrorKind::Unsupported, LATE)),
            Adoption::Behind => return Err(Error::new(ErrorKind::Serialization, BEHIND)),
        }
        // Whoever drops this future before the savepoint stands leaves nothing behind but the fence.
        DB::TransactionManager::begin(conn, None).await.map_err(failed)?;
        let conn = Conn::Adopted { conn, held: Held::<DB>::default() };
        // Where a statement may see newer rows than the others, nobody says at which level this one is.
        let mut tx: Tx<'c, DB> =
            Tx::new(conn, Arc::from([]), Isolation::RepeatableRead, State::Open);
        tx._operation = operation;
        tx.adopted = true;
        if let Conn::Adopted { conn, held } = &mut tx.conn {
            DB::Adapter::guard_adopted(conn, held).await.map_err(failed)?;
        }
        if let Fenced::Read(found) =
            DB::Adapter::read_pinned(tx.connection(), &pins).await.map_err(failed)?
        {
            for (pin, found) in pins.iter().zip(&found) {
                let shared = migrations.iter().find(|shared| shared.name == pin.name);
                if let (Some(shared), Some(found)) = (shared, found) {
                    shared.compare_fence(pin.mark(), found.mark());
                }
            }
            tx.marked = found.iter().flatten().any(|found| found.watched);
            tx.pins = pinned(pins, found)?;
        }
        if tx.pins.iter().any(|pin| pin.position.closed.is_closed()) {
            tx.rollback().await?;
            for migration in migrations {
                migration.refresh().await?;
                migration.check_writes()?;
            }
            return Err(Error::new(ErrorKind::Conflict, OPENED));
        }
        tx._open = migrations.iter().map(|shared| shared.open.enter(shared.clock.now())).collect();
        Ok(tx)
    }
}
