//! Runs the copy function: rows locked in the side that is copied from, dirty marks cleared in the same
//! transaction.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::source::{KeyParts, Pages};
use super::{Copied, Copier, CopyKeys};
use crate::backend::sealed::Adapter;
use crate::backend::{Backend, SqlValue};
use crate::backfill::run::{BackfillOptions, Worker};
use crate::bucket::Bucket;
use crate::control::BackfillProgress;
use crate::error::{BoxError, Error, ErrorKind};
use crate::key::{EncodedKey, Key, KeyKind, OwnedKey};
use crate::lazy::decide::may_copy_at;
use crate::position::Position;
use crate::route::stage_of;
use crate::shared::Shared;
use crate::stage::Side;
use crate::transaction::Tx;
use crate::verify::run::VerifyReport;

/// A copy function with the pool it works on.
pub(crate) struct SqlCopier<C: CopyKeys> {
    pub(crate) copy: C,
    pub(crate) pool: sqlx::Pool<C::Database>,
    pub(crate) pages: Pages,
    pub(crate) new_pages: Option<Pages>,
}

impl<C: CopyKeys> SqlCopier<C> {
    pub(crate) fn new(copy: C, pool: sqlx::Pool<C::Database>) -> Result<Self, Error> {
        let dialect = dialect::<C::Database>();
        let kind = <C::Key as Key>::KIND;
        let pages = copy.source().pages(dialect, kind)?;
        let new_pages = copy.new_source().map(|source| source.pages(dialect, kind)).transpose()?;
        Ok(Self { copy, pool, pages, new_pages })
    }

    /// A transaction fenced for this migration alone.
    pub(crate) async fn begin(
        &self,
        shared: &Shared,
    ) -> Result<(Tx<'static, C::Database>, Position), Error> {
        let tx = Tx::begin_shared(&self.pool, &[shared]).await?;
        let position = tx.pinned(&shared.name).unwrap_or(Position::start());
        Ok((tx, position))
    }

    /// Copies keys whose rows the transaction holds locked, and clears their dirty marks.
    pub(crate) async fn copy_locked(
        &self,
        shared: &Shared,
        tx: &mut Tx<'_, C::Database>,
        keys: &[C::Key],
        to: Side,
    ) -> Result<Copied, Error> {
        let copied = async {
            match to {
                Side::New => self.copy.copy(tx, keys).await,
                Side::Old => self.copy.copy_back(tx, keys).await,
            }
        };
        // A panic in the user's function is an error like another; the transaction is rolled back.
        let copied = match AssertUnwindSafe(copied).catch_unwind().await {
            Ok(copied) => copied.map_err(|error| copy_failed(shared, error))?,
            Err(_) => return Err(copy_failed(shared, "the copy function panicked".into())),
        };
        if shared.is_dirty() {
            clear_dirty::<C>(shared, tx, keys, to).await?;
        }
        Ok(copied)
    }

    async fn copy_key_to(
        &self,
        shared: &Shared,
        encoded: &EncodedKey,
        to: Side,
    ) -> Result<Option<Copied>, Error> {
        let key = encoded.decode::<C::Key>().map_err(|error| error.of(&shared.name))?;
        let (mut tx, position) = self.begin(shared).await?;
        let bucket = shared.options.rule.bucket(&key, shared.salt)?;
        if !may_copy_to(position, bucket, to) {
            tx.rollback().await?;
            return Ok(None);
        }
        let copied = self.copy_one(shared, &mut tx, key, to).await?;
        tx.commit().await?;
        Ok(Some(copied))
    }

    async fn copy_one(
        &self,
        shared: &Shared,
        tx: &mut Tx<'_, C::Database>,
        key: C::Key,
        to: Side,
    ) -> Result<Copied, Error> {
        let pages = match (to, &self.new_pages) {
            (Side::Old, Some(pages)) => pages,
            _ => &self.pages,
        };
        let (sql, values) = pages.lock(&key.parts());
        let locked = <C::Database as Adapter>::fetch(tx.connection(), &sql, &values).await;
        locked.map_err(|error| Error::database("locking a row to copy", error).of(&shared.name))?;
        self.copy_locked(shared, tx, std::slice::from_ref(&key), to).await
    }
}

/// Both sides must still get every write; and old must be the side that does not answer, for new to be
/// copied over it.
fn may_copy_to(position: Position, bucket: Bucket, to: Side) -> bool {
    let stage = stage_of(position, bucket);
    may_copy_at(stage) && (to == Side::New || stage.reads() == Side::New)
}

/// Copies one key inside a caller's transaction, under a savepoint.
pub(crate) async fn copy_one_in<DB: Backend>(
    shared: &Shared,
    tx: &mut Tx<'_, DB>,
    key: &EncodedKey,
) -> Result<Copied, Error> {
    // The copier's database type is erased; the boxed hook below puts it back.
    let copier = shared.copier()?;
    let Some(typed) = copier.in_transaction().downcast_ref::<InTransaction<DB>>() else {
        let message = "the copy function is for another database than this transaction";
        return Err(Error::new(ErrorKind::Unsupported, message).of(&shared.name));
    };
    let mut nested = tx.begin().await?;
    let copied = (typed.0)(shared, &mut nested, key).await?;
    nested.commit().await?;
    Ok(copied)
}

/// A copy function for transactions of one database.
pub(crate) struct InTransaction<DB: Backend>(pub(crate) Box<CopyIn<DB>>);

pub(crate) type CopyIn<DB> = dyn for<'a, 'c> Fn(
        &'a Shared,
        &'a mut Tx<'c, DB>,
        &'a EncodedKey,
    ) -> BoxFuture<'a, Result<Copied, Error>>
    + Send
    + Sync;

fn copy_failed(shared: &Shared, cause: BoxError) -> Error {
    Error::new(ErrorKind::CopyFailed, "the copy function failed").caused_by(cause).of(&shared.name)
}

async fn clear_dirty<C: CopyKeys>(
    shared: &Shared,
    tx: &mut Tx<'_, C::Database>,
    keys: &[C::Key],
    side: Side,
) -> Result<(), Error> {
    let sql = "DELETE FROM dualwrite_dirty WHERE migration = ? AND side = ? AND key_text = ?";
    for key in keys {
        let key = EncodedKey::new(key)?;
        let values = [SqlValue::from(&*shared.name), side.as_str().into(), key.0.as_str().into()];
        <C::Database as Adapter>::execute(tx.connection(), sql, &values)
            .await
            .map_err(|error| Error::database("clearing a dirty mark", error).of(&shared.name))?;
    }
    Ok(())
}

pub(crate) fn dialect<DB: Backend>() -> &'static crate::backend::Dialect {
    const { &DB::DIALECT }
}

/// The key of a page's row.
pub(crate) fn typed_key<K: OwnedKey>(parts: &KeyParts) -> Result<K, Error> {
    K::take(&mut parts.iter().cloned())
}

/// A copy function as a migration holds it.
pub(crate) struct Registered<C: CopyKeys> {
    copier: Arc<SqlCopier<C>>,
    in_transaction: InTransaction<C::Database>,
}

impl<C: CopyKeys> Registered<C> {
    pub(crate) fn new(copy: C, pool: sqlx::Pool<C::Database>) -> Result<Self, Error> {
        let copier = Arc::new(SqlCopier::new(copy, pool)?);
        let inside = Arc::clone(&copier);
        let in_transaction = InTransaction(Box::new(move |shared, tx, key| {
            let copier = Arc::clone(&inside);
            Box::pin(async move {
                let key = key.decode::<C::Key>().map_err(|error| error.of(&shared.name))?;
                copier.copy_one(shared, tx, key, Side::New).await
            })
        }));
        Ok(Self { copier, in_transaction })
    }
}

impl<C: CopyKeys> Copier for Registered<C> {
    fn kind(&self) -> KeyKind {
        <C::Key as Key>::KIND
    }

    fn can_copy_to(&self, side: Side) -> bool {
        side == Side::New || self.copier.copy.can_copy_back()
    }

    fn copy_key<'a>(
        &'a self,
        shared: &'a Shared,
        key: &'a EncodedKey,
        to: Side,
    ) -> BoxFuture<'a, Result<Option<Copied>, Error>> {
        Box::pin(self.copier.copy_key_to(shared, key, to))
    }

    fn backfill<'a>(
        &'a self,
        shared: &'a Shared,
        options: BackfillOptions,
    ) -> BoxFuture<'a, Result<BackfillProgress, Error>> {
        Box::pin(async move { Worker::new(&self.copier, shared, options).run().await })
    }

    fn verify<'a>(
        &'a self,
        shared: &'a Shared,
        batch: u32,
    ) -> BoxFuture<'a, Result<VerifyReport, Error>> {
        Box::pin(crate::verify::run::verify(&self.copier, shared, batch))
    }

    fn in_transaction(&self) -> &(dyn std::any::Any + Send + Sync) {
        &self.in_transaction
    }
}
