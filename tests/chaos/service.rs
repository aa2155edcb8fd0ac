//! The service: two migrations, each of a table into another one with other names, and the ledger that tells the
//! oracle what was committed.

use std::marker::PhantomData;
use std::time::Duration;

use dualwrite::{
    Backend, BoxError, Copied, CopyBack, CopyKeys, Error, Migration, Runtime, Side, Tx,
    copy::KeySource,
};
use sqlx::Pool;

use crate::support::db::{Rows, TestDb};
use crate::support::sql::Sql;

pub(crate) const MIGRATIONS: [&str; 2] = ["notes", "cards"];

/// Keys whose versions are drawn under a lock. Even ones are there at the beginning.
pub(crate) const VERSIONED: std::ops::RangeInclusive<i64> = 1..=10;
/// Keys that are counted up by `n = n + 1`, and never deleted.
pub(crate) const COUNTED: std::ops::RangeInclusive<i64> = 101..=103;
/// Keys that only those write who do not know the library.
pub(crate) const FOREIGN: std::ops::RangeInclusive<i64> = 201..=206;
/// Keys that nobody writes.
pub(crate) const STILL: std::ops::RangeInclusive<i64> = 1_001..=1_040;

/// `drawn` holds the last version of each key, which outlives its deletion. `applied` gets a row for each key of
/// each write, in its transaction: what is in there was committed. `hot` is there to make transactions fail.
pub(crate) const TABLES: &str = "\
    CREATE TABLE notes (id BIGINT PRIMARY KEY, version BIGINT NOT NULL, word VARCHAR(60) NOT NULL, n BIGINT NOT NULL);
    CREATE TABLE notes_new \
        (id BIGINT PRIMARY KEY, edition BIGINT NOT NULL, label VARCHAR(60) NOT NULL, hits BIGINT NOT NULL);
    CREATE TABLE cards (id BIGINT PRIMARY KEY, version BIGINT NOT NULL, word VARCHAR(60) NOT NULL, n BIGINT NOT NULL);
    CREATE TABLE cards_new \
        (id BIGINT PRIMARY KEY, edition BIGINT NOT NULL, label VARCHAR(60) NOT NULL, hits BIGINT NOT NULL);
    CREATE TABLE drawn \
        (migration VARCHAR(10) NOT NULL, id BIGINT NOT NULL, version BIGINT NOT NULL, PRIMARY KEY (migration, id));
    CREATE TABLE applied (op VARCHAR(40) NOT NULL, migration VARCHAR(10) NOT NULL, id BIGINT NOT NULL, \
        version BIGINT NOT NULL, word VARCHAR(60), PRIMARY KEY (op, migration, id));
    CREATE TABLE hot (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) id: i64,
    pub(crate) version: i64,
    pub(crate) word: String,
    pub(crate) n: i64,
}

/// The rows at the beginning, in the old tables.
pub(crate) fn first_rows() -> Vec<Note> {
    let versioned = VERSIONED.filter(|id| id % 2 == 0);
    let ids = versioned.chain(COUNTED).chain(FOREIGN).chain(STILL);
    ids.map(|id| Note { id, version: 0, word: first_word(id), n: 0 }).collect()
}

pub(crate) fn first_word(id: i64) -> String {
    format!("first.{id}")
}

#[dualwrite::repository]
pub(crate) trait Notes<DB: Backend> {
    #[read(key = id, lazy)]
    async fn find(&self, id: i64) -> Result<Option<Note>, sqlx::Error>;
    #[read(key = id, lazy)]
    async fn find_in(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<Option<Note>, sqlx::Error>;
    #[write(key = note.id)]
    async fn save(&self, tx: &mut Tx<'_, DB>, note: &Note) -> Result<(), sqlx::Error>;
    #[write(keys = notes.iter().map(|note| note.id))]
    async fn save_all(&self, tx: &mut Tx<'_, DB>, notes: &[Note]) -> Result<(), sqlx::Error>;
    #[write(key = id)]
    async fn remove(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<(), sqlx::Error>;
    #[write(key = id)]
    async fn count(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<(), sqlx::Error>;
}

pub(crate) type Both<D> = DualNotes<Store<D>, Store<D>>;

tokio::task_local! {
    /// The side whose writes fail in this task.
    pub(crate) static FAILING: Side;
}

/// A table and its columns beside the key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    pub(crate) migration: &'static str,
    pub(crate) side: Side,
}

impl Names {
    pub(crate) fn table(self) -> String {
        match self.side {
            Side::Old => self.migration.to_owned(),
            Side::New => format!("{}_new", self.migration),
        }
    }

    pub(crate) fn columns(self) -> [&'static str; 3] {
        match self.side {
            Side::Old => ["version", "word", "n"],
            Side::New => ["edition", "label", "hits"],
        }
    }

    pub(crate) fn select(self) -> String {
        format!("SELECT id, {} FROM {}", self.columns().join(", "), self.table())
    }

    pub(crate) fn upsert<D: TestDb>(self, note: &Note) -> String {
        let Note { id, version, word, n } = note;
        let [v, w, c] = self.columns();
        let insert = format!(
            "INSERT INTO {} (id, {v}, {w}, {c}) VALUES ({id}, {version}, '{word}', {n})",
            self.table()
        );
        match D::NAME {
            "mysql" => format!(
                "{insert} ON DUPLICATE KEY UPDATE {v} = VALUES({v}), {w} = VALUES({w}), {c} = VALUES({c})"
            ),
            _ => format!(
                "{insert} ON CONFLICT (id) DO UPDATE SET {v} = excluded.{v}, {w} = excluded.{w}, {c} = excluded.{c}"
            ),
        }
    }

    pub(crate) fn delete(self, id: i64) -> String {
        format!("DELETE FROM {} WHERE id = {id}", self.table())
    }
}

/// One side.
#[derive(Debug)]
pub(crate) struct Store<D: Sql> {
    names: Names,
    pool: Pool<D::Db>,
}

impl<D: Sql> Store<D> {
    async fn run(&self, tx: &mut Tx<'_, D::Db>, sql: &str) -> Result<(), sqlx::Error> {
        if FAILING.try_with(|failing| *failing == self.names.side).unwrap_or(false) {
            D::run(tx, "DELETE FROM nowhere").await?;
        }
        D::run(tx, sql).await.map(drop)
    }
}

impl<D: Sql> Notes<D::Db> for Store<D> {
    async fn find(&self, id: i64) -> Result<Option<Note>, sqlx::Error> {
        let sql = format!("{} WHERE id = {id}", self.names.select());
        Ok(notes(D::rows(&self.pool, &sql).await?).pop())
    }

    async fn find_in(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> Result<Option<Note>, sqlx::Error> {
        find::<D>(tx, self.names, id).await
    }

    async fn save(&self, tx: &mut Tx<'_, D::Db>, note: &Note) -> Result<(), sqlx::Error> {
        self.run(tx, &self.names.upsert::<D>(note)).await
    }

    async fn save_all(&self, tx: &mut Tx<'_, D::Db>, notes: &[Note]) -> Result<(), sqlx::Error> {
        for note in notes {
            self.run(tx, &self.names.upsert::<D>(note)).await?;
        }
        Ok(())
    }

    async fn remove(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> Result<(), sqlx::Error> {
        self.run(tx, &self.names.delete(id)).await
    }

    async fn count(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> Result<(), sqlx::Error> {
        let ([.., n], table) = (self.names.columns(), self.names.table());
        self.run(tx, &format!("UPDATE {table} SET {n} = {n} + 1 WHERE id = {id}")).await
    }
}

async fn find<D: Sql>(
    tx: &mut Tx<'_, D::Db>,
    names: Names,
    id: i64,
) -> Result<Option<Note>, sqlx::Error> {
    let sql = format!("{} WHERE id = {id}", names.select());
    Ok(notes(D::read(tx, &sql).await?).pop())
}

/// The notes in rows of the key, version, word and count.
pub(crate) fn notes(rows: Rows) -> Vec<Note> {
    let number = |text: &Option<String>| text.as_deref().unwrap().parse().unwrap();
    let note = |row: Vec<Option<String>>| Note {
        id: number(&row[0]),
        version: number(&row[1]),
        word: row[2].clone().unwrap(),
        n: number(&row[3]),
    };
    rows.into_iter().map(note).collect()
}

/// The copy function. It goes through this process, and takes its time between what it reads and what it writes:
/// without the lock that it relies on, it would write what has been replaced.
pub(crate) struct CopyNotes<D> {
    migration: &'static str,
    database: PhantomData<D>,
}

const COPY_TAKES: Duration = Duration::from_millis(5);

impl<D: Sql> CopyNotes<D> {
    fn new(migration: &'static str) -> Self {
        Self { migration, database: PhantomData }
    }

    fn names(&self, side: Side) -> Names {
        Names { migration: self.migration, side }
    }

    async fn carry(
        &self,
        tx: &mut Tx<'_, D::Db>,
        to: Side,
        keys: &[i64],
    ) -> Result<Copied, BoxError> {
        let mut found = Vec::new();
        for id in keys {
            found.push((*id, find::<D>(tx, self.names(to.other()), *id).await?));
        }
        tokio::time::sleep(COPY_TAKES).await;
        let mut migrated = 0;
        for (id, note) in found {
            let sql = match note {
                Some(note) => self.names(to).upsert::<D>(&note),
                None => self.names(to).delete(id),
            };
            migrated += D::run(tx, &sql).await?.min(1);
        }
        Ok(Copied { migrated, skipped: keys.len() as u64 - migrated })
    }
}

impl<D: Sql> CopyKeys for CopyNotes<D> {
    type Database = D::Db;
    type Key = i64;

    fn source(&self) -> KeySource {
        KeySource::table(self.migration).column("id")
    }

    fn new_source(&self) -> Option<KeySource> {
        Some(KeySource::table(self.names(Side::New).table()).column("id"))
    }

    async fn copy(&self, tx: &mut Tx<'_, D::Db>, keys: &[i64]) -> Result<Copied, BoxError> {
        self.carry(tx, Side::New, keys).await
    }

    async fn differing(&self, tx: &mut Tx<'_, D::Db>, keys: &[i64]) -> Result<Vec<i64>, BoxError> {
        let mut differing = Vec::new();
        for id in keys {
            let old = find::<D>(tx, self.names(Side::Old), *id).await?;
            if old != find::<D>(tx, self.names(Side::New), *id).await? {
                differing.push(*id);
            }
        }
        Ok(differing)
    }
}

impl<D: Sql> CopyBack for CopyNotes<D> {
    async fn copy_back(&self, tx: &mut Tx<'_, D::Db>, keys: &[i64]) -> Result<Copied, BoxError> {
        self.carry(tx, Side::Old, keys).await
    }
}

/// How an instance joins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joining {
    pub(crate) lease: Duration,
    pub(crate) lazy: bool,
}

/// Longer than any round: `Complete` waits for foreign writers to be gone.
const WINDOW: Duration = Duration::from_secs(3_600);

/// One process of the service: both migrations, and their wrappers.
pub(crate) struct Service<D: Sql> {
    pub(crate) runtime: Runtime<D::Db>,
    pub(crate) migrations: Vec<(Migration, Both<D>)>,
}

pub(crate) async fn join<D: Sql>(
    pool: &Pool<D::Db>,
    joining: Joining,
) -> Result<Service<D>, Error> {
    let builder = Runtime::builder(pool.clone()).lease(joining.lease).poll(joining.lease / 8);
    let runtime = builder.environment(|_| None).start().await?;
    let mut migrations = Vec::new();
    for migration in MIGRATIONS {
        let copy = CopyNotes::<D>::new(migration);
        let registration =
            runtime.migration(migration).backfill_both_ways(copy).unaware_window(WINDOW);
        let registration = if joining.lazy { registration.lazy() } else { registration };
        let store = |side| Store { names: Names { migration, side }, pool: pool.clone() };
        let migration = registration.register().await?;
        let both = DualNotes::new(&migration, store(Side::Old), store(Side::New));
        migrations.push((migration, both));
    }
    Ok(Service { runtime, migrations })
}
