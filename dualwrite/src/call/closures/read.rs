//! Reads by closures.

use std::fmt::Display;
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use crate::call::closures::{
    By, ByEquality, ByFields, Comparer, Copying, Eager, Lazy, REPOSITORY, Uncompared,
};
use crate::call::read::{Read, copy_and_ask, finish_plain, finish_read, route};
use crate::call::repository::{Form, Method, Repository};
use crate::compare::{Comparison, Pair};
use crate::copier::joined::Joined;
use crate::error::Error;
use crate::key::Key;
use crate::needs::{Answered, Failure, failure};
use crate::shadow::rules::{ByText as _, Failed};
use crate::stages::position::Percent;
use crate::stages::route::Operation;
use crate::stages::stage::Side;

/// A read by closures, from [`Migration::read`](crate::Migration::read) or
/// [`Migration::scan`](crate::Migration::scan).
///
/// The closure of the side that answers is called; where the answer is compared, the closures are called again after
/// the caller has got it. So they own what they use.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use dualwrite::Migration;
/// use sqlx::SqlitePool;
///
/// async fn email(migration: &Migration, pool: &SqlitePool, id: i64) -> sqlx::Result<Option<String>> {
///     let ask = |sql: &'static str| {
///         let pool = pool.clone();
///         move || {
///             let pool = pool.clone();
///             async move { sqlx::query_scalar(sql).bind(id).fetch_optional(&pool).await }
///         }
///     };
///     migration
///         .read("email", &id)
///         .old(ask("SELECT email FROM customer WHERE id = ?"))
///         .new(ask("SELECT email_address FROM customer WHERE id = ?"))
///         .run()
///         .await
/// }
/// # }
/// ```
#[must_use = "it is read when `run` is awaited"]
pub struct ReadCall<'m, K: ?Sized, O = (), N = (), C = ByEquality, L = Eager> {
    shared: &'m Arc<Joined>,
    method: Method,
    /// `None` for a scan.
    key: Option<&'m K>,
    old: O,
    new: N,
    compare: C,
    lazy: PhantomData<L>,
}

impl<'m, K: Key + ?Sized> ReadCall<'m, K> {
    pub(crate) fn begun(shared: &'m Arc<Joined>, name: &'static str, key: Option<&'m K>) -> Self {
        let operation = if key.is_some() { Operation::Read } else { Operation::Scan };
        Self {
            shared,
            method: Method::new(name, operation),
            key,
            old: (),
            new: (),
            compare: ByEquality,
            lazy: PhantomData,
        }
    }
}

impl<'m, K: Key + ?Sized, O, N, C, L> ReadCall<'m, K, O, N, C, L> {
    /// Asks the old side.
    pub fn old<F>(self, old: F) -> ReadCall<'m, K, F, N, C, L> {
        let Self { shared, method, key, new, compare, lazy, .. } = self;
        ReadCall { shared, method, key, old, new, compare, lazy }
    }

    /// Asks the new side.
    pub fn new<F>(self, new: F) -> ReadCall<'m, K, O, F, C, L> {
        let Self { shared, method, key, old, compare, lazy, .. } = self;
        ReadCall { shared, method, key, old, new, compare, lazy }
    }

    fn with<D>(self, compare: D) -> ReadCall<'m, K, O, N, D, L> {
        let Self { shared, method, key, old, new, lazy, .. } = self;
        ReadCall { shared, method, key, old, new, compare, lazy }
    }

    /// Compares the answers field by field, by [`Compare`](crate::Compare).
    pub fn compared_by_fields(self) -> ReadCall<'m, K, O, N, ByFields, L> {
        self.with(ByFields)
    }

    /// Compares the answers by a function of old and new, which says whether they are the same.
    pub fn compared_by<F, T>(self, is_same: F) -> ReadCall<'m, K, O, N, By<F>, L>
    where
        F: Fn(&T, &T) -> bool + Send + Sync + 'static,
    {
        self.with(By(is_same))
    }

    /// Never compares. Then [`run_once`](ReadCall::run_once) takes closures that borrow, and answers that cannot be
    /// cloned.
    pub fn uncompared(self) -> ReadCall<'m, K, O, N, Uncompared, L> {
        let mut call = self.with(Uncompared);
        call.method = call.method.sample(0);
        call
    }

    /// Copies the key that the new side misses, and asks again; the answer says whether it misses it, by
    /// [`MaybeMissing`](crate::call::MaybeMissing). For migrations that are registered as lazy.
    pub fn lazy(self) -> ReadCall<'m, K, O, N, C, Lazy> {
        let Self { shared, method, key, old, new, compare, .. } = self;
        ReadCall { shared, method: method.lazy(), key, old, new, compare, lazy: PhantomData }
    }

    /// Compares this share of the calls; else that of the migration.
    pub fn sample(self, share: Percent) -> Self {
        Self { method: self.method.sample(share.basis_points()), ..self }
    }

    /// The limit on a comparison; else that of the migration.
    pub fn timeout(self, limit: Duration) -> Self {
        Self { method: self.method.timeout(limit), ..self }
    }

    fn repository(&self) -> Result<Repository, Error> {
        Repository::of_one(self.shared, REPOSITORY, self.method, Form::Separate)
    }
}

fn begin<'r, K: Key + ?Sized>(
    repository: &'r Repository,
    key: Option<&K>,
) -> Result<Read<'r>, Error> {
    match key {
        Some(key) => route::read(repository, 0, key),
        None => route::scan(repository, 0),
    }
}

impl<K: Key + ?Sized, O, N, C, L> ReadCall<'_, K, O, N, C, L> {
    /// Asks the side that answers.
    ///
    /// # Errors
    /// The answer's; ours as that: `StageUnknown` past the lease, `WrongKey` for a key of another type than the
    /// migration's.
    pub async fn run<T, E, FO, FN>(self) -> Result<T, E>
    where
        O: Fn() -> FO + Send + Sync + 'static,
        N: Fn() -> FN + Send + Sync + 'static,
        FO: Future<Output = Result<T, E>> + Send,
        FN: Future<Output = Result<T, E>> + Send,
        T: Answered,
        E: Failure + Display + Send + 'static,
        C: Comparer<T>,
        L: Copying<T>,
    {
        let repository = self.repository().map_err(failure)?;
        let mut call = begin(&repository, self.key).map_err(failure)?;
        let is_kept = call.kept(|| ());
        let (old, new, compare) = (self.old, self.new, self.compare);
        let answer = match call.side() {
            Side::Old => call.ask(pin!(async { old().await })).await,
            Side::New => call.ask(pin!(async { new().await })).await,
        };
        let again = is_kept.map(|()| {
            let sides = Arc::new((old, new));
            move |side| {
                let sides = Arc::clone(&sides);
                async move {
                    match side {
                        Side::Old => (sides.0)().await,
                        Side::New => (sides.1)().await,
                    }
                }
            }
        });
        if L::wants_copy(&call, &answer) {
            return copy_and_ask(call, answer, again, failure).await;
        }
        finish_read(
            &mut call,
            answer,
            again,
            move |pair: Pair<'_, T, T>, at: &mut Comparison<'_>| compare.compare(pair, at),
            |error: &E| (&&Failed(error)).fingerprint(),
            failure,
        )
    }
}

impl<K: Key + ?Sized, O, N> ReadCall<'_, K, O, N, Uncompared, Eager> {
    /// Asks the side that answers, by closures that may borrow; each is called once or not at all.
    ///
    /// # Errors
    /// As [`ReadCall::run`].
    pub async fn run_once<T, E, FO, FN>(self) -> Result<T, E>
    where
        O: FnOnce() -> FO,
        N: FnOnce() -> FN,
        FO: Future<Output = Result<T, E>>,
        FN: Future<Output = Result<T, E>>,
        E: Failure,
    {
        let repository = self.repository().map_err(failure)?;
        let mut call = begin(&repository, self.key).map_err(failure)?;
        let answer = match call.side() {
            Side::Old => call.ask(pin!(async { (self.old)().await })).await,
            Side::New => call.ask(pin!(async { (self.new)().await })).await,
        };
        finish_plain(&mut call, answer, failure)
    }
}
