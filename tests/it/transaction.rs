//! `Tx`: what it refuses to commit, what a failed side does to the other, and what the fence holds up.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use dualwrite::{ErrorKind, MirrorPolicy, Runtime, Stage, Tx};
use futures_util::FutureExt;

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{
    CopyNotes, DualNotes, FAILS, HANGS, Notes, PANICS, Store, WORKS, World,
};
use crate::support::sql::Sql;

on_all_databases!(
    both_sides_or_none,
    a_failed_primary_write_cannot_be_committed,
    a_write_that_succeeds_does_not_heal_one_that_failed,
    a_failure_in_a_nested_transaction_spoils_only_that,
    a_failed_mirror_write_is_forgiven_and_repaired,
    a_failed_mirror_write_aborts_where_that_was_chosen,
    a_write_dropped_halfway_cannot_be_committed,
    a_panic_of_the_mirror_is_forgiven,
    a_panic_of_the_primary_reaches_the_caller,
    an_error_that_ended_the_transaction_is_not_committed_as_if_it_had_not,
    a_transaction_of_another_migration_is_refused,
    one_transaction_serves_several_migrations,
    a_stage_change_waits_for_writes_in_flight,
    a_stale_instance_writes_under_the_stage_in_force,
    one_connection_is_enough,
);

const NONE: [Vec<String>; 2] = [Vec::new(), Vec::new()];

fn both(words: &[&str]) -> [Vec<String>; 2] {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    [words.clone(), words]
}

async fn both_sides_or_none<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    let mut tx = world.begin().await;
    world.notes.save(&mut tx, 1, "dropped").await.unwrap();
    drop(tx);
    assert_eq!(world.words().await, NONE);
    let mut tx = world.begin().await;
    world.notes.save(&mut tx, 1, "kept").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.words().await, both(&["kept"]));
}

async fn a_failed_primary_write_cannot_be_committed<D: Sql>(db: Scratch<D>) {
    for stage in [Stage::Off, Stage::DualWrite] {
        let db = D::fresh("a failed primary write").await.unwrap_or_else(|| unreachable!());
        let world = World::at(stage, db).await;
        let mut tx = world.begin().await;
        world.notes.save(&mut tx, 1, "before").await.unwrap();
        world.old_mood.store(FAILS, SeqCst);
        world.notes.save(&mut tx, 2, "fails").await.unwrap_err();
        let error = tx.commit().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Poisoned);
        assert!(error.to_string().contains("nothing was committed"), "{error}");
        assert_eq!(world.words().await, NONE);
    }
    drop(db);
}

async fn a_write_that_succeeds_does_not_heal_one_that_failed<D: Sql>(db: Scratch<D>) {
    let world =
        World::with(db, Stage::DualWrite, 0, |r| r.lazy().mirror(MirrorPolicy::Abort)).await;
    world.new_mood.store(PANICS, SeqCst);
    let mut tx = world.begin().await;
    // Old is written, new is not; and the caller does not care.
    world.notes.save(&mut tx, 1, "one").await.unwrap_err();
    world.new_mood.store(WORKS, SeqCst);
    world.notes.save(&mut tx, 2, "two").await.unwrap();
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(world.words().await, NONE);
}

async fn a_failure_in_a_nested_transaction_spoils_only_that<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    let mut tx = world.begin().await;
    world.notes.save(&mut tx, 1, "outer").await.unwrap();
    world.old_mood.store(FAILS, SeqCst);
    let mut nested = tx.begin().await.unwrap();
    world.notes.save(&mut nested, 2, "fails").await.unwrap_err();
    assert_eq!(nested.commit().await.unwrap_err().kind(), ErrorKind::Poisoned);
    world.old_mood.store(WORKS, SeqCst);
    let mut nested = tx.begin().await.unwrap();
    world.notes.save(&mut nested, 3, "nested").await.unwrap();
    nested.commit().await.unwrap();
    world.notes.save(&mut tx, 4, "after").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.words().await, both(&["outer", "nested", "after"]));
}

async fn a_failed_mirror_write_is_forgiven_and_repaired<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    let mut tx = world.begin().await;
    world.notes.save(&mut tx, 1, "one").await.unwrap();
    world.new_mood.store(FAILS, SeqCst);
    world.notes.save(&mut tx, 2, "two").await.unwrap();
    world.notes.save(&mut tx, 3, "three").await.unwrap();
    world.new_mood.store(WORKS, SeqCst);
    world.notes.save(&mut tx, 4, "four").await.unwrap();
    // Until it commits, nobody else sees the marks, so nobody repairs too early.
    tx.commit().await.unwrap();
    world.migration.repair().await.unwrap();
    assert_eq!(world.words().await, both(&["one", "two", "three", "four"]));
    let status = world.migration.status().await.unwrap();
    assert_eq!((status.dirty_new, status.dirty_old), (0, 0));
    assert_eq!(status.counters.mirror_failed, 2);
    assert!(status.counters.dirty_repaired >= 2, "the runtime may have repaired them, too");
}

async fn a_failed_mirror_write_aborts_where_that_was_chosen<D: Sql>(db: Scratch<D>) {
    let world =
        World::with(db, Stage::DualWrite, 0, |r| r.lazy().mirror(MirrorPolicy::Abort)).await;
    world.new_mood.store(FAILS, SeqCst);
    let mut tx = world.begin().await;
    world.notes.save(&mut tx, 1, "one").await.unwrap_err();
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(world.words().await, NONE);
}

async fn a_write_dropped_halfway_cannot_be_committed<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    let mut tx = world.begin().await;
    world.new_mood.store(HANGS, SeqCst);
    tokio::select! {
        _ = world.notes.save(&mut tx, 1, "half") => unreachable!("new hangs"),
        () = world.hanging.notified() => {}
    }
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(world.words().await, NONE);
}

async fn a_panic_of_the_mirror_is_forgiven<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    world.new_mood.store(PANICS, SeqCst);
    let mut tx = world.begin().await;
    world.notes.save(&mut tx, 1, "one").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.db.number("SELECT count(*) FROM old_note").await, 1);
    world.migration.repair().await.unwrap();
    assert_eq!(world.words().await, both(&["one"]));
}

async fn a_panic_of_the_primary_reaches_the_caller<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    world.old_mood.store(PANICS, SeqCst);
    let mut tx = world.begin().await;
    let save = AssertUnwindSafe(world.notes.save(&mut tx, 1, "one")).catch_unwind();
    assert!(save.await.is_err());
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(world.words().await, NONE);
}

async fn an_error_that_ended_the_transaction_is_not_committed_as_if_it_had_not<D: Sql>(
    db: Scratch<D>,
) {
    let world = World::at(Stage::DualWrite, db).await;
    let mut tx = world.begin().await;
    world.notes.save(&mut tx, 1, "one").await.unwrap();
    // The service's own statement fails, and it does not look.
    let _ = D::run(&mut tx, "INSERT INTO old_note (id, word) VALUES (2, NULL)").await;
    let committed = tx.commit().await;
    match D::NAME {
        "postgres" => {
            assert_eq!(committed.unwrap_err().kind(), ErrorKind::Poisoned);
            assert_eq!(world.words().await, NONE);
        }
        _ => {
            committed.unwrap();
            assert_eq!(world.words().await, both(&["one"]));
        }
    }
}

async fn a_transaction_of_another_migration_is_refused<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    let other = world.runtime.migration("other").register().await.unwrap();
    let mut tx = other.begin(world.db.pool()).await.unwrap();
    let error = world.notes.save(&mut tx, 1, "one").await.unwrap_err();
    let error = dualwrite::Error::find(&error).unwrap();
    assert_eq!(error.kind(), ErrorKind::NotPinned);
    assert!(error.to_string().contains("migration.begin(&pool)"), "{error}");
}

async fn one_transaction_serves_several_migrations<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    let other = world.runtime.migration("other").register().await.unwrap();
    let mut tx = Tx::begin_for(world.db.pool(), &[&other, &world.migration]).await.unwrap();
    assert_eq!(tx.position(&other).unwrap().stage, Stage::Off);
    assert_eq!(tx.position(&world.migration).unwrap().stage, Stage::DualWrite);
    world.notes.save(&mut tx, 1, "one").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.words().await, both(&["one"]));
}

async fn a_stage_change_waits_for_writes_in_flight<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::Off, db).await;
    let mut tx = world.begin().await;
    let advance = {
        let migration = world.migration.clone();
        tokio::spawn(async move { migration.advance(Stage::DualWrite).await })
    };
    // Whatever the change could do in the time of a hundred statements, it does not do it.
    for id in 0..100 {
        world.notes.save(&mut tx, id, "under off").await.unwrap();
    }
    assert!(!advance.is_finished());
    assert_eq!(world.migration.refresh().await.unwrap().stage, Stage::Off);
    tx.commit().await.unwrap();
    advance.await.unwrap().unwrap();
    let tx = world.begin().await;
    assert_eq!(tx.position(&world.migration).unwrap().stage, Stage::DualWrite);
}

async fn a_stale_instance_writes_under_the_stage_in_force<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::Off, db).await;
    // An instance that looks once an hour.
    let hour = Duration::from_secs(3600);
    let builder = Runtime::builder(world.db.pool().clone()).poll(hour).lease(hour * 4);
    let stale = builder.start().await.unwrap();
    let elsewhere = stale.migration("notes").register().await.unwrap();
    world.migration.advance(Stage::DualWrite).await.unwrap();
    let tx = elsewhere.begin(world.db.pool()).await.unwrap();
    assert_eq!(tx.position(&elsewhere).unwrap().stage, Stage::DualWrite);
}

async fn one_connection_is_enough<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    let pool = world.db.another_pool(1).await;
    let runtime = Runtime::builder(pool.clone()).start().await.unwrap();
    let copy = CopyNotes::<D>::new();
    let migration = runtime.migration("notes").backfill(copy).lazy().register().await.unwrap();
    let store = |table| Store::<D> {
        table,
        pool: pool.clone(),
        mood: Arc::default(),
        hanging: Arc::default(),
        reading: crate::support::hook::Hook::default(),
        removing: crate::support::hook::Hook::default(),
    };
    let notes = DualNotes::new(&migration, store("old_note"), store("new_note"));
    let mut tx = migration.begin(&pool).await.unwrap();
    notes.save(&mut tx, 1, "one").await.unwrap();
    tx.commit().await.unwrap();
    migration.backfill().run().await.unwrap();
    migration.advance(Stage::Shadow).await.unwrap();
    migration.advance(Stage::Live).await.unwrap();
    assert_eq!(notes.find(1).await.unwrap().as_deref(), Some("one"));
    runtime.shutdown().await.unwrap();
}
