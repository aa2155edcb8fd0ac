//! A small service to try things on: notes `(id, word)`, in a table of their own on each side, and sides
//! that fail, panic or hang when told to.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::SeqCst};

use dualwrite::{
    Backend, BoxError, Copied, CopyBack, CopyKeys, Migration, Registration, Runtime, Stage, Tx,
    copy::{BothWays, KeySource},
};
use tokio::sync::Notify;

use super::db::Scratch;
use super::hook::Hook;
use super::sql::Sql;

/// Rows `(id, word)` in a table of their own on each side.
#[dualwrite::repository]
pub(crate) trait Notes<DB: Backend> {
    #[read(key = id, lazy)]
    async fn find(&self, id: i64) -> Result<Option<String>, sqlx::Error>;
    #[write(key = id)]
    async fn save(&self, tx: &mut Tx<'_, DB>, id: i64, word: &str) -> Result<(), sqlx::Error>;
    #[write(key = id)]
    async fn remove(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<(), sqlx::Error>;
}

pub(crate) const WORKS: u8 = 0;
pub(crate) const FAILS: u8 = 1;
pub(crate) const PANICS: u8 = 2;
pub(crate) const HANGS: u8 = 3;

/// One side, and what it does to writes.
pub(crate) struct Store<D: Sql> {
    pub(crate) table: &'static str,
    pub(crate) pool: sqlx::Pool<D::Db>,
    pub(crate) mood: Arc<AtomicU8>,
    pub(crate) hanging: Arc<Notify>,
    /// Before a read.
    pub(crate) reading: Hook,
    /// Before a row is removed.
    pub(crate) removing: Hook,
}

impl<D: Sql> Notes<D::Db> for Store<D> {
    async fn find(&self, id: i64) -> Result<Option<String>, sqlx::Error> {
        self.reading.pass().await;
        let sql = format!("SELECT word FROM {} WHERE id = {id}", self.table);
        Ok(D::rows(&self.pool, &sql).await?.pop().and_then(|mut row| row.pop().flatten()))
    }

    async fn save(&self, tx: &mut Tx<'_, D::Db>, id: i64, word: &str) -> Result<(), sqlx::Error> {
        let table = self.table;
        D::run(tx, &format!("DELETE FROM {table} WHERE id = {id}")).await?;
        match self.mood.load(SeqCst) {
            FAILS => {
                D::run(tx, &format!("INSERT INTO {table} (id, word) VALUES ({id}, NULL)")).await?
            }
            PANICS => panic!("a bug in the {table} side"),
            HANGS => {
                self.hanging.notify_one();
                std::future::pending().await
            }
            _ => {
                D::run(tx, &format!("INSERT INTO {table} (id, word) VALUES ({id}, '{word}')"))
                    .await?
            }
        };
        Ok(())
    }

    async fn remove(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> Result<(), sqlx::Error> {
        self.removing.pass().await;
        D::run(tx, &format!("DELETE FROM {} WHERE id = {id}", self.table)).await.map(drop)
    }
}

/// The copy function. Refuses the word `poison`, and counts its calls.
pub(crate) struct CopyNotes<D: Sql> {
    pub(crate) calls: Arc<AtomicU64>,
    /// Between what it reads and what it writes.
    pub(crate) between: Hook,
    /// The same on the way back, and before it reads.
    pub(crate) back: Hook,
    pub(crate) before_back: Hook,
    database: PhantomData<D>,
}

impl<D: Sql> CopyNotes<D> {
    pub(crate) fn new() -> Self {
        Self {
            calls: Arc::default(),
            between: Hook::default(),
            back: Hook::default(),
            before_back: Hook::default(),
            database: PhantomData,
        }
    }

    /// With a way back.
    pub(crate) fn both_ways() -> BothWays<Self> {
        BothWays(Self::new())
    }
}

impl<D: Sql> CopyKeys for CopyNotes<D> {
    type Database = D::Db;
    type Key = i64;

    fn source(&self) -> KeySource {
        KeySource::table("old_note").column("id")
    }

    fn new_source(&self) -> Option<KeySource> {
        Some(KeySource::table("new_note").column("id"))
    }

    async fn copy(&self, tx: &mut Tx<'_, D::Db>, keys: &[i64]) -> Result<Copied, BoxError> {
        self.calls.fetch_add(1, SeqCst);
        let mut copied = Copied::default();
        for id in keys {
            let sql = format!("SELECT word FROM old_note WHERE id = {id}");
            let word = D::texts(tx, &sql).await?.pop();
            if word.as_deref() == Some("poison") {
                return Err(format!("note {id} cannot be copied").into());
            }
            // What a copy that goes through Rust has in hand is stale where nothing locks it.
            self.between.pass().await;
            D::run(tx, &format!("DELETE FROM new_note WHERE id = {id}")).await?;
            match word {
                Some(word) => {
                    let sql = format!("INSERT INTO new_note (id, word) VALUES ({id}, '{word}')");
                    copied.migrated += D::run(tx, &sql).await?;
                }
                None => copied.skipped += 1,
            }
        }
        Ok(copied)
    }

    async fn differing(&self, tx: &mut Tx<'_, D::Db>, keys: &[i64]) -> Result<Vec<i64>, BoxError> {
        let mut differing = Vec::new();
        for id in keys {
            let word = |table| format!("SELECT word FROM {table} WHERE id = {id}");
            let (old, new) = (word("old_note"), word("new_note"));
            if D::texts(tx, &old).await? != D::texts(tx, &new).await? {
                differing.push(*id);
            }
        }
        Ok(differing)
    }
}

/// With or without the way back.
pub(crate) trait OfNotes<D: Sql>: CopyKeys<Database = D::Db, Key = i64> {
    fn notes(&self) -> &CopyNotes<D>;
}

impl<D: Sql> OfNotes<D> for CopyNotes<D> {
    fn notes(&self) -> &CopyNotes<D> {
        self
    }
}

impl<D: Sql> OfNotes<D> for BothWays<CopyNotes<D>> {
    fn notes(&self) -> &CopyNotes<D> {
        &self.0
    }
}

impl<D: Sql> CopyBack for CopyNotes<D> {
    async fn copy_back(&self, tx: &mut Tx<'_, D::Db>, keys: &[i64]) -> Result<Copied, BoxError> {
        let mut copied = Copied::default();
        for id in keys {
            self.before_back.pass().await;
            let sql = format!("SELECT word FROM new_note WHERE id = {id}");
            let word = D::texts(tx, &sql).await?.pop();
            self.back.pass().await;
            D::run(tx, &format!("DELETE FROM old_note WHERE id = {id}")).await?;
            if let Some(word) = word {
                let sql = format!("INSERT INTO old_note (id, word) VALUES ({id}, '{word}')");
                copied.migrated += D::run(tx, &sql).await?;
            }
        }
        Ok(copied)
    }
}

/// Registers without any option.
pub(crate) fn plain<DB: Backend>(registration: Registration<'_, DB>) -> Registration<'_, DB> {
    registration
}

/// Registers a lazy migration.
pub(crate) fn lazy<DB: Backend>(registration: Registration<'_, DB>) -> Registration<'_, DB> {
    registration.lazy()
}

/// One instance of the service, with its database.
pub(crate) struct World<D: Sql> {
    pub(crate) db: Scratch<D>,
    pub(crate) runtime: Runtime<D::Db>,
    pub(crate) migration: Migration,
    pub(crate) notes: DualNotes<Store<D>, Store<D>>,
    pub(crate) old_mood: Arc<AtomicU8>,
    pub(crate) new_mood: Arc<AtomicU8>,
    pub(crate) hanging: Arc<Notify>,
    pub(crate) copies: Arc<AtomicU64>,
    /// In the copy function, between what it reads and what it writes.
    pub(crate) copying: Hook,
    /// Before a read of either side.
    pub(crate) reading: Hook,
    /// Before a row is removed from new.
    pub(crate) removing: Hook,
}

impl<D: Sql> World<D> {
    /// A lazy migration in a stage, with empty tables.
    pub(crate) async fn at(stage: Stage, db: Scratch<D>) -> Self {
        Self::with(db, stage, 0, lazy).await
    }

    /// A migration registered as wanted, with as many rows in old before it begins.
    pub(crate) async fn with(
        db: Scratch<D>,
        stage: Stage,
        rows: u32,
        options: fn(Registration<'_, D::Db>) -> Registration<'_, D::Db>,
    ) -> Self {
        Self::copying(db, stage, rows, options, CopyNotes::new()).await
    }

    /// The same with this copy function.
    pub(crate) async fn copying(
        db: Scratch<D>,
        stage: Stage,
        rows: u32,
        options: fn(Registration<'_, D::Db>) -> Registration<'_, D::Db>,
        copy: impl OfNotes<D>,
    ) -> Self {
        let notes = copy.notes();
        let (copies, copying) = (Arc::clone(&notes.calls), notes.between.clone());
        let world = Self::copying_by(db, stage, rows, options, copy).await;
        Self { copies, copying, ..world }
    }

    /// The same with any copy function, whose calls are not counted.
    pub(crate) async fn copying_by(
        db: Scratch<D>,
        stage: Stage,
        rows: u32,
        options: fn(Registration<'_, D::Db>) -> Registration<'_, D::Db>,
        copy: impl CopyKeys<Database = D::Db, Key = i64>,
    ) -> Self {
        db.execute(
            "CREATE TABLE old_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL);
             CREATE TABLE new_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL)",
        )
        .await;
        for id in 1..=rows {
            db.execute(&format!("INSERT INTO old_note (id, word) VALUES ({id}, 'word {id}')"))
                .await;
        }
        let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
        let (reading, removing) = (Hook::default(), Hook::default());
        let registration = options(runtime.migration("notes").backfill(copy));
        let migration = registration.register().await.unwrap();
        while migration.position().stage < stage {
            let next = migration.position().stage.next().unwrap();
            migration.advance(next).await.unwrap();
        }
        let (old_mood, new_mood) = (Arc::<AtomicU8>::default(), Arc::<AtomicU8>::default());
        let hanging = Arc::<Notify>::default();
        let store = |table, mood: &Arc<AtomicU8>, removing| Store {
            table,
            pool: db.pool().clone(),
            mood: Arc::clone(mood),
            hanging: Arc::clone(&hanging),
            reading: reading.clone(),
            removing,
        };
        let old = store("old_note", &old_mood, Hook::default());
        let new = store("new_note", &new_mood, removing.clone());
        let notes = DualNotes::new(&migration, old, new);
        Self {
            db,
            runtime,
            migration,
            notes,
            old_mood,
            new_mood,
            hanging,
            copies: Arc::default(),
            copying: Hook::default(),
            reading,
            removing,
        }
    }

    /// Saves one note in a transaction of its own.
    pub(crate) async fn save(&self, id: i64, word: &str) {
        let mut tx = self.begin().await;
        self.notes.save(&mut tx, id, word).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn begin(&self) -> Tx<'static, D::Db> {
        self.migration.begin(self.db.pool()).await.unwrap()
    }

    /// The words of old and of new.
    pub(crate) async fn words(&self) -> [Vec<String>; 2] {
        let mut sides = Vec::new();
        for table in ["old_note", "new_note"] {
            let rows = self.db.rows(&format!("SELECT word FROM {table} ORDER BY id")).await;
            sides.push(rows.into_iter().flatten().flatten().collect::<Vec<_>>());
        }
        sides.try_into().unwrap()
    }
}
