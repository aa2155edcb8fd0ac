//! A side in memory, for tests.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Error;
use crate::stages::stage::Side;
use crate::state::faults::FaultPlan;

/// A keyed store in memory, usable as the old or the new side of reads and writes by closures or of a repository.
/// Clones are one store. A value that may be NULL is an `Option`.
///
/// Every change raises the version of its key, and a delete leaves its version behind: [`apply`](Self::apply) never
/// brings an older state over a newer one, nor a deleted row back. It takes no part in transactions: what a rolled
/// back transaction has put here stays.
///
/// ```
/// use dualwrite::testing::{MemorySide, TestMigration};
/// use dualwrite::{Percent, Side, Stage};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let (old, new) = (MemorySide::new(Side::Old), MemorySide::new(Side::New));
/// old.put(1_i64, Some("ada@example.com")).await?;
/// new.put(1, None).await?; // a difference, as a copy that loses NULL's opposite
///
/// let test = TestMigration::new("customer-email").await?;
/// test.put(Stage::Shadow, Percent::ZERO)?;
/// let asking = |side: &MemorySide<i64, Option<&'static str>>| {
///     let side = side.clone();
///     move || {
///         let side = side.clone();
///         async move { side.get(&1).await }
///     }
/// };
/// let read = test.migration().read("email", &1_i64).old(asking(&old)).new(asking(&new));
/// assert_eq!(read.run().await?, Some(Some("ada@example.com")));
/// test.migration().settle().await?;
/// assert_eq!(test.migration().status().await?.counters.shadow_different, 1);
/// # Ok::<(), dualwrite::Error>(()) }).unwrap();
/// ```
pub struct MemorySide<K, V> {
    side: Side,
    rows: Arc<Mutex<BTreeMap<K, Row<V>>>>,
    faults: FaultPlan,
}

struct Row<V> {
    version: u64,
    /// `None` after a delete.
    value: Option<V>,
}

impl<K, V> Clone for MemorySide<K, V> {
    fn clone(&self) -> Self {
        let (rows, faults) = (Arc::clone(&self.rows), self.faults.clone());
        Self { side: self.side, rows, faults }
    }
}

impl<K, V> fmt::Debug for MemorySide<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySide").field("side", &self.side).finish_non_exhaustive()
    }
}

impl<K: Ord + Clone, V: Clone> MemorySide<K, V> {
    /// An empty store.
    #[must_use]
    pub fn new(side: Side) -> Self {
        Self { side, rows: Arc::default(), faults: FaultPlan::new() }
    }

    /// Lets a plan strike its calls, and record them. The operations are `get`, `put`, `delete`, `apply` and `rows`.
    #[must_use]
    pub fn with_faults(mut self, plan: &FaultPlan) -> Self {
        self.faults = plan.clone();
        self
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<K, Row<V>>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call<T>(&self, operation: &str, work: impl FnOnce() -> T) -> Result<T, Error> {
        self.faults.run(self.side, operation, async { Ok(work()) }).await
    }

    /// The value of a key.
    ///
    /// # Errors
    /// Where the plan says so, as of the other operations.
    pub async fn get(&self, key: &K) -> Result<Option<V>, Error> {
        self.call("get", || self.locked().get(key).and_then(|row| row.value.clone())).await
    }

    /// Inserts or overwrites. Answers with the version.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn put(&self, key: K, value: V) -> Result<u64, Error> {
        self.call("put", || {
            let mut rows = self.locked();
            let row = rows.entry(key).or_insert(Row { version: 0, value: None });
            row.version += 1;
            row.value = Some(value);
            row.version
        })
        .await
    }

    /// Deletes. Answers whether there was a value.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn delete(&self, key: &K) -> Result<bool, Error> {
        self.call("delete", || match self.locked().get_mut(key) {
            Some(row) if row.value.is_some() => {
                row.version += 1;
                row.value = None;
                true
            }
            _ => false,
        })
        .await
    }

    /// Takes over the state that a key had at a version, `None` for a delete, unless this store has that version or a
    /// later one. Answers whether it did.
    ///
    /// ```
    /// use dualwrite::Side;
    /// use dualwrite::testing::MemorySide;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let new = MemorySide::new(Side::New);
    /// assert!(new.apply(1_i64, 2, None).await?);
    /// assert!(!new.apply(1, 1, Some("older than the delete")).await?);
    /// assert_eq!((new.get(&1).await?, new.version(&1)), (None, 2));
    /// # Ok::<(), dualwrite::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn apply(&self, key: K, version: u64, value: Option<V>) -> Result<bool, Error> {
        self.call("apply", || {
            let mut rows = self.locked();
            let row = rows.entry(key).or_insert(Row { version: 0, value: None });
            if row.version >= version {
                return false;
            }
            *row = Row { version, value };
            true
        })
        .await
    }

    /// All rows, by key.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn rows(&self) -> Result<Vec<(K, V)>, Error> {
        self.call("rows", || {
            let rows = self.locked();
            let there = rows.iter().filter_map(|(key, row)| Some((key, row.value.as_ref()?)));
            there.map(|(key, value)| (key.clone(), value.clone())).collect()
        })
        .await
    }

    /// How often a key was changed, deletes included; 0 for one that never was.
    #[must_use]
    pub fn version(&self, key: &K) -> u64 {
        self.locked().get(key).map_or(0, |row| row.version)
    }
}
