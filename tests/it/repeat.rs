//! `MirrorPolicy::Repeat`: the savepoint stands where the transaction begins, and after a mirror write
//! that failed the primary is written once more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use dualwrite::{ErrorKind, MirrorPolicy, Registration, Stage, Tx};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{CopyNotes, DualNotes, FAILS, Notes, PANICS, Store, WORKS, World};
use crate::support::sql::Sql;

on_all_databases!(
    the_primary_is_written_again_when_the_mirror_fails,
    what_was_run_before_is_never_undone,
    a_failed_repetition_is_the_callers_failure,
    a_nested_transaction_has_a_savepoint_of_its_own,
    the_fence_outlives_the_repetition,
    a_mark_is_not_undone_by_the_next_failure,
    a_mirror_in_old_needs_no_repetition,
    a_trigger_takes_the_repetition_for_what_it_is,
);

/// Old, with its writes counted.
struct Counted<D: Sql> {
    store: Store<D>,
    saves: Arc<AtomicU64>,
    /// From this one on its writes fail.
    last: u64,
}

impl<D: Sql> Notes<D::Db> for Counted<D> {
    async fn find(&self, id: i64) -> Result<Option<String>, sqlx::Error> {
        self.store.find(id).await
    }

    async fn save(&self, tx: &mut Tx<'_, D::Db>, id: i64, word: &str) -> Result<(), sqlx::Error> {
        if self.saves.fetch_add(1, SeqCst) >= self.last {
            return Err(sqlx::Error::RowNotFound);
        }
        self.store.save(tx, id, word).await
    }

    async fn remove(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> Result<(), sqlx::Error> {
        self.store.remove(tx, id).await
    }
}

fn repeating<DB: dualwrite::Backend>(registration: Registration<'_, DB>) -> Registration<'_, DB> {
    registration.mirror(MirrorPolicy::Repeat)
}

struct Repeating<D: Sql> {
    world: World<D>,
    notes: DualNotes<Counted<D>, Store<D>>,
    saves: Arc<AtomicU64>,
}

impl<D: Sql> Repeating<D> {
    async fn at(stage: Stage, db: Scratch<D>, last: u64) -> Self {
        let world = World::copying(db, Stage::Off, 0, repeating, CopyNotes::both_ways()).await;
        while world.migration.position().stage < stage {
            let next = world.migration.position().stage.next().unwrap();
            if next == Stage::Shadow {
                world.migration.backfill().run().await.unwrap();
            }
            if next == Stage::Live {
                world.migration.verify().run().await.unwrap();
            }
            world.migration.advance(next).await.unwrap();
        }
        let saves = Arc::<AtomicU64>::default();
        let store = |table, mood: &Arc<_>| Store {
            table,
            pool: world.db.pool().clone(),
            mood: Arc::clone(mood),
            hanging: Arc::default(),
            reading: Default::default(),
            removing: Default::default(),
        };
        let old =
            Counted { store: store("old_note", &world.old_mood), saves: Arc::clone(&saves), last };
        let notes = DualNotes::new(&world.migration, old, store("new_note", &world.new_mood));
        Self { world, notes, saves }
    }

    async fn words(&self) -> [Vec<String>; 2] {
        self.world.words().await
    }
}

fn words(old: &[&str], new: &[&str]) -> [Vec<String>; 2] {
    [old, new].map(|words| words.iter().map(|word| (*word).to_owned()).collect())
}

async fn the_primary_is_written_again_when_the_mirror_fails<D: Sql>(db: Scratch<D>) {
    let it = Repeating::at(Stage::DualWrite, db, u64::MAX).await;
    let mut saves = 0;
    for (id, mood, word, calls) in
        [(1, WORKS, "one", 1), (2, FAILS, "two", 2), (3, PANICS, "three", 2)]
    {
        it.world.new_mood.store(mood, SeqCst);
        let mut tx = it.world.begin().await;
        it.notes.save(&mut tx, id, word).await.unwrap();
        tx.commit().await.unwrap();
        saves += calls;
        assert_eq!(it.saves.load(SeqCst), saves, "{word}");
    }
    assert_eq!(it.words().await[0], ["one", "two", "three"]);
    it.world.new_mood.store(WORKS, SeqCst);
    it.world.migration.repair().await.unwrap();
    assert_eq!(it.words().await, words(&["one", "two", "three"], &["one", "two", "three"]));
    let status = it.world.migration.status().await.unwrap();
    assert_eq!((status.dirty_new, status.counters.mirror_failed), (0, 2));
}

async fn what_was_run_before_is_never_undone<D: Sql>(db: Scratch<D>) {
    let it = Repeating::at(Stage::DualWrite, db, u64::MAX).await;
    // The service's own statement comes first.
    let mut tx = it.world.begin().await;
    D::run(&mut tx, "INSERT INTO old_note (id, word) VALUES (9, 'own')").await.unwrap();
    it.world.new_mood.store(FAILS, SeqCst);
    it.notes.save(&mut tx, 1, "one").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(it.saves.load(SeqCst), 1, "behind a savepoint of its own nothing is repeated");
    assert_eq!(it.words().await[0], ["one", "own"]);
    // Another write comes first, whose mirror failed as well: its mark stays.
    let mut tx = it.world.begin().await;
    it.notes.save(&mut tx, 2, "two").await.unwrap();
    it.notes.save(&mut tx, 3, "three").await.unwrap();
    it.world.new_mood.store(WORKS, SeqCst);
    it.notes.save(&mut tx, 4, "four").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(it.saves.load(SeqCst), 5, "only the first of them");
    it.world.migration.repair().await.unwrap();
    let all = ["one", "two", "three", "four"];
    assert_eq!(
        it.words().await,
        words(&["one", "two", "three", "four", "own"], &all),
        "nothing marks what the service writes past the library"
    );
}

async fn a_failed_repetition_is_the_callers_failure<D: Sql>(db: Scratch<D>) {
    let it = Repeating::at(Stage::DualWrite, db, 1).await;
    it.world.new_mood.store(FAILS, SeqCst);
    let mut tx = it.world.begin().await;
    let error = it.notes.save(&mut tx, 1, "one").await.unwrap_err();
    assert!(matches!(error, sqlx::Error::RowNotFound), "{error}");
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(it.words().await, words(&[], &[]));
    let status = it.world.migration.status().await.unwrap();
    assert_eq!(status.dirty_new, 0);
}

async fn a_nested_transaction_has_a_savepoint_of_its_own<D: Sql>(db: Scratch<D>) {
    let it = Repeating::at(Stage::DualWrite, db, u64::MAX).await;
    let mut tx = it.world.begin().await;
    let mut nested = tx.begin().await.unwrap();
    it.notes.save(&mut nested, 1, "nested").await.unwrap();
    nested.commit().await.unwrap();
    it.world.new_mood.store(FAILS, SeqCst);
    it.notes.save(&mut tx, 2, "outer").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(it.saves.load(SeqCst), 2);
    assert_eq!(it.words().await[0], ["nested", "outer"]);
    it.world.migration.repair().await.unwrap(); // the background's may have been quicker
    assert_eq!(it.words().await[1], ["nested", "outer"]);
}

async fn the_fence_outlives_the_repetition<D: Sql>(db: Scratch<D>) {
    let it = Repeating::at(Stage::DualWrite, db, u64::MAX).await;
    it.world.new_mood.store(FAILS, SeqCst);
    let mut tx = it.world.begin().await;
    it.notes.save(&mut tx, 1, "one").await.unwrap();
    let back = {
        let migration = it.world.migration.clone();
        tokio::spawn(async move { migration.step_back(Stage::Off).await })
    };
    // Whatever the change could do in the time of a hundred statements, it does not do it.
    for id in 2..100 {
        it.notes.save(&mut tx, id, "under dual write").await.unwrap();
    }
    assert!(!back.is_finished());
    assert_eq!(it.world.migration.refresh().await.unwrap().stage, Stage::DualWrite);
    tx.commit().await.unwrap();
    back.await.unwrap().unwrap();
}

/// A side that keeps its rows elsewhere, so that nothing is run in the transaction.
struct Elsewhere {
    works: bool,
}

impl<DB: dualwrite::Backend> Notes<DB> for Elsewhere {
    async fn find(&self, _: i64) -> Result<Option<String>, sqlx::Error> {
        Ok(None)
    }

    async fn save(&self, _: &mut Tx<'_, DB>, _: i64, _: &str) -> Result<(), sqlx::Error> {
        if self.works { Ok(()) } else { Err(sqlx::Error::RowNotFound) }
    }

    async fn remove(&self, _: &mut Tx<'_, DB>, _: i64) -> Result<(), sqlx::Error> {
        Ok(())
    }
}

async fn a_mark_is_not_undone_by_the_next_failure<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 2, repeating).await;
    let (old, new) = (Elsewhere { works: true }, Elsewhere { works: false });
    let notes: DualNotes<_, _> = DualNotes::new(&world.migration, old, new);
    let mut tx = world.begin().await;
    notes.save(&mut tx, 1, "one").await.unwrap();
    notes.save(&mut tx, 2, "two").await.unwrap();
    tx.commit().await.unwrap();
    // Nothing but the marks brings these rows to new, by the background's repair or by this one.
    world.migration.repair().await.unwrap();
    let [old, new] = world.words().await;
    assert_eq!((old.len(), &old), (2, &new));
}

async fn a_mirror_in_old_needs_no_repetition<D: Sql>(db: Scratch<D>) {
    let it = Repeating::at(Stage::Live, db, 0).await;
    let mut tx = it.world.begin().await;
    it.notes.save(&mut tx, 1, "one").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(it.saves.load(SeqCst), 1);
    let status = it.world.migration.status().await.unwrap();
    assert_eq!(status.counters.mirror_failed, 1);
    // Nothing but its mark brings it to old, by the background's repair or by this one.
    it.world.migration.repair().await.unwrap();
    assert_eq!(it.words().await, words(&["one"], &["one"]));
}

async fn a_trigger_takes_the_repetition_for_what_it_is<D: Sql>(db: Scratch<D>) {
    let it = Repeating::at(Stage::DualWrite, db, u64::MAX).await;
    it.world.migration.install_trigger().await.unwrap();
    it.world.new_mood.store(FAILS, SeqCst);
    let mut tx = it.world.begin().await;
    it.notes.save(&mut tx, 1, "one").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(it.words().await, words(&["one"], &[]));
    let status = it.world.migration.status().await.unwrap();
    assert_eq!(status.counters.mirror_failed, 1);
    let unaware =
        it.world.db.number("SELECT count(*) FROM dualwrite_unaware WHERE minute > 0").await;
    assert_eq!(unaware, 0, "it bears the mark, before and after");
}
