//! A [`Tx`] inside a transaction that somebody else began, and will end.
//!
//! The fence belongs to the outer transaction and lasts until that one ends. What is written through the `Tx` stands
//! under a savepoint: it is undone, and nothing else is, where the `Tx` is dropped or does not commit.

use std::sync::Arc;

use sqlx_core::transaction::TransactionManager;

use super::{Conn, Held, Migration, State, Tx, pinned};
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

impl<'c, DB: Backend> Tx<'c, DB> {
    /// Takes the fence of these migrations inside a transaction that somebody else began.
    ///
    /// Call it right after `begin`: before the first write and the first row lock and, where the whole
    /// transaction has one snapshot, before the first read.
    /// [`commit`](Tx::commit) keeps what was written through the `Tx`, and leaves the rest to the owner of the
    /// transaction. Dropped or rolled back, what was written through it is undone, and the transaction goes on. The
    /// fence lasts until the transaction ends: a stage change waits for that.
    ///
    /// The rules of each database, and what the library does not see, are
    /// [in the guide](crate::guide::repository#transactions-that-somebody-else-began).
    ///
    /// # Errors
    /// `Unsupported` where the transaction has written or locked a row before (PostgreSQL), `Serialization` where its
    /// snapshot is older than the last stage change, `Poisoned` where it has ended or failed, `Database` where
    /// the database refuses the lock, and `UnknownMigration`. The transaction is as it was before.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// use dualwrite::{Migration, Tx};
    /// use sqlx::{Sqlite, SqlitePool};
    ///
    /// async fn pay(migration: &Migration, pool: &SqlitePool) -> Result<(), sqlx::Error> {
    ///     let mut transaction = pool.begin().await?;
    ///     let tx: Tx<'_, Sqlite> = Tx::adopt(&mut transaction, &[migration]).await?;
    ///     // … dual writes: customers.save(&mut tx, &customer).await? …
    ///     tx.commit().await?;
    ///     sqlx::query("INSERT INTO audit (what) VALUES ('paid')").execute(&mut *transaction).await?;
    ///     transaction.commit().await
    /// }
    /// # }
    /// ```
    pub async fn adopt(
        transaction: &'c mut sqlx::Transaction<'_, DB>,
        migrations: &[&Migration],
    ) -> Result<Self, Error> {
        let shared: Vec<&Shared> =
            migrations.iter().map(|migration| &**migration.shared()).collect();
        let adopted = Self::adopt_shared(&mut **transaction, &shared).await;
        adopted.map_err(|error| match shared.first() {
            Some(first) => error.of(&first.name),
            None => error,
        })
    }

    async fn adopt_shared(
        conn: &'c mut DB::Connection,
        migrations: &[&Shared],
    ) -> Result<Self, Error> {
        let failed = |error| Error::database(DOING, error);
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
        tx._open = migrations.iter().map(|shared| shared.open.enter(shared.clock.now())).collect();
        Ok(tx)
    }
}
