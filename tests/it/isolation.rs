//! The fence at every isolation level.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use dualwrite::{ErrorKind, Isolation, Migration, Runtime, Stage, Tx};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{CopyNotes, DualNotes, Notes, Store, World};
use crate::support::sql::Sql;

on_all_databases!(
    a_stage_change_waits_at_every_level,
    every_level_writes_under_the_stage_in_force,
    writers_and_a_changing_stage_never_meet_a_passed_one,
    a_conflict_says_that_it_may_be_tried_again,
    the_level_asked_for_holds_where_the_default_is_another,
);

const LEVELS: [Isolation; 3] =
    [Isolation::ReadCommitted, Isolation::RepeatableRead, Isolation::Serializable];

async fn a_stage_change_waits_at_every_level<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::Off, db).await;
    for (stage, level) in [Stage::DualWrite, Stage::Shadow, Stage::Live].into_iter().zip(LEVELS) {
        let mut tx = world.migration.begin_at(world.db.pool(), level).await.unwrap();
        let migration = world.migration.clone();
        let advance = tokio::spawn(async move { migration.advance(stage).await });
        for id in 0..60 {
            world.notes.save(&mut tx, id, "before").await.unwrap();
        }
        assert!(!advance.is_finished(), "{level:?}");
        tx.commit().await.unwrap();
        assert_eq!(advance.await.unwrap().unwrap().stage, stage, "{level:?}");
    }
}

async fn every_level_writes_under_the_stage_in_force<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::Off, db).await;
    for (stage, level) in [Stage::DualWrite, Stage::Shadow, Stage::Live].into_iter().zip(LEVELS) {
        // An instance that looks once an hour.
        let hour = Duration::from_secs(3600);
        let builder = Runtime::builder(world.db.pool().clone()).poll(hour).lease(hour * 4);
        let stale = builder.start().await.unwrap();
        let copy = CopyNotes::<D>::new();
        let registration = stale.migration("notes").backfill(copy).lazy();
        let elsewhere = registration.register().await.unwrap();
        world.migration.advance(stage).await.unwrap();
        let tx = elsewhere.begin_at(world.db.pool(), level).await.unwrap();
        assert_eq!(tx.position(&elsewhere).unwrap().stage, stage, "{level:?}");
        drop(tx);
        stale.shutdown().await.unwrap();
    }
}

async fn the_level_asked_for_holds_where_the_default_is_another<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    if D::NAME == "postgres" {
        let name = world.db.rows("SELECT current_database()").await.remove(0).remove(0).unwrap();
        let level = "SET default_transaction_isolation = 'serializable'";
        world.db.execute(&format!("ALTER DATABASE \"{name}\" {level}")).await;
    }
    let pool = world.db.another_pool(1).await;
    let session = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ";
    D::execute(&pool, D::sql("SELECT 1", "SELECT 1", session)).await.unwrap();
    world.save(1, "first").await;
    let count = "SELECT CAST(count(*) AS CHAR(9)) FROM old_note";
    for id in 2..5 {
        let level = Isolation::ReadCommitted;
        let mut tx = world.migration.begin_at(&pool, level).await.unwrap();
        let before = D::texts(&mut tx, count).await.unwrap();
        if D::NAME == "sqlite" {
            assert_eq!(before[0].trim(), (id - 1).to_string());
            tx.rollback().await.unwrap(); // it has a single writer
            world.save(id, "another").await;
        } else {
            world.save(id, "another").await;
            let after = D::texts(&mut tx, count).await.unwrap();
            assert_eq!(after[0].trim(), id.to_string(), "{before:?}");
            tx.commit().await.unwrap();
        }
    }
    if D::NAME == "postgres" {
        let mut tx = world.migration.begin(&pool).await.unwrap();
        let level = D::texts(&mut tx, "SHOW transaction_isolation").await.unwrap();
        assert_eq!(level, ["serializable"], "the usual level is the session's");
    }
}

/// Writers at all levels beside a stage that goes to and fro. Under `Off` a write goes to old alone, so
/// where the stage is `DualWrite` at the end, and everything since was written there, both are equal.
async fn writers_and_a_changing_stage_never_meet_a_passed_one<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::Off, db).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers = LEVELS.into_iter().enumerate().map(|(writer, level)| {
        let (migration, pool, stop) =
            (world.migration.clone(), world.db.pool().clone(), stop.clone());
        let notes = world.notes.clone();
        tokio::spawn(async move {
            let mut round = 0_i64;
            while !stop.load(SeqCst) {
                let id = writer as i64 * 1_000 + round % 7;
                match write(&migration, &pool, &notes, level, id, round).await {
                    Ok(()) => round += 1,
                    Err(error) => assert!(is_conflict(&error), "{level:?}: {error:?}"),
                }
            }
            round
        })
    });
    let writers: Vec<_> = writers.collect();
    for _ in 0..4 {
        world.migration.advance(Stage::DualWrite).await.unwrap();
        world.migration.step_back(Stage::Off).await.unwrap();
    }
    world.migration.advance(Stage::DualWrite).await.unwrap();
    stop.store(true, SeqCst);
    for writer in writers {
        assert!(writer.await.unwrap() > 0);
    }
    world.migration.backfill().run().await.unwrap();
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    let [old, new] = world.words().await;
    assert_eq!(old, new);
}

async fn write<D: Sql>(
    migration: &Migration,
    pool: &sqlx::Pool<D::Db>,
    notes: &DualNotes<Store<D>, Store<D>>,
    level: Isolation,
    id: i64,
    round: i64,
) -> Result<(), sqlx::Error> {
    let mut tx: Tx<'_, D::Db> = migration.begin_at(pool, level).await?;
    let stage = tx.position(migration).map(|position| position.stage);
    notes.save(&mut tx, id, &format!("{round}")).await?;
    assert_eq!(tx.position(migration).map(|position| position.stage), stage);
    tx.commit().await?;
    Ok(())
}

fn is_conflict(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    let ours = dualwrite::Error::find(error);
    code.is_some_and(|code| code == "40001" || code == "40P01")
        || ours.is_some_and(|error| error.is_retryable())
}

async fn a_conflict_says_that_it_may_be_tried_again<D: Sql>(db: Scratch<D>) {
    if D::NAME != "postgres" {
        return; // the others make the second writer wait instead
    }
    let world = World::at(Stage::DualWrite, db).await;
    world.save(1, "one").await;
    let level = Isolation::Serializable;
    let mut first = world.migration.begin_at(world.db.pool(), level).await.unwrap();
    let mut second = world.migration.begin_at(world.db.pool(), level).await.unwrap();
    for (tx, word) in [(&mut first, "first"), (&mut second, "second")] {
        D::texts(tx, "SELECT word FROM old_note").await.unwrap();
        let id = if word == "first" { 2 } else { 3 };
        world.notes.save(tx, id, word).await.unwrap();
    }
    first.commit().await.unwrap();
    let error = second.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Serialization, "{error:?}");
    assert!(error.is_retryable());
}
