//! Writes of several records in one call, and writes whose records nobody names.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use dualwrite::{Backend, BucketRule, ErrorKind, Percent, Side, Stage, Tx, salt};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{CopyNotes, World, lazy, plain};
use crate::support::sql::Sql;

on_all_databases!(
    every_key_of_a_bulk_is_marked_when_its_mirror_fails,
    a_bulk_that_straddles_the_ramp_to_dual_write_writes_both,
    what_a_bulk_brought_to_new_early_is_copied_again,
    a_bulk_that_straddles_the_ramp_to_live_fails_whole,
    a_bulk_within_one_stage_is_forgiven,
    a_bulk_that_straddles_the_ramp_to_complete_writes_both,
    two_records_are_routed_together,
    a_bulk_of_nothing_does_nothing,
    a_filter_goes_to_both_sides_or_fails_whole,
    a_filter_is_refused_where_its_rows_could_not_be_found_again,
);

#[dualwrite::repository]
trait Bulk<DB: Backend> {
    #[write(key = id)]
    async fn remove(&self, tx: &mut Tx<'_, DB>, id: i64) -> Result<(), sqlx::Error>;
    #[write(keys = notes.iter().map(|note| note.0))]
    async fn save_all(
        &self,
        tx: &mut Tx<'_, DB>,
        notes: &[(i64, String)],
    ) -> Result<(), sqlx::Error>;
    #[write(keys = ids)]
    async fn remove_all(&self, tx: &mut Tx<'_, DB>, ids: Vec<i64>) -> Result<u64, sqlx::Error>;
    #[write(keys = [from, to])]
    async fn swap(&self, tx: &mut Tx<'_, DB>, from: i64, to: i64) -> Result<(), sqlx::Error>;
    #[write(filter)]
    async fn rename(&self, tx: &mut Tx<'_, DB>, from: &str, to: &str) -> Result<u64, sqlx::Error>;
}

struct Table<D> {
    name: &'static str,
    fails: Arc<AtomicBool>,
    database: std::marker::PhantomData<fn() -> D>,
}

impl<D: Sql> Table<D> {
    /// Fails as a database does.
    async fn pass(&self, tx: &mut Tx<'_, D::Db>) -> Result<(), sqlx::Error> {
        match self.fails.load(SeqCst) {
            true => D::run(tx, "INSERT INTO nowhere VALUES (1)").await.map(drop),
            false => Ok(()),
        }
    }
}

impl<D: Sql> Bulk<D::Db> for Table<D> {
    async fn remove(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> Result<(), sqlx::Error> {
        self.pass(tx).await?;
        D::run(tx, &format!("DELETE FROM {} WHERE id = {id}", self.name)).await.map(drop)
    }

    async fn save_all(
        &self,
        tx: &mut Tx<'_, D::Db>,
        notes: &[(i64, String)],
    ) -> Result<(), sqlx::Error> {
        let table = self.name;
        for (id, word) in notes {
            D::run(tx, &format!("DELETE FROM {table} WHERE id = {id}")).await?;
            let sql = format!("INSERT INTO {table} (id, word) VALUES ({id}, '{word}')");
            D::run(tx, &sql).await?;
        }
        self.pass(tx).await
    }

    async fn remove_all(&self, tx: &mut Tx<'_, D::Db>, ids: Vec<i64>) -> Result<u64, sqlx::Error> {
        let mut removed = 0;
        for id in ids {
            removed += D::run(tx, &format!("DELETE FROM {} WHERE id = {id}", self.name)).await?;
        }
        Ok(removed)
    }

    async fn swap(&self, tx: &mut Tx<'_, D::Db>, from: i64, to: i64) -> Result<(), sqlx::Error> {
        let table = self.name;
        for (one, other) in [(from, -1), (to, from), (-1, to)] {
            D::run(tx, &format!("UPDATE {table} SET id = {other} WHERE id = {one}")).await?;
        }
        self.pass(tx).await
    }

    async fn rename(
        &self,
        tx: &mut Tx<'_, D::Db>,
        from: &str,
        to: &str,
    ) -> Result<u64, sqlx::Error> {
        self.pass(tx).await?;
        let sql = format!("UPDATE {} SET word = '{to}' WHERE word = '{from}'", self.name);
        D::run(tx, &sql).await
    }
}

struct Place<D: Sql> {
    world: World<D>,
    notes: DualBulk<Table<D>, Table<D>>,
    new_fails: Arc<AtomicBool>,
    old_fails: Arc<AtomicBool>,
}

impl<D: Sql> Place<D> {
    fn of(world: World<D>) -> Self {
        let (old_fails, new_fails) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let table = |name, fails: &Arc<_>| Table {
            name,
            fails: Arc::clone(fails),
            database: std::marker::PhantomData,
        };
        let (old, new) = (table("old_note", &old_fails), table("new_note", &new_fails));
        let notes = DualBulk::new(&world.migration, old, new);
        Self { world, notes, new_fails, old_fails }
    }

    /// A migration that may go live without a backfill.
    async fn lazily(db: Scratch<D>, stage: Stage, ramp: u16) -> Self {
        let place = Self::of(World::with(db, stage, 0, lazy).await);
        place.ramp(ramp).await;
        place
    }

    async fn ramp(&self, ramp: u16) {
        if ramp > 0 {
            self.world.migration.ramp_to(Percent::new(ramp).unwrap()).await.unwrap();
        }
    }

    async fn save(&self, ids: &[i64], word: &str) -> Result<(), dualwrite::Error> {
        let mut tx = self.world.begin().await;
        let notes: Vec<_> = ids.iter().map(|id| (*id, format!("{word} {id}"))).collect();
        let saved = self.notes.save_all(&mut tx, &notes).await;
        let committed = tx.commit().await;
        assert_eq!(saved.is_ok(), committed.is_ok(), "{saved:?} {committed:?}");
        committed
    }

    async fn ids(&self, table: &str) -> Vec<i64> {
        let rows = self.world.db.rows(&format!("SELECT id FROM {table} ORDER BY id")).await;
        rows.iter().map(|row| row[0].as_deref().unwrap().parse().unwrap()).collect()
    }
}

/// Keys that a ramp of a half has reached, and others.
fn on_both_sides_of_a_half() -> ([i64; 2], [i64; 2]) {
    let reached = |id: &i64| {
        let bucket = BucketRule::Hash.bucket(id, salt("notes")).unwrap();
        bucket.is_below(Percent::new(50).unwrap())
    };
    let take = |wanted: bool| {
        let found: Vec<i64> = (1..100).filter(|id| reached(id) == wanted).take(2).collect();
        <[i64; 2]>::try_from(found).unwrap()
    };
    (take(true), take(false))
}

async fn marks<D: Sql>(tx: &mut Tx<'_, D::Db>, side: Side) -> Vec<String> {
    let sql =
        format!("SELECT key_text FROM dualwrite_dirty WHERE side = '{side}' ORDER BY key_text");
    D::texts(tx, &sql).await.unwrap()
}

async fn every_key_of_a_bulk_is_marked_when_its_mirror_fails<D: Sql>(db: Scratch<D>) {
    let place = Place::of(World::with(db, Stage::DualWrite, 0, plain).await);
    place.new_fails.store(true, SeqCst);
    let mut tx = place.world.begin().await;
    let notes = [1, 2, 3].map(|id| (id, format!("word {id}")));
    place.notes.save_all(&mut tx, &notes).await.unwrap();
    assert_eq!(marks::<D>(&mut tx, Side::New).await, ["1", "2", "3"]);
    tx.commit().await.unwrap();
    place.world.migration.repair().await.unwrap(); // the background's may have been quicker
    let words = ["word 1", "word 2", "word 3"].map(str::to_owned).to_vec();
    assert_eq!(place.world.words().await, [words.clone(), words]);
}

async fn a_bulk_that_straddles_the_ramp_to_dual_write_writes_both<D: Sql>(db: Scratch<D>) {
    let place = Place::of(World::with(db, Stage::Off, 0, plain).await);
    place.ramp(50).await;
    let ([ahead, other], [behind, another]) = on_both_sides_of_a_half();
    place.save(&[another], "alone").await.unwrap();
    assert_eq!(place.ids("new_note").await, [0_i64; 0], "no key in it is written to both");
    place.save(&[ahead, behind], "together").await.unwrap();
    let mut both = vec![ahead, behind];
    both.sort_unstable();
    assert_eq!(place.ids("new_note").await, both);
    place.save(&[other], "ahead").await.unwrap();
    let mut tx = place.world.begin().await;
    assert_eq!(place.notes.remove_all(&mut tx, vec![ahead, behind]).await.unwrap(), 2);
    tx.commit().await.unwrap();
    assert_eq!(place.ids("new_note").await, [other]);
}

async fn what_a_bulk_brought_to_new_early_is_copied_again<D: Sql>(db: Scratch<D>) {
    // No backfill and no verification will look at new, and rows that only new has are not listed.
    let place = Place::lazily(db, Stage::Off, 50).await;
    let ([ahead, _], [behind, other]) = on_both_sides_of_a_half();
    place.save(&[ahead, behind, other], "early").await.unwrap();
    // Written to old alone, as its own stage says.
    let mut tx = place.world.begin().await;
    place.notes.remove(&mut tx, behind).await.unwrap();
    tx.commit().await.unwrap();
    place.save(&[other], "late").await.unwrap();
    assert!(place.ids("new_note").await.contains(&behind));
    place.world.migration.advance(Stage::DualWrite).await.unwrap();
    place.world.migration.repair().await.unwrap();
    assert_eq!(place.world.words().await[0], place.world.words().await[1]);
    assert!(!place.ids("new_note").await.contains(&behind), "the row has not risen again");
}

async fn a_bulk_that_straddles_the_ramp_to_live_fails_whole<D: Sql>(db: Scratch<D>) {
    let place = Place::lazily(db, Stage::Shadow, 50).await;
    let ([ahead, _], [behind, _]) = on_both_sides_of_a_half();
    place.save(&[ahead, behind], "first").await.unwrap();
    for fails in [&place.new_fails, &place.old_fails] {
        fails.store(true, SeqCst);
        let error = place.save(&[ahead, behind], "second").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Poisoned);
        fails.store(false, SeqCst);
    }
    let words = place.world.words().await;
    assert!(words.iter().flatten().all(|word| word.starts_with("first")), "{words:?}");
}

async fn a_bulk_within_one_stage_is_forgiven<D: Sql>(db: Scratch<D>) {
    let place = Place::lazily(db, Stage::Shadow, 50).await;
    let (ahead, behind) = on_both_sides_of_a_half();
    place.new_fails.store(true, SeqCst);
    place.save(&behind, "old answers").await.unwrap();
    place.save(&ahead, "new answers").await.unwrap_err();
    place.world.migration.repair().await.unwrap();
    assert_eq!(place.world.words().await[0], place.world.words().await[1]);
}

async fn a_bulk_that_straddles_the_ramp_to_complete_writes_both<D: Sql>(db: Scratch<D>) {
    let copy = CopyNotes::both_ways();
    let place = Place::of(World::copying(db, Stage::DualWrite, 0, plain, copy).await);
    let migration = &place.world.migration;
    migration.backfill().run().await.unwrap();
    migration.verify().run().await.unwrap();
    for stage in [Stage::Shadow, Stage::Live, Stage::RampDown] {
        migration.advance(stage).await.unwrap();
    }
    place.ramp(50).await;
    let ([ahead, other], [behind, _]) = on_both_sides_of_a_half();
    place.save(&[ahead, behind], "together").await.unwrap();
    assert_eq!(place.ids("old_note").await.len(), 2);
    place.save(&[other], "new alone").await.unwrap();
    assert_eq!(place.ids("old_note").await.len(), 2);
    assert_eq!(place.ids("new_note").await.len(), 3);
}

async fn two_records_are_routed_together<D: Sql>(db: Scratch<D>) {
    let place = Place::of(World::with(db, Stage::DualWrite, 0, plain).await);
    place.save(&[1, 2], "word").await.unwrap();
    place.new_fails.store(true, SeqCst);
    let mut tx = place.world.begin().await;
    place.notes.swap(&mut tx, 1, 2).await.unwrap();
    assert_eq!(marks::<D>(&mut tx, Side::New).await, ["1", "2"]);
    tx.commit().await.unwrap();
    place.world.migration.repair().await.unwrap();
    let swapped = ["word 2", "word 1"].map(str::to_owned).to_vec();
    assert_eq!(place.world.words().await, [swapped.clone(), swapped]);
}

async fn a_bulk_of_nothing_does_nothing<D: Sql>(db: Scratch<D>) {
    let place = Place::lazily(db, Stage::Off, 50).await;
    place.save(&[], "nothing").await.unwrap();
    assert_eq!(place.world.words().await, [Vec::<String>::new(), Vec::new()]);
}

async fn a_filter_goes_to_both_sides_or_fails_whole<D: Sql>(db: Scratch<D>) {
    let place = Place::lazily(db, Stage::DualWrite, 0).await;
    place.save(&[1, 2, 3], "same").await.unwrap();
    let rename = async |from: &str, to: &str| {
        let mut tx = place.world.begin().await;
        let renamed = place.notes.rename(&mut tx, from, to).await;
        (renamed.ok(), tx.commit().await.is_ok())
    };
    assert_eq!(rename("same 1", "other").await, (Some(1), true));
    assert_eq!(place.world.words().await[0], place.world.words().await[1]);
    place.new_fails.store(true, SeqCst);
    assert_eq!(rename("same 2", "lost").await, (None, false), "no key could be marked");
    place.new_fails.store(false, SeqCst);
    let words = ["other", "same 2", "same 3"].map(str::to_owned).to_vec();
    assert_eq!(place.world.words().await, [words.clone(), words]);
    // Some of its keys may be live already: it still goes to both.
    place.world.migration.advance(Stage::Shadow).await.unwrap();
    place.ramp(1).await;
    assert_eq!(rename("same 3", "last").await, (Some(1), true));
    assert_eq!(place.world.words().await[0], place.world.words().await[1]);
}

async fn a_filter_is_refused_where_its_rows_could_not_be_found_again<D: Sql>(db: Scratch<D>) {
    let place = Place::lazily(db, Stage::Off, 0).await;
    place.save(&[1], "same").await.unwrap();
    place.ramp(50).await;
    let mut tx = place.world.begin().await;
    let error = place.notes.rename(&mut tx, "same 1", "other").await.unwrap_err();
    let text = dualwrite::Error::find(&error).unwrap().to_string();
    assert!(text.contains("without a key") && text.contains("`dual_write`"), "{text}");
    tx.commit().await.unwrap();
}
