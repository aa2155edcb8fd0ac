//! A read in exact mode: on the primary, in the snapshot that shows that it is the primary.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::call::closures::write::InTx;
use crate::error::Error;
use crate::exact::closing;
use crate::exact::core::{Core, Search};
use crate::exact::half::Half;
use crate::exact::inner::Inner;
use crate::exact::side::ExactSide;
use crate::exact::snapshot::Snapshot;
use crate::needs::{Failure, failure};
use crate::stages::exact::Found;
use crate::stages::stage::Side;
use crate::store::exact::authority;

/// A read in exact mode, from [`Exact::read`](crate::exact::Exact::read).
///
/// One closure is called, once: that of the primary, with the connection of a transaction that only reads. All that it
/// reads is of one snapshot, in which its database was the primary. So it sees every write that was acknowledged before
/// it began.
///
/// ```
/// # #[cfg(all(feature = "postgres", feature = "mysql"))] mod example {
/// use dualwrite::exact::{Exact, ExactSide};
/// use sqlx::{MySql, Postgres};
///
/// async fn items<O, N>(carts: &Exact<O, N>, id: i64) -> sqlx::Result<Option<String>>
/// where
///     O: ExactSide<Database = MySql, Key = i64>,
///     N: ExactSide<Database = Postgres, Key = i64, Record = O::Record>,
/// {
///     carts
///         .read()
///         .old(|mut tx| Box::pin(async move {
///             let sql = "SELECT items FROM cart WHERE id = ?";
///             sqlx::query_scalar(sql).bind(id).fetch_optional(&mut *tx).await
///         }))
///         .new(|mut tx| Box::pin(async move {
///             let sql = "SELECT items FROM cart WHERE id = $1";
///             sqlx::query_scalar(sql).bind(id).fetch_optional(&mut *tx).await
///         }))
///         .run()
///         .await
/// }
/// # }
/// ```
#[must_use = "it is read when `run` is awaited"]
pub struct ExactRead<'m, O: ExactSide, N: ExactSide, F = (), G = ()> {
    exact: &'m Arc<Inner<O, N>>,
    old: F,
    new: G,
}

impl<'m, O: ExactSide, N: ExactSide> ExactRead<'m, O, N> {
    pub(super) fn begun(exact: &'m Arc<Inner<O, N>>) -> Self {
        Self { exact, old: (), new: () }
    }
}

impl<'m, O: ExactSide, N: ExactSide, F, G> ExactRead<'m, O, N, F, G> {
    /// Reads where the old side is the primary.
    pub fn old<'env, C, T, E>(self, old: C) -> ExactRead<'m, O, N, C, G>
    where
        C: for<'x> FnOnce(InTx<'x, 'env, O::Database>) -> BoxFuture<'x, Result<T, E>>,
    {
        ExactRead { exact: self.exact, old, new: self.new }
    }

    /// Reads where the new side is the primary.
    pub fn new<'env, C, T, E>(self, new: C) -> ExactRead<'m, O, N, F, C>
    where
        C: for<'x> FnOnce(InTx<'x, 'env, N::Database>) -> BoxFuture<'x, Result<T, E>>,
    {
        ExactRead { exact: self.exact, old: self.old, new }
    }
}

impl<O: ExactSide, N: ExactSide, F, G> ExactRead<'_, O, N, F, G> {
    /// Reads.
    ///
    /// # Errors
    /// The closure's; ours as that: `Timeout` where no database was the primary for longer than callers wait;
    /// `StageUnknown` where a database shows an older authority than this instance has seen; `Database`;
    /// `ShuttingDown`.
    pub async fn run<'env, T, E>(self) -> Result<T, E>
    where
        F: for<'x> FnOnce(InTx<'x, 'env, O::Database>) -> BoxFuture<'x, Result<T, E>>,
        G: for<'x> FnOnce(InTx<'x, 'env, N::Database>) -> BoxFuture<'x, Result<T, E>>,
        E: Failure,
    {
        let Self { exact, old, new } = self;
        let core = &*exact.core;
        let (mut old, mut new) = (Some(old), Some(new));
        let mut search = Search::new(core);
        loop {
            core.alive().map_err(failure)?;
            let attempt = match core.side() {
                Side::Old => attempt(core, &exact.old, &mut old).await?,
                Side::New => attempt(core, &exact.new, &mut new).await?,
            };
            match attempt {
                Ok(answer) => return Ok(answer),
                Err(found) => search.goes_on(found).await.map_err(failure)?,
            }
        }
    }
}

async fn attempt<'env, S, C, T, E>(
    core: &Core,
    half: &Half<S>,
    read: &mut Option<C>,
) -> Result<Result<T, Found>, E>
where
    S: ExactSide,
    C: for<'x> FnOnce(InTx<'x, 'env, S::Database>) -> BoxFuture<'x, Result<T, E>>,
    E: Failure,
{
    let failed = |error| failure::<E>(half.failed("beginning a read", error));
    let mut snapshot = Snapshot::begin(&half.pool).await.map_err(failed)?;
    let row = authority::read_authority::<S::Database>(snapshot.connection(), &half.name).await;
    let row = row.map_err(failed)?.ok_or_else(|| failure::<E>(half.gone()))?;
    let found = core.judge(half.which, row.authority, false);
    let (Found::Here, Some(read)) = (found, read.take_if(|_| found == Found::Here)) else {
        snapshot.end().await.map_err(failed)?;
        return Ok(Err(found));
    };
    if let Err(refused) = closing::refusal(core, row.maintenance, false) {
        snapshot.end().await.map_err(failed)?;
        return Err(failure(refused));
    }
    let answer = read(InTx::on(snapshot.connection())).await?;
    let ended: Result<(), Error> =
        snapshot.end().await.map_err(|error| half.failed("ending a read", error));
    ended.map_err(failure)?;
    Ok(Ok(answer))
}
