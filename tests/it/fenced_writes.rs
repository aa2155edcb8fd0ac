//! Traits whose writes take no transaction: the generated wrapper begins it, or carries one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use dualwrite::{
    Backend, ErrorKind, Migration, MirrorPolicy, Percent, Runtime, SharedTx, Stage, Tx,
};
use futures_util::FutureExt as _;
use sqlx::Pool;

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::CopyNotes;
use crate::support::sql::Sql;

on_all_databases!(
    every_write_is_fenced_and_committed_on_its_way_to_complete,
    a_write_that_fails_leaves_nothing,
    a_mirror_that_fails_marks_the_key,
    a_carried_transaction_holds_several_writes,
    a_carried_transaction_makes_one_call_at_a_time,
    the_database_makes_the_key,
    a_nested_wrapper_asks_for_both_fences,
);

/// As services have them: nothing in it knows of a transaction.
#[dualwrite::repository(transaction = DB)]
trait Words<DB: Backend>: Sync {
    #[read(key = id)]
    async fn find(&self, id: i64) -> Result<Option<String>, sqlx::Error>;
    #[read(scan)]
    async fn count(&self) -> Result<usize, sqlx::Error>;
    #[write(key = id)]
    async fn save(&self, id: i64, word: String) -> Result<u64, sqlx::Error>;
    #[write(keys = ids)]
    async fn remove_all(&self, ids: &[i64]) -> Result<(), sqlx::Error>;
    #[write(filter, error = to_text)]
    async fn clear(&self) -> Result<(), String>;
    #[write(key = id, on_unknown = false)]
    async fn touch(&self, id: i64) -> bool;
    #[write(key_from = |made: &i64| *made, then = insert_with_id)]
    async fn insert(&self, word: &str) -> Result<i64, sqlx::Error>;
    #[write(key = id)]
    async fn insert_with_id(&self, id: i64, word: &str) -> Result<i64, sqlx::Error>;
    #[primary]
    fn table(&self) -> &'static str;
    /// Two writes: two transactions, unless one is carried.
    async fn move_word(&self, from: i64, to: i64) -> Result<(), sqlx::Error> {
        let word = self.find(from).await?.ok_or(sqlx::Error::RowNotFound)?;
        self.save(to, word).await?;
        self.remove_all(&[from]).await
    }
}

fn to_text(error: dualwrite::Error) -> String {
    format!("library: {:?}", error.kind())
}

struct Table<D: Sql> {
    name: &'static str,
    pool: Pool<D::Db>,
    fails: Arc<AtomicBool>,
}

impl<D: Sql> Table<D> {
    fn target(&self) -> &'static str {
        if self.fails.load(SeqCst) { "nowhere" } else { self.name }
    }
}

impl<D: Sql> WordsIn<D::Db> for Table<D> {
    async fn find(&self, id: i64) -> Result<Option<String>, sqlx::Error> {
        let sql = format!("SELECT word FROM {} WHERE id = {id}", self.name);
        Ok(D::rows(&self.pool, &sql).await?.pop().and_then(|mut row| row.pop().flatten()))
    }
    async fn count(&self) -> Result<usize, sqlx::Error> {
        Ok(D::rows(&self.pool, &format!("SELECT id FROM {}", self.name)).await?.len())
    }
    async fn save(
        &self,
        tx: &mut Tx<'_, D::Db>,
        id: i64,
        word: String,
    ) -> Result<u64, sqlx::Error> {
        D::run(tx, &format!("DELETE FROM {} WHERE id = {id}", self.name)).await?;
        D::run(tx, &format!("INSERT INTO {} (id, word) VALUES ({id}, '{word}')", self.target()))
            .await
    }
    async fn remove_all(&self, tx: &mut Tx<'_, D::Db>, ids: &[i64]) -> Result<(), sqlx::Error> {
        for id in ids {
            D::run(tx, &format!("DELETE FROM {} WHERE id = {id}", self.target())).await?;
        }
        Ok(())
    }
    async fn clear(&self, tx: &mut Tx<'_, D::Db>) -> Result<(), String> {
        let cleared = D::run(tx, &format!("DELETE FROM {}", self.target())).await;
        cleared.map(drop).map_err(|_| "the table is away".to_owned())
    }
    async fn touch(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> bool {
        let sql = format!("UPDATE {} SET word = 'touched' WHERE id = {id}", self.name);
        D::run(tx, &sql).await.is_ok_and(|rows| rows == 1)
    }
    async fn insert(&self, tx: &mut Tx<'_, D::Db>, word: &str) -> Result<i64, sqlx::Error> {
        let sql = format!("SELECT coalesce(max(id), 0) + 1 FROM {}", self.name);
        let id = D::read(tx, &sql).await?[0][0].as_deref().unwrap().parse().unwrap();
        self.insert_with_id(tx, id, word).await
    }
    async fn insert_with_id(
        &self,
        tx: &mut Tx<'_, D::Db>,
        id: i64,
        word: &str,
    ) -> Result<i64, sqlx::Error> {
        let sql = format!("INSERT INTO {} (id, word) VALUES ({id}, '{word}')", self.target());
        D::run(tx, &sql).await.map(|_| id)
    }
    fn table(&self) -> &'static str {
        self.name
    }
}

type Fenced<D> = FencedWords<DualWords<Table<D>, Table<D>>, <D as crate::support::db::TestDb>::Db>;

struct Place<D: Sql> {
    db: Scratch<D>,
    runtime: Runtime<D::Db>,
    migration: Migration,
    words: Fenced<D>,
    fails: [Arc<AtomicBool>; 2],
}

impl<D: Sql> Place<D> {
    async fn new(db: Scratch<D>) -> Self {
        for table in ["old_note", "new_note"] {
            db.execute(&format!(
                "CREATE TABLE {table} (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL)"
            ))
            .await;
        }
        let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
        let registration = runtime.migration("notes").backfill(CopyNotes::<D>::both_ways());
        let registration = registration.mirror(MirrorPolicy::MarkDirty);
        let migration = registration.register().await.unwrap();
        let fails = [Arc::<AtomicBool>::default(), Arc::default()];
        let table = |name, fails: &Arc<_>| Table::<D> {
            name,
            pool: db.pool().clone(),
            fails: Arc::clone(fails),
        };
        let (old, new) = (table("old_note", &fails[0]), table("new_note", &fails[1]));
        let words = DualWords::new(&migration, old, new).fenced(db.pool().clone());
        Self { db, runtime, migration, words, fails }
    }

    async fn table(&self, name: &str) -> Vec<String> {
        let rows = self.db.rows(&format!("SELECT word FROM {name} ORDER BY id")).await;
        rows.into_iter().map(|mut row| row.pop().unwrap().unwrap()).collect()
    }

    /// What both tables hold, where it is the same.
    async fn both(&self) -> Vec<String> {
        let old = self.table("old_note").await;
        assert_eq!(old, self.table("new_note").await);
        old
    }
}

async fn every_write_is_fenced_and_committed_on_its_way_to_complete<D: Sql>(db: Scratch<D>) {
    let place = Place::new(db).await;
    let words = &place.words;
    for (id, stage) in (10..).step_by(10).zip(Stage::ALL) {
        if stage == Stage::Shadow {
            place.migration.backfill().run().await.unwrap();
            assert!(place.migration.verify().run().await.unwrap().is_clean());
        }
        if stage != Stage::Off {
            place.migration.advance(stage).await.unwrap();
        }
        if stage == Stage::Live {
            place.migration.ramp_to(Percent::new(50).unwrap()).await.unwrap();
        }
        assert_eq!(words.save(id, format!("{stage}")).await.unwrap(), 1);
        assert_eq!(words.find(id).await.unwrap().unwrap(), format!("{stage}"));
        words.save(id + 1, "away".to_owned()).await.unwrap();
        words.move_word(id + 1, id + 2).await.unwrap();
        assert!(words.touch(id + 2).await);
        assert!(!words.touch(id + 1).await);
        words.remove_all(&[id + 2]).await.unwrap();
    }
    assert_eq!(words.table(), "new_note");
    let expected = ["off", "dual-write", "shadow", "live", "ramp-down", "complete"];
    assert_eq!(place.table("new_note").await.len(), expected.len());
    assert_eq!(place.table("old_note").await.len(), expected.len() - 1);
    assert_eq!(words.count().await.unwrap(), expected.len());
    words.clear().await.unwrap();
    assert_eq!(words.count().await.unwrap(), 0);
}

async fn a_write_that_fails_leaves_nothing<D: Sql>(db: Scratch<D>) {
    let place = Place::new(db).await;
    place.migration.advance(Stage::DualWrite).await.unwrap();
    place.words.save(1, "one".to_owned()).await.unwrap();
    place.fails[0].store(true, SeqCst);
    // The row was removed before the statement that fails.
    place.words.save(1, "two".to_owned()).await.unwrap_err();
    assert_eq!(place.both().await, ["one"]);
    assert_eq!(place.words.clear().await.unwrap_err(), "the table is away");
    place.fails[0].store(false, SeqCst);
    // Its connection is as good as new.
    for word in ["three", "four"] {
        place.words.save(1, word.to_owned()).await.unwrap();
    }
    assert_eq!(place.both().await, ["four"]);
}

async fn a_mirror_that_fails_marks_the_key<D: Sql>(db: Scratch<D>) {
    let place = Place::new(db).await;
    place.migration.advance(Stage::DualWrite).await.unwrap();
    place.fails[1].store(true, SeqCst);
    place.words.save(1, "one".to_owned()).await.unwrap();
    assert_eq!(place.table("old_note").await, ["one"]);
    // The background repair may have been quicker.
    let is_marked = place.migration.status().await.unwrap().dirty_new == 1;
    assert!(is_marked || place.table("new_note").await == ["one"]);
    // No key is named: both sides or neither, and the user's own error says so.
    place.words.clear().await.unwrap_err();
    assert_eq!(place.table("old_note").await, ["one"]);
}

async fn a_carried_transaction_holds_several_writes<D: Sql>(db: Scratch<D>) {
    let place = Place::new(db).await;
    place.migration.advance(Stage::DualWrite).await.unwrap();
    for commits in [false, true] {
        let shared = SharedTx::from(place.migration.begin(place.db.pool()).await.unwrap());
        let words = place.words.within(&shared);
        words.save(1, "one".to_owned()).await.unwrap();
        words.save(2, "two".to_owned()).await.unwrap();
        match commits {
            true => shared.commit().await.unwrap(),
            false => shared.rollback().await.unwrap(),
        }
        let error = words.save(3, "three".to_owned()).await.unwrap_err();
        assert_eq!(kind(error), ErrorKind::Poisoned);
        assert_eq!(place.both().await.len(), if commits { 2 } else { 0 });
    }
    // What failed inside spoils the whole.
    let shared = SharedTx::from(place.migration.begin(place.db.pool()).await.unwrap());
    let words = place.words.within(&shared);
    words.save(1, "other".to_owned()).await.unwrap();
    place.fails[0].store(true, SeqCst);
    words.save(2, "other".to_owned()).await.unwrap_err();
    assert_eq!(shared.commit().await.unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(place.both().await, ["one", "two"]);
}

async fn a_carried_transaction_makes_one_call_at_a_time<D: Sql>(db: Scratch<D>) {
    let place = Place::new(db).await;
    place.migration.advance(Stage::DualWrite).await.unwrap();
    let shared = SharedTx::from(place.migration.begin(place.db.pool()).await.unwrap());
    let words = place.words.within(&shared);
    let mut first = Box::pin(words.save(1, "one".to_owned()));
    assert!((&mut first).now_or_never().is_none());
    assert_eq!(kind(words.save(2, "two".to_owned()).await.unwrap_err()), ErrorKind::Conflict);
    assert_eq!(shared.clone().commit().await.unwrap_err().kind(), ErrorKind::Conflict);
    // A call that is dropped halfway ends it.
    drop(first);
    assert_eq!(kind(words.save(2, "two".to_owned()).await.unwrap_err()), ErrorKind::Poisoned);
    assert_eq!(shared.commit().await.unwrap_err().kind(), ErrorKind::Poisoned);
    assert!(place.both().await.is_empty());
}

async fn the_database_makes_the_key<D: Sql>(db: Scratch<D>) {
    let place = Place::new(db).await;
    place.migration.advance(Stage::DualWrite).await.unwrap();
    let id = place.words.insert("one").await.unwrap();
    assert_eq!(place.words.find(id).await.unwrap().unwrap(), "one");
    place.words.insert_with_id(id + 1, "two").await.unwrap();
    assert_eq!(place.both().await, ["one", "two"]);
}

async fn a_nested_wrapper_asks_for_both_fences<D: Sql>(db: Scratch<D>) {
    let place = Place::new(db).await;
    let outer = place.runtime.migration("outer").register().await.unwrap();
    let nest = || {
        let inner = DualWords::<_, _>::clone(place.words.inner());
        DualWords::new(&outer, inner.clone(), inner).fenced(place.db.pool().clone())
    };
    let error = nest().save(1, "one".to_owned()).await.unwrap_err();
    assert_eq!(kind(error), ErrorKind::NotPinned);
    assert!(place.both().await.is_empty());
    nest().and(&place.migration).save(1, "one".to_owned()).await.unwrap();
    assert_eq!(place.table("old_note").await, ["one"]);
}

fn kind(error: sqlx::Error) -> ErrorKind {
    dualwrite::Error::find(&error).unwrap().kind()
}
