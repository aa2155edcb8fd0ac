//! Writes by closures to two stores that share no transaction.

use std::error::Error as StdError;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::call::closures::own_store::{ConvergingSide, InControl};
use crate::call::closures::write::InTx;
use crate::converging::MirrorFailure;
use crate::converging::two::of;
use crate::converging::write::{IsRefusal, TwoWrite, run};
use crate::copier::joined::Joined;
use crate::database::Backend;
use crate::error::{Error, ErrorKind};
use crate::key::Key;
use crate::needs::{Failure, failure};

/// A write by closures to two stores that share no transaction, from
/// [`Migration::converging_write`](crate::Migration::converging_write).
///
/// The key is marked in the control tables before the first closure is called. Then the primary is written, and then the
/// mirror, in a task that goes on where this future is dropped. So the closures own what they use. Each is called once or
/// not at all.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use dualwrite::{converging::MirrorFailure, Migration};
/// # #[derive(Clone)] struct Cache;
/// # impl Cache { async fn put(&self, _: i64, _: &str) -> Result<(), dualwrite::Error> { Ok(()) } }
/// # #[derive(Clone)] struct Search;
/// # impl Search { async fn put(&self, _: i64, _: &str) -> Result<(), dualwrite::Error> { Ok(()) } }
///
/// async fn save(
///     migration: &Migration,
///     (cache, search): (Cache, Search),
///     id: i64,
///     text: String,
/// ) -> Result<(), dualwrite::Error> {
///     let too = text.clone();
///     migration
///         .converging_write("save", &id)
///         .old(move || async move { cache.put(id, &text).await })
///         .new(move || async move { search.put(id, &too).await })
///         .on_mirror_failure(MirrorFailure::AnswerNow)
///         .run()
///         .await
/// }
/// # }
/// ```
#[must_use = "it is written when `run` is awaited"]
pub struct ConvergingWrite<'m, K: ?Sized, O = (), N = (), R = ()> {
    shared: &'m Arc<Joined>,
    name: &'static str,
    key: &'m K,
    old: O,
    new: N,
    policy: MirrorFailure,
    refusal: R,
}

impl<'m, K: Key + ?Sized> ConvergingWrite<'m, K> {
    pub(crate) fn begun(shared: &'m Arc<Joined>, name: &'static str, key: &'m K) -> Self {
        let policy = MirrorFailure::default();
        Self { shared, name, key, old: (), new: (), policy, refusal: () }
    }
}

impl<'m, K: Key + ?Sized, O, N, R> ConvergingWrite<'m, K, O, N, R> {
    /// Writes the old side.
    pub fn old<F>(self, old: F) -> ConvergingWrite<'m, K, F, N, R> {
        let Self { shared, name, key, new, policy, refusal, .. } = self;
        ConvergingWrite { shared, name, key, old, new, policy, refusal }
    }

    /// Writes the new side.
    pub fn new<F>(self, new: F) -> ConvergingWrite<'m, K, O, F, R> {
        let Self { shared, name, key, old, policy, refusal, .. } = self;
        ConvergingWrite { shared, name, key, old, new, policy, refusal }
    }

    /// Writes the old side, which is in the database of the control tables. `pool` leads there. Where the old side is the
    /// primary, its write and the mark of the key are one transaction: one commit less, and where the write fails, nothing is
    /// left to be copied. See "The mark in the primary's transaction" of the guide
    /// [`converging`](crate::guide::converging).
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// use dualwrite::Migration;
    /// # #[derive(Clone)] struct Search;
    /// # impl Search { async fn put(&self, _: i64, _: &str) -> sqlx::Result<()> { Ok(()) } }
    ///
    /// async fn save(
    ///     migration: &Migration,
    ///     (pool, search): (sqlx::SqlitePool, Search),
    ///     id: i64,
    ///     text: String,
    /// ) -> sqlx::Result<()> {
    ///     let too = text.clone();
    ///     migration
    ///         .converging_write("save", &id)
    ///         .old_in(&pool, move |mut tx| Box::pin(async move {
    ///             let sql = "REPLACE INTO cart (id, text) VALUES (?, ?)";
    ///             sqlx::query(sql).bind(id).bind(text).execute(&mut *tx).await.map(drop)
    ///         }))
    ///         .new(move || async move { search.put(id, &too).await })
    ///         .run()
    ///         .await
    /// }
    /// # }
    /// ```
    pub fn old_in<DB, C, T, E>(
        self,
        pool: &sqlx::Pool<DB>,
        old: C,
    ) -> ConvergingWrite<'m, K, InControl<DB, C>, N, R>
    where
        DB: Backend,
        C: for<'x> FnOnce(InTx<'x, 'static, DB>) -> BoxFuture<'x, Result<T, E>> + Send + 'static,
    {
        self.old(InControl { pool: pool.clone(), call: old })
    }

    /// The same of the new side. Only one of both can be in that database; where both are named so, the new side is written in
    /// a transaction of its own.
    pub fn new_in<DB, C, T, E>(
        self,
        pool: &sqlx::Pool<DB>,
        new: C,
    ) -> ConvergingWrite<'m, K, O, InControl<DB, C>, R>
    where
        DB: Backend,
        C: for<'x> FnOnce(InTx<'x, 'static, DB>) -> BoxFuture<'x, Result<T, E>> + Send + 'static,
    {
        self.new(InControl { pool: pool.clone(), call: new })
    }

    /// Whether to wait for the mirror; [`MirrorFailure::Report`] by default.
    pub fn on_mirror_failure(mut self, policy: MirrorFailure) -> Self {
        self.policy = policy;
        self
    }

    /// Says which errors of the primary mean that nothing was written, and nothing will be: a constraint that was violated,
    /// an answer 4xx. After any other error the key is copied again, for nobody knows what the primary has.
    pub fn refused_where<F>(self, is_refusal: F) -> ConvergingWrite<'m, K, O, N, F> {
        let Self { shared, name, key, old, new, policy, .. } = self;
        ConvergingWrite { shared, name, key, old, new, policy, refusal: is_refusal }
    }
}

/// Which errors mean that nothing was written.
pub trait Refusal<E>: Send {
    /// A function that says so, if there is one.
    fn judge(self) -> Option<IsRefusal<E>>;
}

impl<E> Refusal<E> for () {
    fn judge(self) -> Option<IsRefusal<E>> {
        None
    }
}

impl<E, F: Fn(&E) -> bool + Send + 'static> Refusal<E> for F {
    fn judge(self) -> Option<IsRefusal<E>> {
        Some(Box::new(self))
    }
}

impl<K: Key + ?Sized, O, N, R> ConvergingWrite<'_, K, O, N, R> {
    /// Writes the primary, and where the stage has one, the mirror.
    ///
    /// # Errors
    /// The primary's; ours as that: `MirrorFailed` where the primary has the write and the mirror failed, with
    /// [`MirrorFailure::Report`]; `Timeout` where a side, or the turn for it, took too long; `StageUnknown`; `WrongKey`;
    /// `Unsupported` where the migration was not registered with
    /// [`Registration::converging`](crate::Registration::converging); `ShuttingDown`.
    ///
    /// # Panics
    /// Where the closure of the primary panics.
    pub async fn run<T, E>(self) -> Result<T, E>
    where
        O: ConvergingSide<T, E>,
        N: ConvergingSide<T, E>,
        T: Send + 'static,
        E: Failure + StdError + Send + 'static,
        R: Refusal<E>,
    {
        let Self { shared, name, key, old, new, policy, refusal } = self;
        let Some(two) = of(shared) else {
            let message = "it was not registered with two stores; add `.converging(…)` to the registration, or write \
                           in a transaction with `write`";
            return Err(failure(Error::new(ErrorKind::Unsupported, message).of(&shared.name)));
        };
        shared.check_kind(K::KIND).map_err(failure)?;
        let write = TwoWrite {
            method: name,
            bucket: shared.bucket(key).map_err(failure)?,
            key: shared.encode(key).map_err(failure)?,
            policy,
            refusal: refusal.judge(),
            old: old.side(),
            new: new.side(),
        };
        run(&shared.shared, two, write).await
    }
}
