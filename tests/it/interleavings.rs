//! What must never happen, forced: each row of that list in ARCHITECTURE, on the real databases. Hooks
//! hold one side at the worst moment; the other then runs until it is done, or waits for a lock.

use std::sync::{Arc, Mutex};

use dualwrite::{ErrorKind, Gate, Migration, Move, Runtime, Stage};
use sqlx::Pool;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::hook::Hook;
use crate::support::notes::{DualNotes, HANGS, Notes, Store, WORKS, World, lazy, plain};
use crate::support::sql::Sql;
use crate::support::wait::{somebody_waits, until};

on_all_databases!(
    row_1_a_backfill_writes_no_value_that_was_overwritten,
    row_2_a_write_ahead_of_the_backfill_is_whole,
    row_3_a_deleted_row_does_not_rise_again,
    row_4_a_lazy_copy_writes_no_value_that_was_overwritten,
    row_5_an_instance_still_at_off_writes_both,
    row_6_a_backfill_counts_for_its_generation_alone,
    row_7_nobody_reads_old_when_new_alone_is_written,
    row_8_a_write_dropped_between_its_sides_leaves_nothing,
    row_9_an_instance_past_its_lease_writes_under_the_stage_in_force,
);

/// Waits until a task has ended, or waits for a lock. SQLite does not tell who waits; there is one writer, so whoever has
/// not ended waits as long as somebody else holds that.
///
/// # Panics
/// Where it does neither within a minute: then nothing forces the order that a test is about.
pub(crate) async fn has_its_say<D: Sql, T>(world: &World<D>, task: &JoinHandle<T>) {
    let waits = async || match D::NAME {
        "sqlite" => somebody_writes(world).await,
        _ => somebody_waits(&world.db).await,
    };
    until("the task has ended, or waits for a lock", async || task.is_finished() || waits().await)
        .await;
}

/// Whether the one writer of SQLite is taken.
async fn somebody_writes<D: Sql>(world: &World<D>) -> bool {
    let pool = world.db.another_pool(1).await;
    let begun = D::execute(&pool, "PRAGMA busy_timeout = 0; BEGIN IMMEDIATE; ROLLBACK").await;
    pool.close().await;
    begun.is_err()
}

async fn start<D: Sql>(db: Scratch<D>, stage: Stage) -> Arc<World<D>> {
    let options = if stage == Stage::Live { lazy } else { plain };
    Arc::new(World::with(db, stage, 3, options).await)
}

fn backfill<D: Sql>(world: &Arc<World<D>>) -> JoinHandle<Result<(), dualwrite::Error>> {
    let migration = world.migration.clone();
    tokio::spawn(async move { migration.backfill().batch(1).run().await.map(drop) })
}

fn save<D: Sql>(world: &Arc<World<D>>, id: i64, word: &'static str) -> JoinHandle<()> {
    let world = Arc::clone(world);
    tokio::spawn(async move { world.save(id, word).await })
}

async fn equal<D: Sql>(world: &World<D>, expected: &[&str]) {
    let [old, new] = world.words().await;
    assert_eq!((&old, &new), (&new, &old));
    assert_eq!(new, expected);
}

async fn row_1_a_backfill_writes_no_value_that_was_overwritten<D: Sql>(db: Scratch<D>) {
    let world = start(db, Stage::DualWrite).await;
    world.copying.hold();
    let copy = backfill(&world);
    world.copying.reached().await;
    let write = save(&world, 1, "v2");
    has_its_say(&world, &write).await;
    world.copying.let_go();
    write.await.unwrap();
    copy.await.unwrap().unwrap();
    equal(&world, &["v2", "word 2", "word 3"]).await;
}

async fn row_2_a_write_ahead_of_the_backfill_is_whole<D: Sql>(db: Scratch<D>) {
    let world = start(db, Stage::DualWrite).await;
    if D::NAME == "sqlite" {
        // Its one writer at a time would wait for the copy that is held: nothing is held here.
        world.save(3, "v2").await;
        assert_eq!(world.words().await[1], ["v2"]);
        backfill(&world).await.unwrap().unwrap();
    } else {
        world.copying.hold();
        let copy = backfill(&world);
        world.copying.reached().await;
        save(&world, 3, "v2").await.unwrap();
        assert_eq!(world.words().await[1], ["v2"], "all of it, before the backfill came there");
        world.copying.let_go();
        copy.await.unwrap().unwrap();
    }
    equal(&world, &["word 1", "word 2", "v2"]).await;
}

async fn row_3_a_deleted_row_does_not_rise_again<D: Sql>(db: Scratch<D>) {
    let world = start(db, Stage::DualWrite).await;
    world.copying.hold();
    let copy = backfill(&world);
    world.copying.reached().await;
    let remover = Arc::clone(&world);
    let remove = tokio::spawn(async move {
        let mut tx = remover.begin().await;
        remover.notes.remove(&mut tx, 1).await.unwrap();
        tx.commit().await.unwrap();
    });
    has_its_say(&world, &remove).await;
    world.copying.let_go();
    remove.await.unwrap();
    copy.await.unwrap().unwrap();
    equal(&world, &["word 2", "word 3"]).await;
}

async fn row_4_a_lazy_copy_writes_no_value_that_was_overwritten<D: Sql>(db: Scratch<D>) {
    let world = start(db, Stage::Live).await;
    world.copying.hold();
    let reader = Arc::clone(&world);
    let read = tokio::spawn(async move { reader.notes.find(1).await });
    world.copying.reached().await;
    let write = save(&world, 1, "v2");
    has_its_say(&world, &write).await;
    world.copying.let_go();
    write.await.unwrap();
    // It was asked before the write was acknowledged, so both are right.
    let read = read.await.unwrap().unwrap();
    assert!(matches!(read.as_deref(), Some("word 1" | "v2")), "{read:?}");
    assert_eq!(world.notes.find(1).await.unwrap().as_deref(), Some("v2"));
    assert_eq!(world.words().await[1], ["v2"]);
}

async fn row_5_an_instance_still_at_off_writes_both<D: Sql>(db: Scratch<D>) {
    let world = start(db, Stage::Off).await;
    let other = Frozen::join(&world).await;
    world.migration.advance(Stage::DualWrite).await.unwrap();
    assert_eq!(other.stage(), Stage::Off, "it has not looked");
    let gates = gates(&world, Move::Advance(Stage::Shadow)).await;
    assert_eq!(gates, [Gate::Drained], "it has not acknowledged, so no backfill starts");
    other.save(2, "from the other").await;
    assert_eq!(world.words().await[1], ["from the other"]);
    other.leave().await;
    backfill(&world).await.unwrap().unwrap();
    equal(&world, &["word 1", "from the other", "word 3"]).await;
}

async fn row_6_a_backfill_counts_for_its_generation_alone<D: Sql>(db: Scratch<D>) {
    let world = start(db, Stage::DualWrite).await;
    world.copying.hold();
    let copy = backfill(&world);
    world.copying.reached().await;
    let migration = world.migration.clone();
    let back = tokio::spawn(async move { migration.step_back(Stage::Off).await });
    has_its_say(&world, &back).await;
    assert!(!back.is_finished(), "the copy holds the fence");
    world.copying.let_go();
    back.await.unwrap().unwrap();
    // The worker may have come to its end before the move got the fence; otherwise nothing is copied at
    // off, or for a generation that has passed.
    if let Err(refused) = copy.await.unwrap() {
        let expected = matches!(refused.kind(), ErrorKind::Blocked | ErrorKind::Conflict);
        assert!(expected, "{refused}");
    }
    world.save(1, "v2").await;
    world.migration.advance(Stage::DualWrite).await.unwrap();
    world.migration.advance(Stage::Shadow).await.unwrap();
    let gates = gates(&world, Move::Advance(Stage::Live)).await;
    assert!(gates.ends_with(&[Gate::Backfilled, Gate::Verified]), "{gates:?}");
    backfill(&world).await.unwrap().unwrap();
    equal(&world, &["v2", "word 2", "word 3"]).await;
}

async fn row_7_nobody_reads_old_when_new_alone_is_written<D: Sql>(db: Scratch<D>) {
    let world = start(db, Stage::DualWrite).await;
    backfill(&world).await.unwrap().unwrap();
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    world.migration.advance(Stage::Shadow).await.unwrap();
    // Reads of the stage before are over and acknowledged, so what follows is one of this stage.
    while gates(&world, Move::Advance(Stage::Live)).await.contains(&Gate::Drained) {
        tokio::task::yield_now().await;
    }
    world.reading.hold();
    let reader = Arc::clone(&world);
    let read = tokio::spawn(async move { reader.notes.find(1).await });
    world.reading.reached().await; // old is about to be read
    world.migration.advance(Stage::Live).await.unwrap();
    let blocked = world.migration.advance(Stage::RampDown).within(std::time::Duration::ZERO).await;
    assert!(blocked.unwrap_err().to_string().contains("[drained]"));
    world.reading.let_go();
    assert_eq!(read.await.unwrap().unwrap().as_deref(), Some("word 1"));
    world.migration.advance(Stage::RampDown).await.unwrap();
    world.migration.advance(Stage::Complete).await.unwrap();
}

async fn row_8_a_write_dropped_between_its_sides_leaves_nothing<D: Sql>(db: Scratch<D>) {
    let world = start(db, Stage::DualWrite).await;
    let mood = &world.new_mood;
    mood.store(HANGS, std::sync::atomic::Ordering::SeqCst);
    let write = save(&world, 1, "v2");
    world.hanging.notified().await; // old is written, new is not
    write.abort();
    assert!(write.await.unwrap_err().is_cancelled());
    mood.store(WORKS, std::sync::atomic::Ordering::SeqCst);
    // It left no lock behind, neither on the row nor on the stage.
    world.save(2, "after it").await;
    world.migration.advance(Stage::Shadow).await.unwrap();
    assert_eq!(world.words().await[0], ["word 1", "after it", "word 3"]);
    backfill(&world).await.unwrap().unwrap();
    equal(&world, &["word 1", "after it", "word 3"]).await;
}

async fn row_9_an_instance_past_its_lease_writes_under_the_stage_in_force<D: Sql>(db: Scratch<D>) {
    let world = start(db, Stage::Off).await;
    let other = Frozen::join(&world).await;
    // Its lease runs out while it stands still.
    let id = other.instance();
    world
        .db
        .execute(&format!("UPDATE dualwrite_instance SET expires_at = 0 WHERE id = '{id}'"))
        .await;
    world.migration.advance(Stage::DualWrite).await.unwrap();
    backfill(&world).await.unwrap().unwrap();
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    for stage in [Stage::Shadow, Stage::Live, Stage::RampDown, Stage::Complete] {
        world.migration.advance(stage).await.unwrap();
    }
    assert_eq!(other.stage(), Stage::Off, "it has not looked");
    other.save(1, "from the other").await;
    let [old, new] = world.words().await;
    assert_eq!(old[0], "word 1", "old is no longer written by anybody");
    assert_eq!(new[0], "from the other");
    other.leave().await;
}

async fn gates<D: Sql>(world: &World<D>, requested: Move) -> Vec<Gate> {
    let blockers = world.migration.readiness(requested).await.unwrap();
    let mut gates: Vec<Gate> = blockers.iter().map(|blocker| blocker.gate).collect();
    gates.dedup();
    gates
}

/// Another instance, which stands still except while it is told to do something: it lives in a runtime of
/// its own that nobody drives in between, as a process that was suspended.
struct Frozen<D: Sql> {
    driver: Arc<Mutex<tokio::runtime::Runtime>>,
    runtime: Runtime<D::Db>,
    migration: Migration,
    notes: DualNotes<Store<D>, Store<D>>,
    pool: Pool<D::Db>,
}

impl<D: Sql> Frozen<D> {
    async fn join(world: &Arc<World<D>>) -> Self {
        let driver = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let world = Arc::clone(world);
        spawn_blocking(move || {
            let (runtime, migration, pool) = driver.block_on(async {
                let pool = world.db.another_pool(2).await;
                let runtime = Runtime::builder(pool.clone()).start().await.unwrap();
                let migration = runtime.migration("notes").register().await.unwrap();
                (runtime, migration, pool)
            });
            let store = |table| Store {
                table,
                pool: pool.clone(),
                mood: Arc::default(),
                hanging: Arc::default(),
                reading: Hook::default(),
                removing: Hook::default(),
            };
            let notes = DualNotes::new(&migration, store("old_note"), store("new_note"));
            Self { driver: Arc::new(Mutex::new(driver)), runtime, migration, notes, pool }
        })
        .await
        .unwrap()
    }

    /// What it knows.
    fn stage(&self) -> Stage {
        self.migration.position().stage
    }

    fn instance(&self) -> &str {
        self.runtime.instance()
    }

    /// Nothing but this one write: its background work gets no turn before it.
    async fn save(&self, id: i64, word: &'static str) {
        let (migration, notes, pool) =
            (self.migration.clone(), self.notes.clone(), self.pool.clone());
        self.drive(async move {
            let mut tx = migration.begin(&pool).await.unwrap();
            notes.save(&mut tx, id, word).await.unwrap();
            tx.commit().await.unwrap();
        })
        .await;
    }

    async fn leave(self) {
        // Not dropped in here: a runtime blocks when it is.
        let Self { driver, runtime, pool, .. } = self;
        spawn_blocking(move || {
            driver.lock().unwrap().block_on(async move {
                runtime.shutdown().await.unwrap();
                pool.close().await;
            });
        })
        .await
        .unwrap();
    }

    async fn drive(&self, work: impl Future<Output = ()> + Send + 'static) {
        let driver = Arc::clone(&self.driver);
        spawn_blocking(move || driver.lock().unwrap().block_on(work)).await.unwrap();
    }
}
