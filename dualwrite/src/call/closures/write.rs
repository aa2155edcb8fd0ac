//! Writes by closures, inside a fenced transaction.

use std::error::Error as StdError;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::call::closures::{By, ByEquality, ByFields, Comparer, REPOSITORY, Uncompared};
use crate::call::repository::{Form, Method, Repository};
use crate::call::write::begin::{write, write_filter, write_keys};
use crate::call::write::decide::Target;
use crate::call::write::run::Write;
use crate::compare::{Comparison, Pair};
use crate::copier::joined::Joined;
use crate::database::Backend;
use crate::key::Key;
use crate::needs::{Failure, failure};
use crate::stages::columns::Columns;
use crate::stages::route::Operation;
use crate::state::{AnswerPolicy, MirrorPolicy};
use crate::transaction::Tx;

/// What a write names of its records.
pub trait Records {
    /// Plans the write.
    fn begin<'r, DB: Backend, T, E>(
        self,
        repository: &'r Repository,
        tx: &mut Tx<'_, DB>,
    ) -> Write<'r, T, E>;
}

/// The key of one.
#[derive(Debug)]
pub struct One<'k, K: ?Sized>(pub(crate) &'k K);

impl<K: Key + ?Sized> Records for One<'_, K> {
    fn begin<'r, DB: Backend, T, E>(
        self,
        repository: &'r Repository,
        tx: &mut Tx<'_, DB>,
    ) -> Write<'r, T, E> {
        write(repository, 0, tx, self.0)
    }
}

/// The keys of several.
#[derive(Debug)]
pub struct All<I>(pub(crate) I);

impl<I> Records for All<I>
where
    I: IntoIterator,
    I::Item: Key,
{
    fn begin<'r, DB: Backend, T, E>(
        self,
        repository: &'r Repository,
        tx: &mut Tx<'_, DB>,
    ) -> Write<'r, T, E> {
        write_keys(repository, 0, tx, self.0)
    }
}

/// Nothing.
#[derive(Debug)]
pub struct Unnamed;

impl Records for Unnamed {
    fn begin<'r, DB: Backend, T, E>(
        self,
        repository: &'r Repository,
        tx: &mut Tx<'_, DB>,
    ) -> Write<'r, T, E> {
        write_filter(repository, 0, tx)
    }
}

/// The connection of the transaction, for a closure. Dereferences to it.
///
/// `'env` is what the closure may borrow: its future ends before.
#[derive(Debug)]
pub struct InTx<'x, 'env, DB: Backend> {
    conn: &'x mut DB::Connection,
    env: PhantomData<&'x &'env ()>,
}

impl<'x, DB: Backend> InTx<'x, '_, DB> {
    pub(crate) fn of(tx: &'x mut Tx<'_, DB>) -> Self {
        Self::on(&mut *tx)
    }

    /// The connection of a transaction that is no [`Tx`].
    pub(crate) fn on(conn: &'x mut DB::Connection) -> Self {
        Self { conn, env: PhantomData }
    }
}

impl<DB: Backend> Deref for InTx<'_, '_, DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        self.conn
    }
}

impl<DB: Backend> DerefMut for InTx<'_, '_, DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        self.conn
    }
}

/// A write by closures, from [`Migration::write`](crate::Migration::write),
/// [`Migration::write_all`](crate::Migration::write_all) or [`Migration::write_filter`](crate::Migration::write_filter).
///
/// Each closure gets the connection of the transaction. That of the side that answers is called a second time where
/// the mirror failed and the registration says [`MirrorPolicy::Repeat`]; what the first call did in the database is
/// undone before.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use dualwrite::Migration;
/// use sqlx::SqlitePool;
///
/// async fn rename(migration: &Migration, pool: &SqlitePool, id: i64, email: &str) -> sqlx::Result<()> {
///     let mut tx = migration.begin(pool).await?;
///     migration
///         .write("rename", &mut tx, &id)
///         .old(|mut tx| Box::pin(async move {
///             let sql = "UPDATE customer SET email = ? WHERE id = ?";
///             sqlx::query(sql).bind(email).bind(id).execute(&mut *tx).await.map(drop)
///         }))
///         .new(|mut tx| Box::pin(async move {
///             let sql = "UPDATE customer_new SET email_address = ? WHERE id = ?";
///             sqlx::query(sql).bind(email).bind(id).execute(&mut *tx).await.map(drop)
///         }))
///         .run()
///         .await?;
///     Ok(tx.commit().await?)
/// }
/// # }
/// ```
#[must_use = "it is written when `run` is awaited"]
pub struct WriteCall<'m, 'c, DB: Backend, R, O = (), N = (), C = ByEquality> {
    shared: &'m Arc<Joined>,
    method: Method,
    tx: &'m mut Tx<'c, DB>,
    records: R,
    old: O,
    new: N,
    compare: C,
}

impl<'m, 'c, DB: Backend, R: Records> WriteCall<'m, 'c, DB, R> {
    pub(crate) fn begun(
        shared: &'m Arc<Joined>,
        name: &'static str,
        tx: &'m mut Tx<'c, DB>,
        records: R,
    ) -> Self {
        let method = Method::new(name, Operation::Write);
        Self { shared, method, tx, records, old: (), new: (), compare: ByEquality }
    }

    /// Writes columns of one row: the closure says which, and is called for the old ones, for both, or for the new
    /// ones. For a migration between columns of one table, in which two closures would write each row twice.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// use dualwrite::{Migration, Side, Tx};
    ///
    /// async fn rename(
    ///     migration: &Migration,
    ///     tx: &mut Tx<'_, sqlx::Sqlite>,
    ///     id: i64,
    ///     email: &str,
    /// ) -> sqlx::Result<()> {
    ///     let write = migration.write("rename", tx, &id).columns(|columns, mut tx| Box::pin(async move {
    ///         let sql = match (columns.write(Side::Old), columns.write(Side::New)) {
    ///             (true, true) => "UPDATE customer SET email = ?1, email_address = ?1 WHERE id = ?2",
    ///             (true, false) => "UPDATE customer SET email = ?1 WHERE id = ?2",
    ///             (false, _) => "UPDATE customer SET email_address = ?1 WHERE id = ?2",
    ///         };
    ///         sqlx::query(sql).bind(email).bind(id).execute(&mut *tx).await.map(drop)
    ///     }));
    ///     write.run().await
    /// }
    /// # }
    /// ```
    pub fn columns<'env, F, T, E>(self, by_columns: F) -> ColumnsCall<'m, 'c, DB, R, F>
    where
        F: for<'x> FnMut(Columns, InTx<'x, 'env, DB>) -> BoxFuture<'x, Result<T, E>>,
    {
        ColumnsCall { call: self, by_columns }
    }
}

impl<'m, 'c, DB: Backend, R, O, N, C> WriteCall<'m, 'c, DB, R, O, N, C> {
    /// Writes the old side.
    pub fn old<'env, F, T, E>(self, old: F) -> WriteCall<'m, 'c, DB, R, F, N, C>
    where
        F: for<'x> FnMut(InTx<'x, 'env, DB>) -> BoxFuture<'x, Result<T, E>>,
    {
        let Self { shared, method, tx, records, new, compare, .. } = self;
        WriteCall { shared, method, tx, records, old, new, compare }
    }

    /// Writes the new side.
    pub fn new<'env, F, T, E>(self, new: F) -> WriteCall<'m, 'c, DB, R, O, F, C>
    where
        F: for<'x> FnMut(InTx<'x, 'env, DB>) -> BoxFuture<'x, Result<T, E>>,
    {
        let Self { shared, method, tx, records, old, compare, .. } = self;
        WriteCall { shared, method, tx, records, old, new, compare }
    }

    fn with<D>(self, compare: D) -> WriteCall<'m, 'c, DB, R, O, N, D> {
        let Self { shared, method, tx, records, old, new, .. } = self;
        WriteCall { shared, method, tx, records, old, new, compare }
    }

    /// Compares the answers field by field, by [`Compare`](crate::Compare).
    pub fn compared_by_fields(self) -> WriteCall<'m, 'c, DB, R, O, N, ByFields> {
        self.with(ByFields)
    }

    /// Compares the answers by a function of old and new, which says whether they are the same.
    pub fn compared_by<F, T>(self, is_same: F) -> WriteCall<'m, 'c, DB, R, O, N, By<F>>
    where
        F: Fn(&T, &T) -> bool + Send + Sync + 'static,
    {
        self.with(By(is_same))
    }

    /// Does not compare the answers.
    pub fn uncompared(self) -> WriteCall<'m, 'c, DB, R, O, N, Uncompared> {
        self.with(Uncompared)
    }

    /// What a mirror write that fails does to this one; else what the registration says.
    pub fn on_mirror_error(self, policy: MirrorPolicy) -> Self {
        Self { method: self.method.on_mirror_error(policy), ..self }
    }

    /// What happens where the two sides answer differently; else what the registration says.
    pub fn on_difference(self, policy: AnswerPolicy) -> Self {
        Self { method: self.method.on_difference(policy), ..self }
    }

    /// The limit on the mirror write; else that of the registration.
    pub fn mirror_timeout(self, limit: Duration) -> Self {
        Self { method: self.method.timeout(limit), ..self }
    }

    /// The limit on the write of the side that answers; else that of the registration.
    pub fn primary_timeout(self, limit: Duration) -> Self {
        Self { method: self.method.primary_timeout(limit), ..self }
    }
}

impl<'c, DB: Backend, R: Records, O, N, C> WriteCall<'_, 'c, DB, R, O, N, C> {
    /// Writes one side, or both.
    ///
    /// # Errors
    /// That of the side that answers; ours as that: `NotPinned` where the transaction was not begun for this
    /// migration, `WrongKey`, `Unsupported` where old and new are columns of one row, `MirrorFailed` where the mirror
    /// must not fail. The transaction can then only be rolled back.
    pub async fn run<'env, T, E>(mut self) -> Result<T, E>
    where
        O: for<'x> FnMut(InTx<'x, 'env, DB>) -> BoxFuture<'x, Result<T, E>>,
        N: for<'x> FnMut(InTx<'x, 'env, DB>) -> BoxFuture<'x, Result<T, E>>,
        E: Failure + StdError + 'static,
        C: Comparer<T>,
    {
        let repository = Repository::of_one(self.shared, REPOSITORY, self.method, Form::Separate);
        let repository = repository.map_err(failure)?;
        let (tx, compare) = (self.tx, self.compare);
        let mut write: Write<'_, T, E> = self.records.begin(&repository, tx);
        while let Some(target) = write.next(tx).await {
            let answer = match target {
                Target::Old => write.run((self.old)(InTx::of(tx))).await,
                Target::New | Target::Both(_) => write.run((self.new)(InTx::of(tx))).await,
            };
            write.leave_by(tx, answer, |pair| differ(&compare, pair), |error| Some(error)).await;
        }
        write.finish()
    }
}

/// A write of columns of one row, from [`WriteCall::columns`].
#[must_use = "it is written when `run` is awaited"]
pub struct ColumnsCall<'m, 'c, DB: Backend, R, F> {
    call: WriteCall<'m, 'c, DB, R>,
    by_columns: F,
}

impl<'c, DB: Backend, R: Records, F> ColumnsCall<'_, 'c, DB, R, F> {
    /// Writes the row once, or a second time in the old columns alone where the new ones were refused.
    ///
    /// # Errors
    /// As [`WriteCall::run`]; `Unsupported` where old and new are two tables.
    pub async fn run<'env, T, E>(mut self) -> Result<T, E>
    where
        F: for<'x> FnMut(Columns, InTx<'x, 'env, DB>) -> BoxFuture<'x, Result<T, E>>,
        T: PartialEq,
        E: Failure + StdError + 'static,
    {
        let WriteCall { shared, method, tx, records, compare, .. } = self.call;
        let repository = Repository::of_one(shared, REPOSITORY, method, Form::OneRow);
        let repository = repository.map_err(failure)?;
        let mut write: Write<'_, T, E> = records.begin(&repository, tx);
        while let Some(target) = write.next(tx).await {
            let columns = match target {
                Target::Old => Columns::Old,
                Target::New => Columns::New,
                Target::Both(side) => Columns::Both(side),
            };
            let answer = write.run((self.by_columns)(columns, InTx::of(tx))).await;
            write.leave_by(tx, answer, |pair| differ(&compare, pair), |error| Some(error)).await;
        }
        write.finish()
    }
}

fn differ<T>(compare: &impl Comparer<T>, pair: Pair<'_, T, T>) -> bool {
    pair.differ(|pair, at: &mut Comparison<'_>| compare.compare(pair, at))
}
