//! A side of a write to two stores that is in the database of the control tables.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::call::closures::write::InTx;
use crate::converging::within::{Begun, Marked, NewMark, Unwritten, Within};
use crate::converging::write::SideOf;
use crate::database::{Backend, Isolation};
use crate::error::{Error, ErrorKind};
use crate::needs::{Failure, failure};
use crate::state::{Shared, unknown_migration};
use crate::store::converging::statements::mark;
use crate::transaction::Tx;

/// How a side of [`ConvergingWrite`](crate::call::ConvergingWrite) is written: by a closure, or by one in a transaction of the
/// database of the control tables, from [`old_in`](crate::call::ConvergingWrite::old_in).
///
/// ```
/// use dualwrite::{Error, call::ConvergingSide};
/// fn is_side<T, E>(_: &impl ConvergingSide<T, E>) {}
/// is_side(&|| async { Ok::<(), Error>(()) });
/// ```
pub trait ConvergingSide<T, E> {
    #[doc(hidden)]
    fn side(self) -> SideOf<T, E>;
}

impl<F, Fut, T, E> ConvergingSide<T, E> for F
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
{
    fn side(self) -> SideOf<T, E> {
        SideOf::Call(Box::new(move || Box::pin(self())))
    }
}

/// A closure for a transaction of the database of the control tables; made by
/// [`old_in`](crate::call::ConvergingWrite::old_in), which has an example.
pub struct InControl<DB: Backend, C> {
    pub(crate) pool: sqlx::Pool<DB>,
    pub(crate) call: C,
}

impl<DB: Backend, C> std::fmt::Debug for InControl<DB, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InControl").finish_non_exhaustive()
    }
}

impl<DB, C, T, E> ConvergingSide<T, E> for InControl<DB, C>
where
    DB: Backend,
    C: for<'x> FnOnce(InTx<'x, 'static, DB>) -> BoxFuture<'x, Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Failure + Send + 'static,
{
    fn side(self) -> SideOf<T, E> {
        SideOf::Within(Box::new(self))
    }
}

impl<DB, C, T, E> Within<T, E> for InControl<DB, C>
where
    DB: Backend,
    C: for<'x> FnOnce(InTx<'x, 'static, DB>) -> BoxFuture<'x, Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Failure + Send + 'static,
{
    fn begin(
        self: Box<Self>,
        shared: Arc<Shared>,
        new: NewMark,
    ) -> BoxFuture<'static, Begun<T, E>> {
        Box::pin(async move {
            match marked(&self.pool, &shared, &new).await {
                Err(error) => Begun::Failed(error),
                Ok(None) => Begun::Draining(self),
                Ok(Some(tx)) => match tx.pinned(&shared.name) {
                    Some(position) => Begun::Marked(position, Box::new(Open { tx, side: *self })),
                    None => Begun::Failed(unknown_migration(&shared.name)),
                },
            }
        })
    }

    fn alone(self: Box<Self>) -> BoxFuture<'static, Result<T, E>> {
        Box::pin(async move {
            let Self { pool, call } = *self;
            let begun = Tx::begin_shared(&pool, &[], Isolation::default()).await;
            match written(begun.map_err(failure)?, call).await {
                Ok(answer) => Ok(answer),
                Err(Unwritten::RolledBack(error) | Unwritten::Unknown(error)) => Err(error),
            }
        })
    }
}

/// A transaction of it, with the mark in it.
struct Open<DB: Backend, C> {
    tx: Tx<'static, DB>,
    side: InControl<DB, C>,
}

impl<DB, C, T, E> Marked<T, E> for Open<DB, C>
where
    DB: Backend,
    C: for<'x> FnOnce(InTx<'x, 'static, DB>) -> BoxFuture<'x, Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Failure + Send + 'static,
{
    fn write(self: Box<Self>) -> BoxFuture<'static, Result<T, Unwritten<E>>> {
        Box::pin(async move { written(self.tx, self.side.call).await })
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<Box<dyn Within<T, E>>, Error>> {
        Box::pin(async move {
            let Self { tx, side } = *self;
            tx.commit().await?;
            let side: Box<dyn Within<T, E>> = Box::new(side);
            Ok(side)
        })
    }
}

/// `None` while a move has writes wait.
async fn marked<DB: Backend>(
    pool: &sqlx::Pool<DB>,
    shared: &Shared,
    (id, key): &NewMark,
) -> Result<Option<Tx<'static, DB>>, Error> {
    let mut tx = Tx::begin_open(pool, &[shared], Isolation::default()).await?;
    let new: (&[_], &str) = (&[(&**id, key)], &shared.instance);
    let marked = mark::<DB>(tx.connection(), &shared.name, new).await;
    match marked.map_err(|error| Error::database("marking a write", error))? {
        true => Ok(Some(tx)),
        false => tx.rollback().await.map(|()| None),
    }
}

/// Calls the closure in the transaction, and commits it.
async fn written<DB, C, T, E>(mut tx: Tx<'static, DB>, call: C) -> Result<T, Unwritten<E>>
where
    DB: Backend,
    C: for<'x> FnOnce(InTx<'x, 'static, DB>) -> BoxFuture<'x, Result<T, E>>,
    E: Failure,
{
    tx.begin_work();
    let answer = call(InTx::of(&mut tx)).await;
    tx.end_work();
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            if let Err(error) = tx.rollback().await {
                // The server does it when the connection is closed. The caller gets the error of the closure.
                tracing::debug!(kind = ?error.kind(), "a write that failed could not be rolled back at once");
            }
            return Err(Unwritten::RolledBack(error));
        }
    };
    // A closure may have ended the transaction: then nobody knows what is there.
    tx.check_ours().await.map_err(|error| Unwritten::Unknown(failure(error)))?;
    tx.commit().await.map(|()| answer).map_err(|error| match error.kind() {
        ErrorKind::CommitUnknown | ErrorKind::Poisoned => Unwritten::Unknown(failure(error)),
        _ => Unwritten::RolledBack(failure(error)),
    })
}
