//! A [`MigrationTest`] as its user describes it.

use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;

use crate::error::BoxError;
use crate::migration::Migration;
use crate::stages::stage::Stage;
use crate::testing::samples::{NumberedKey, SampleValues};

/// The environment variable that sets the seed of every [`MigrationTest`] which has none of its own.
pub const SEED_VARIABLE: &str = "DUALWRITE_TEST_SEED";
const SEED: u64 = 2026;
/// How many keys there are beside one for each value.
const KEYS_BESIDE: usize = 6;
const KEYS_MAX: usize = 30;

pub(super) type Call<'a, T> = LocalBoxFuture<'a, Result<T, BoxError>>;
type OnKey<'a, K, T> = Box<dyn Fn(K) -> Call<'a, T> + 'a>;
type WriteRow<'a, K, V> = Box<dyn Fn(K, V) -> Call<'a, ()> + 'a>;
type ListRows<'a, K, V> = Box<dyn Fn() -> Call<'a, Vec<(K, V)>> + 'a>;

/// A test of a whole migration: yours, with your wrapper or closures, your copy function and your tables.
///
/// It takes the migration from `Off` to `Complete` and back to `Off`, and on the way twice back to `Off` and once from
/// `Live` to `Shadow`. In each stage it inserts, overwrites, changes and deletes rows through your calls, also beside
/// the backfill, and makes calls of both sides fail, hang, panic and lose their answer. After each operation it
/// compares what the sides hold with what was written. Values are drawn in an order that the seed decides.
///
/// What a side holds is listed by [`old_rows`](Self::old_rows) and [`new_rows`](Self::new_rows), each in the form in
/// which [`write`](Self::write) takes it; so the test does not rely on the comparisons that it tests. The database must
/// be one for this test, the migration at `Off`; rows that the old side has already are kept.
///
/// Await it in the test itself: its future cannot be sent to another thread.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use dualwrite::testing::MigrationTest;
/// use dualwrite::{BoxError, copy::KeySource, CopySql, Mapping, Runtime};
/// use sqlx::SqlitePool;
/// # struct Emails;
/// # impl Emails {
/// #     fn new(_: &dualwrite::Migration, _: SqlitePool) -> Self { Self }
/// #     async fn save(&self, _: i64, _: Option<String>) -> sqlx::Result<()> { Ok(()) }
/// #     async fn remove(&self, _: i64) -> sqlx::Result<()> { Ok(()) }
/// #     async fn find(&self, _: i64) -> sqlx::Result<Option<Option<String>>> { Ok(None) }
/// # }
/// # fn copy() -> CopySql<sqlx::Sqlite, i64> { CopySql::new(KeySource::table("customer").column("id")) }
///
/// async fn emails_move(pool: SqlitePool) -> Result<(), BoxError> {
///     let runtime = Runtime::builder(pool.clone()).start().await?;
///     let migration = runtime.migration("emails").backfill(copy()).register().await?;
///     let emails = Emails::new(&migration, pool.clone()); // your service
///     MigrationTest::new(&migration)
///         .write(async |id: i64, email: Option<String>| emails.save(id, email).await)
///         .delete(async |id| emails.remove(id).await)
///         .read(async |id| emails.find(id).await)
///         .old_rows(async || sqlx::query_as("SELECT id, email FROM customer").fetch_all(&pool).await)
///         .new_rows(async || sqlx::query_as("SELECT id, address FROM email").fetch_all(&pool).await)
///         .spoil_new(async |id: i64| {
///             let sql = "UPDATE email SET address = 'spoilt' WHERE id = ?";
///             sqlx::query(sql).bind(id).execute(&pool).await.map(drop)
///         })
///         .run()
///         .await;
///     Ok(runtime.shutdown().await?)
/// }
/// # }
/// ```
#[must_use = "it runs when `run` is awaited"]
pub struct MigrationTest<'a, K, V> {
    pub(super) migration: Migration,
    pub(super) keys: Vec<K>,
    pub(super) values: Vec<V>,
    pub(super) seed: u64,
    pub(super) until: Stage,
    pub(super) write: Option<WriteRow<'a, K, V>>,
    pub(super) delete: Option<OnKey<'a, K, ()>>,
    pub(super) changes: Vec<Change<'a, K, V>>,
    pub(super) read: Option<OnKey<'a, K, Option<V>>>,
    pub(super) old_rows: Option<ListRows<'a, K, V>>,
    pub(super) new_rows: Option<ListRows<'a, K, V>>,
    pub(super) spoil_new: Option<OnKey<'a, K, ()>>,
}

/// An operation of the service that changes a row.
pub(super) struct Change<'a, K, V> {
    pub(super) name: &'static str,
    pub(super) effect: Box<dyn Fn(V) -> V + 'a>,
    pub(super) run: OnKey<'a, K, ()>,
}

impl<K, V> fmt::Debug for MigrationTest<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MigrationTest")
            .field("migration", &self.migration)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

fn seed() -> u64 {
    std::env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED)
}

fn on_key<'a, K: 'a, T, E: Into<BoxError>>(
    call: impl AsyncFn(K) -> Result<T, E> + 'a,
) -> OnKey<'a, K, T> {
    let call = Rc::new(call);
    Box::new(move |key| {
        let call = Rc::clone(&call);
        Box::pin(async move { call(key).await.map_err(Into::into) })
    })
}

fn listing<'a, K: 'a, V: 'a, E: Into<BoxError>>(
    list: impl AsyncFn() -> Result<Vec<(K, V)>, E> + 'a,
) -> ListRows<'a, K, V> {
    let list = Rc::new(list);
    Box::new(move || {
        let list = Rc::clone(&list);
        Box::pin(async move { list().await.map_err(Into::into) })
    })
}

impl<'a, K: NumberedKey + 'a, V: SampleValues + Clone + PartialEq + fmt::Debug + 'a>
    MigrationTest<'a, K, V>
{
    /// A test with keys and values that the library knows for these types. The types follow from
    /// [`write`](Self::write).
    pub fn new(migration: &Migration) -> Self {
        let values = V::samples();
        let many = (values.len() + KEYS_BESIDE).min(KEYS_MAX);
        let keys = (1..).take(many).map(K::numbered);
        Self::over(migration, keys, values)
    }
}

impl<'a, K: Ord + Clone + fmt::Debug + 'a, V: Clone + PartialEq + fmt::Debug + 'a>
    MigrationTest<'a, K, V>
{
    /// A test with these keys and values: at least six keys and two values, each of which the old side takes as it is.
    /// Have values among them that a conversion may lose: NULL, empty, the longest, the largest.
    pub fn over(
        migration: &Migration,
        keys: impl IntoIterator<Item = K>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        let keys: BTreeSet<K> = keys.into_iter().collect();
        Self {
            migration: migration.clone(),
            keys: keys.into_iter().collect(),
            values: values.into_iter().collect(),
            seed: seed(),
            until: Stage::Complete,
            write: None,
            delete: None,
            changes: Vec::new(),
            read: None,
            old_rows: None,
            new_rows: None,
            spoil_new: None,
        }
    }

    /// These values in place of those that the library knows; see [`over`](Self::over).
    pub fn values(mut self, values: impl IntoIterator<Item = V>) -> Self {
        self.values = values.into_iter().collect();
        self
    }

    /// Inserts a row, or overwrites it, as the service does: begins a transaction of the migration, calls the wrapper,
    /// commits, and answers with the first error. Needed.
    pub fn write<E: Into<BoxError>>(
        mut self,
        write: impl AsyncFn(K, V) -> Result<(), E> + 'a,
    ) -> Self {
        let write = Rc::new(write);
        self.write = Some(Box::new(move |key, value| {
            let write = Rc::clone(&write);
            Box::pin(async move { write(key, value).await.map_err(Into::into) })
        }));
        self
    }

    /// Deletes a row as the service does. Without it nothing is deleted.
    pub fn delete<E: Into<BoxError>>(
        mut self,
        delete: impl AsyncFn(K) -> Result<(), E> + 'a,
    ) -> Self {
        self.delete = Some(on_key(delete));
        self
    }

    /// Another operation of the service that changes a row which is there, such as a counter that is raised, and what
    /// it makes of the row. It may be given several times.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// # use dualwrite::testing::MigrationTest;
    /// # use dualwrite::Migration;
    /// # async fn visit(id: i64) -> sqlx::Result<()> { Ok(()) }
    /// fn with_visits(migration: &Migration) -> MigrationTest<'_, i64, (String, i64)> {
    ///     MigrationTest::new(migration).change("visit", |(name, visits)| (name, visits + 1), visit)
    /// }
    /// # }
    /// ```
    pub fn change<E: Into<BoxError>>(
        mut self,
        name: &'static str,
        effect: impl Fn(V) -> V + 'a,
        run: impl AsyncFn(K) -> Result<(), E> + 'a,
    ) -> Self {
        self.changes.push(Change { name, effect: Box::new(effect), run: on_key(run) });
        self
    }

    /// Reads a row as the service does. Without it neither reads nor shadow comparisons are tested.
    pub fn read<E: Into<BoxError>>(
        mut self,
        read: impl AsyncFn(K) -> Result<Option<V>, E> + 'a,
    ) -> Self {
        self.read = Some(on_key(read));
        self
    }

    /// Lists the rows of the old side, past the library. Needed.
    pub fn old_rows<E: Into<BoxError>>(
        mut self,
        rows: impl AsyncFn() -> Result<Vec<(K, V)>, E> + 'a,
    ) -> Self {
        self.old_rows = Some(listing(rows));
        self
    }

    /// Lists the rows of the new side, past the library, converted to the values that were written. Rows that are not
    /// copied yet, such as those whose new column is NULL in a migration within one table, may be listed as long as
    /// the backfill has not ended. Needed.
    pub fn new_rows<E: Into<BoxError>>(
        mut self,
        rows: impl AsyncFn() -> Result<Vec<(K, V)>, E> + 'a,
    ) -> Self {
        self.new_rows = Some(listing(rows));
        self
    }

    /// Makes the row of a key differ on the new side, past the library: in a column that is migrated, to a value that
    /// no sample has. Verification and shadow comparison must then see it. Without it the test does not find a
    /// comparison that compares a column with itself.
    pub fn spoil_new<E: Into<BoxError>>(
        mut self,
        spoil: impl AsyncFn(K) -> Result<(), E> + 'a,
    ) -> Self {
        self.spoil_new = Some(on_key(spoil));
        self
    }

    /// The seed of the operations: that of a report, to run the same ones again. By default it is fixed, or that in
    /// the environment ([`SEED_VARIABLE`]).
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The last stage that is tested, where a gate keeps this database from going further; `Complete` by default.
    pub fn until(mut self, stage: Stage) -> Self {
        self.until = stage;
        self
    }
}
