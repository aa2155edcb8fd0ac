//! How a fenced transaction begins: for migrations that callers name.

use crate::database::{Backend, Isolation};
use crate::error::Error;
use crate::migration::Migration;
use crate::stages::position::Position;
use crate::state::Shared;
use crate::transaction::Tx;
use crate::transaction::fenced::Fenced;

fn shared<'m>(migrations: &[&'m Migration]) -> Vec<&'m Shared> {
    migrations.iter().map(|migration| &*migration.shared().shared).collect()
}

impl<DB: Backend> Tx<'static, DB> {
    /// Begins a transaction that is fenced for several migrations.
    ///
    /// # Errors
    /// `Database` where the pool or the control tables cannot be reached through `pool`,
    /// `UnknownMigration`, `Maintenance` where writes of one of them are closed, and `Conflict` where positions keep
    /// changing.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// # use dualwrite::{Error, Migration, Tx};
    /// async fn both(a: &Migration, b: &Migration, pool: &sqlx::SqlitePool) -> Result<(), Error> {
    ///     let tx = Tx::begin_for(pool, &[a, b]).await?;
    ///     tx.commit().await
    /// }
    /// # }
    /// ```
    pub async fn begin_for(
        pool: &sqlx::Pool<DB>,
        migrations: &[&Migration],
    ) -> Result<Self, Error> {
        Self::begin_open(pool, &shared(migrations), Isolation::default()).await
    }

    /// Begins a transaction that is fenced for several migrations, at an isolation level.
    ///
    /// # Errors
    /// As [`Tx::begin_for`].
    pub async fn begin_at(
        pool: &sqlx::Pool<DB>,
        migrations: &[&Migration],
        isolation: Isolation,
    ) -> Result<Self, Error> {
        Self::begin_open(pool, &shared(migrations), isolation).await
    }
}

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
    /// the database refuses the lock, `Maintenance` where writes are closed, and `UnknownMigration`. The transaction is as it was before.
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
        let shared = shared(migrations);
        let adopted = Self::adopt_shared(&mut **transaction, &shared).await;
        adopted.map_err(|error| match shared.first() {
            Some(first) => error.of(&first.name),
            None => error,
        })
    }

    /// The position that this transaction pins for a migration, `None` where it was not begun for it.
    #[must_use]
    pub fn position(&self, migration: &Migration) -> Option<Position> {
        self.pinned(migration.name())
    }
}

impl<DB: Backend> Fenced<DB> {
    /// For one more migration.
    #[must_use]
    pub fn and(&self, migration: &Migration) -> Self {
        self.and_shared(&migration.shared().shared)
    }
}
