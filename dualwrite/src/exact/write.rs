//! A write in exact mode: on the primary alone, with a record for the mirror in the same transaction.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::call::closures::write::InTx;
use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::exact::closing;
use crate::exact::core::{Core, Search};
use crate::exact::half::Half;
use crate::exact::inner::Inner;
use crate::exact::relay;
use crate::exact::side::ExactSide;
use crate::exact::step::ExactStep;
use crate::key::EncodedKey;
use crate::needs::{Failure, failure};
use crate::stages::exact::Found;
use crate::stages::stage::Side;
use crate::store::exact::outbox::NAMED;

/// A write in exact mode, from [`Exact::write`](crate::exact::Exact::write).
///
/// One closure is called, once: that of the primary, with the connection of a transaction in its database. After it the
/// library reads the record by [`ExactSide::get`], leaves it in the outbox, and commits.
///
/// ```
/// # #[cfg(all(feature = "postgres", feature = "mysql"))] mod example {
/// use dualwrite::exact::{Exact, ExactSide};
/// use sqlx::{MySql, Postgres};
///
/// async fn add<O, N>(carts: &Exact<O, N>, id: i64, item: &str) -> sqlx::Result<()>
/// where
///     O: ExactSide<Database = MySql, Key = i64>,
///     N: ExactSide<Database = Postgres, Key = i64, Record = O::Record>,
/// {
///     carts
///         .write(&id)
///         .old(|mut tx| Box::pin(async move {
///             let sql = "UPDATE cart SET items = CONCAT(items, ?) WHERE id = ?";
///             sqlx::query(sql).bind(item).bind(id).execute(&mut *tx).await.map(drop)
///         }))
///         .new(|mut tx| Box::pin(async move {
///             let sql = "UPDATE cart SET items = items || $1 WHERE id = $2";
///             sqlx::query(sql).bind(item).bind(id).execute(&mut *tx).await.map(drop)
///         }))
///         .run()
///         .await
/// }
/// # }
/// ```
#[must_use = "it is written when `run` is awaited"]
pub struct ExactWrite<'m, O: ExactSide, N: ExactSide, F = (), G = ()> {
    exact: &'m Arc<Inner<O, N>>,
    keys: Result<Vec<EncodedKey>, Error>,
    old: F,
    new: G,
    wait: Option<Duration>,
}

impl<'m, O: ExactSide, N: ExactSide> ExactWrite<'m, O, N> {
    pub(super) fn begun(exact: &'m Arc<Inner<O, N>>, keys: Result<Vec<EncodedKey>, Error>) -> Self {
        Self { exact, keys, old: (), new: (), wait: None }
    }
}

impl<'m, O: ExactSide, N: ExactSide, F, G> ExactWrite<'m, O, N, F, G> {
    /// Writes where the old side is the primary.
    pub fn old<'env, C, T, E>(self, old: C) -> ExactWrite<'m, O, N, C, G>
    where
        C: for<'x> FnOnce(InTx<'x, 'env, O::Database>) -> BoxFuture<'x, Result<T, E>>,
    {
        let Self { exact, keys, new, wait, .. } = self;
        ExactWrite { exact, keys, old, new, wait }
    }

    /// Writes where the new side is the primary.
    pub fn new<'env, C, T, E>(self, new: C) -> ExactWrite<'m, O, N, F, C>
    where
        C: for<'x> FnOnce(InTx<'x, 'env, N::Database>) -> BoxFuture<'x, Result<T, E>>,
    {
        let Self { exact, keys, old, wait, .. } = self;
        ExactWrite { exact, keys, old, new, wait }
    }

    /// After the commit, applies the record to the mirror too, and waits for that up to this limit. Else, and after the
    /// limit, the relay does it.
    pub fn wait_for_mirror(mut self, limit: Duration) -> Self {
        self.wait = Some(limit);
        self
    }
}

/// What one database said.
enum Attempt<T> {
    /// It takes no write, and nothing was called.
    NotHere(Found),
    /// Whether the write left records, and the answer.
    Done(bool, T),
}

impl<'m, O, N, F, G> ExactWrite<'m, O, N, F, G>
where
    O: ExactSide,
    N: ExactSide<Key = O::Key, Record = O::Record>,
{
    /// Writes.
    ///
    /// # Errors
    /// The closure's: everything was rolled back. Ours as that: `Timeout` where a hand-over took longer than callers
    /// wait: nothing was written; `StageUnknown` where a database shows an older authority than this instance has seen;
    /// `MirrorFailed` where the primary has the write and the mirror had it not within the limit of
    /// [`wait_for_mirror`](Self::wait_for_mirror); `CopyFailed` where `get` failed, and `InvalidInput` for a record that
    /// JSON does not keep: nothing was written; `Poisoned`, `Serialization`, `Database`, `CommitUnknown` as
    /// [`Tx::commit`](crate::Tx::commit) has them; `WrongKey`; `ShuttingDown`.
    pub async fn run<'env, T, E>(self) -> Result<T, E>
    where
        F: for<'x> FnOnce(InTx<'x, 'env, O::Database>) -> BoxFuture<'x, Result<T, E>>,
        G: for<'x> FnOnce(InTx<'x, 'env, N::Database>) -> BoxFuture<'x, Result<T, E>>,
        E: Failure,
    {
        let Self { exact, keys, old, new, wait } = self;
        let core = &*exact.core;
        let keys = keys.and_then(|keys| checked::<O>(core, keys)).map_err(failure)?;
        let (mut old, mut new) = (Some(old), Some(new));
        let mut search = Search::new(core);
        loop {
            core.alive().map_err(failure)?;
            let side = core.side();
            let attempt = match side {
                Side::Old => attempt(core, &exact.old, &keys, &mut old).await?,
                Side::New => attempt(core, &exact.new, &keys, &mut new).await?,
            };
            match attempt {
                Attempt::NotHere(found) => search.goes_on(found).await.map_err(failure)?,
                Attempt::Done(false, answer) => return Ok(answer),
                Attempt::Done(true, answer) => {
                    core.wake.notify_one();
                    if let Some(limit) = wait {
                        mirrored(core, side, &keys, limit).await.map_err(failure)?;
                    }
                    return Ok(answer);
                }
            }
        }
    }
}

fn checked<S: ExactSide>(core: &Core, mut keys: Vec<EncodedKey>) -> Result<Vec<EncodedKey>, Error> {
    use crate::key::Key as _;
    for key in &keys {
        key.parts(S::Key::KIND).map_err(|_| {
            let message = format!("the keys of this migration are of the type {}", S::Key::KIND);
            Error::new(ErrorKind::WrongKey, message).of(&core.name)
        })?;
    }
    keys.sort_unstable();
    keys.dedup();
    if keys.is_empty() || keys.len() > NAMED {
        let message = format!(
            "a write names 1 to {NAMED} keys, not {}; split it into several transactions",
            keys.len()
        );
        return Err(Error::new(ErrorKind::InvalidInput, message).of(&core.name));
    }
    Ok(keys)
}

async fn attempt<'env, S, C, T, E>(
    core: &Core,
    half: &Half<S>,
    keys: &[EncodedKey],
    write: &mut Option<C>,
) -> Result<Attempt<T>, E>
where
    S: ExactSide,
    C: for<'x> FnOnce(InTx<'x, 'env, S::Database>) -> BoxFuture<'x, Result<T, E>>,
    E: Failure,
{
    let mut tx = half.begin_to_hold().await.map_err(failure)?;
    // Before the closure: from here to the commit nobody else writes these keys, so the order of versions is that of the
    // writes.
    let (held, versions) = half.hold_and_raise(&mut tx, keys).await.map_err(failure)?;
    let row = held.authority;
    let found = core.judge(half.which, row, true);
    let (Found::Here, Some(write)) = (found, write.take_if(|_| found == Found::Here)) else {
        tx.rollback().await.map_err(failure)?;
        return Ok(Attempt::NotHere(found));
    };
    if let Err(refused) = closing::refusal(core, held.maintenance, true) {
        tx.rollback().await.map_err(failure)?;
        return Err(failure(refused));
    }
    tx.begin_work();
    let answer = write(InTx::of(&mut tx)).await;
    tx.end_work();
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            if let Err(error) = tx.rollback().await {
                // The server does it when the connection is closed. The caller gets the error of the closure.
                tracing::debug!(kind = ?error.kind(), "a write that failed could not be rolled back at once");
            }
            return Err(error);
        }
    };
    if row.recording {
        let payloads = half.payloads(&mut tx, keys).await.map_err(failure)?;
        half.leave(&mut tx, (keys, &versions), payloads).await.map_err(failure)?;
    }
    core.pass(ExactStep::Written).map_err(failure)?;
    tx.commit().await.map_err(|error| failure(error.of(&core.name)))?;
    core.pass(ExactStep::Committed).map_err(failure)?;
    Ok(Attempt::Done(row.recording, answer))
}

/// Applies the records of the write, for a caller that waits for it.
async fn mirrored(
    core: &Core,
    side: Side,
    keys: &[EncodedKey],
    limit: Duration,
) -> Result<(), Error> {
    let reason = match clock::limit(limit, relay::apply_keys(core, side, keys)).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(()) => format!("it did not have it within {limit:?}"),
    };
    let message = format!(
        "the {side} side has the write; the mirror has not yet: {reason}; the relay goes on with it, do not write it again"
    );
    Err(Error::new(ErrorKind::MirrorFailed, message).of(&core.name))
}
