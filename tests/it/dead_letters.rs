//! Dead letters: tried again by themselves, waived by name, gone when the key is copied.

use std::sync::atomic::Ordering::SeqCst;

use dualwrite::{CopySql, ErrorKind, Runtime, Side, Stage, copy::KeySource, defaults::RETRY_AFTER};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{CopyNotes, World, plain};
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(
    they_are_tried_again_without_anybody_asking,
    of_two_instances_one_tries,
    a_waived_key_lets_the_migration_go_on,
    a_waived_key_that_is_copied_after_all_loses_its_letter,
    a_raised_generation_takes_waivers_back,
    a_waiver_needs_a_letter_a_name_and_a_reason,
    a_backfill_of_the_next_generation_takes_letters_out,
    rows_that_refer_to_one_another_are_copied_in_one_go,
);

/// A world at dual write whose backfill is complete but for the key 7.
async fn world<D: Sql>(db: Scratch<D>) -> World<D> {
    let world = World::with(db, Stage::Off, 20, plain).await;
    world.save(7, "poison").await;
    world.migration.advance(Stage::DualWrite).await.unwrap();
    let done = world.migration.backfill().run().await.unwrap();
    assert_eq!((done.migrated, done.failed), (19, 1));
    world
}

/// As if the pause before the next try were over.
async fn come_due<D: Sql>(db: &Scratch<D>) {
    db.execute("UPDATE dualwrite_failure SET next_attempt_at = 1").await;
}

async fn attempts<D: Sql>(world: &World<D>) -> Option<u64> {
    world.migration.dead_letters().await.unwrap().first().map(|letter| letter.attempts)
}

async fn until_tried<D: Sql>(world: &World<D>, wanted: Option<u64>) {
    until("it is tried", async || attempts(world).await == wanted).await;
}

async fn they_are_tried_again_without_anybody_asking<D: Sql>(db: Scratch<D>) {
    let world = world(db).await;
    let letter = world.migration.dead_letters().await.unwrap().remove(0);
    let pause = letter.next_attempt_at.duration_since(letter.failed_at).unwrap();
    assert!((RETRY_AFTER..RETRY_AFTER * 2).contains(&pause), "{pause:?}");
    let calls = world.copies.load(SeqCst);
    come_due(&world.db).await;
    until_tried(&world, Some(2)).await;
    assert_eq!(world.copies.load(SeqCst), calls + 1);
    let again = world.migration.dead_letters().await.unwrap().remove(0);
    let pause = again.next_attempt_at.duration_since(again.failed_at).unwrap();
    assert!(pause > RETRY_AFTER, "twice as long: {pause:?}");

    world.db.execute("UPDATE old_note SET word = 'cured' WHERE id = 7").await;
    come_due(&world.db).await;
    until_tried(&world, None).await;
    let [old, new] = world.words().await;
    assert_eq!((old.len(), &old), (20, &new));
    assert_eq!(world.migration.status().await.unwrap().dead_letters, 0);
}

async fn of_two_instances_one_tries<D: Sql>(db: Scratch<D>) {
    let world = world(db).await;
    let copy = CopyNotes::<D>::new();
    let others = std::sync::Arc::clone(&copy.calls);
    let runtime = Runtime::builder(world.db.pool().clone()).start().await.unwrap();
    let second = runtime.migration("notes").backfill(copy).register().await.unwrap();
    let calls = world.copies.load(SeqCst);
    for round in 1..=4 {
        come_due(&world.db).await;
        world.migration.refresh().await.unwrap();
        second.refresh().await.unwrap();
        until_tried(&world, Some(round + 1)).await;
    }
    assert_eq!(world.copies.load(SeqCst) - calls + others.load(SeqCst), 4, "one try a round");
    // By hand, both at once: whoever finds it taken leaves it alone, and each try is counted.
    let both = [&world.migration, &second].map(|one| one.retry_dead_letters());
    for tried in futures_util::future::join_all(both).await {
        assert_eq!(tried.unwrap(), 0);
    }
    let calls = world.copies.load(SeqCst) - calls + others.load(SeqCst);
    assert_eq!(attempts(&world).await, Some(calls + 1));
}

async fn a_waived_key_lets_the_migration_go_on<D: Sql>(db: Scratch<D>) {
    let world = world(db).await;
    world.migration.advance(Stage::Shadow).await.unwrap();
    let blocked = world.migration.advance(Stage::Live).await.unwrap_err();
    assert!(blocked.to_string().contains("[dead_letters] 1 keys could not"), "{blocked}");
    let report = world.migration.verify().run().await.unwrap();
    assert_eq!((report.differing, report.waived, report.proven), (1, 0, false));

    let waived = world.migration.waive(&7_i64).by("ops").because("it is garbage").await;
    waived.unwrap();
    let letter = world.migration.dead_letters().await.unwrap().remove(0);
    let waiver = letter.waiver.unwrap();
    assert_eq!((waiver.actor.as_str(), waiver.reason.as_str()), ("ops", "it is garbage"));
    assert_eq!((letter.side, letter.key.as_str()), (Side::New, "7"));
    let status = world.migration.status().await.unwrap();
    assert_eq!((status.dead_letters, status.waived), (0, 1));

    let report = world.migration.verify().run().await.unwrap();
    assert_eq!((report.differing, report.waived, report.proven), (0, 1, true));
    // One more that nobody waived still blocks, and the reason tells of both.
    world.db.execute("INSERT INTO old_note (id, word) VALUES (90, 'poison')").await;
    let failed = world.migration.copy(&90_i64).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::CopyFailed);
    world
        .db
        .execute(
            "INSERT INTO dualwrite_failure (migration, side, key_text, generation, error, attempts, \
             failed_at, next_attempt_at) SELECT migration, side, '90', generation, error, attempts, \
             failed_at, next_attempt_at FROM dualwrite_failure",
        )
        .await;
    let blocked = world.migration.advance(Stage::Live).await.unwrap_err();
    assert!(blocked.to_string().contains("1 keys could not be copied (1 more are waived)"));
    world.migration.waive(&90_i64).by("ops").because("so is this").await.unwrap();
    world.migration.advance(Stage::Live).await.unwrap();
}

async fn a_waived_key_that_is_copied_after_all_loses_its_letter<D: Sql>(db: Scratch<D>) {
    let world = world(db).await;
    for way in ["by itself", "by hand", "alone"] {
        let failed = world.migration.dead_letters().await.unwrap();
        assert_eq!(failed.len(), 1, "{way}");
        world.migration.waive(&7_i64).by("ops").because("it is garbage").await.unwrap();
        world.db.execute("UPDATE old_note SET word = 'cured' WHERE id = 7").await;
        match way {
            "by itself" => {
                come_due(&world.db).await;
                until_tried(&world, None).await;
            }
            "by hand" => assert_eq!(world.migration.retry_dead_letters().await.unwrap(), 1),
            _ => assert!(world.migration.copy(&7_i64).await.unwrap()),
        }
        assert!(world.migration.dead_letters().await.unwrap().is_empty(), "{way}");
        let status = world.migration.status().await.unwrap();
        assert_eq!((status.dead_letters, status.waived), (0, 0));
        // The next round begins as the first, in a new generation.
        world.migration.step_back(Stage::Off).await.unwrap();
        world.db.execute("UPDATE old_note SET word = 'poison' WHERE id = 7").await;
        world.migration.advance(Stage::DualWrite).await.unwrap();
        assert_eq!(world.migration.backfill().run().await.unwrap().failed, 1);
    }
}

async fn a_raised_generation_takes_waivers_back<D: Sql>(db: Scratch<D>) {
    let world = world(db).await;
    world.migration.waive(&7_i64).by("ops").because("it is garbage").await.unwrap();
    // What fails again in the same generation is still waived.
    assert_eq!(world.migration.retry_dead_letters().await.unwrap(), 0);
    assert_eq!(world.migration.status().await.unwrap().waived, 1);
    world.migration.step_back(Stage::Off).await.unwrap();
    let status = world.migration.status().await.unwrap();
    assert_eq!((status.dead_letters, status.waived), (1, 0));
    assert_eq!(world.migration.dead_letters().await.unwrap()[0].waiver, None);
}

async fn a_waiver_needs_a_letter_a_name_and_a_reason<D: Sql>(db: Scratch<D>) {
    let world = world(db).await;
    let migration = &world.migration;
    let refused = [
        migration.waive(&8_i64).by("ops").because("not in the letters").await,
        migration.waive(&7_i64).by("ops").reverse().because("the other side").await,
        migration.waive(&7_i64).by("ops").await,
        migration.waive(&7_i64).by("ops").because(" ").await,
        migration.waive(&7_i64).by("").because("nobody").await,
        migration.waive(&7_i64).by("x".repeat(101)).because("a long name").await,
    ];
    for refused in refused {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    let wrong = migration.waive("7").by("ops").because("a text").await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::WrongKey);
    assert_eq!(migration.status().await.unwrap().dead_letters, 1);
    migration.waive(&7_i64).because("by the instance").await.unwrap();
    let waiver = migration.dead_letters().await.unwrap().remove(0).waiver.unwrap();
    assert!(waiver.actor.starts_with("instance "), "{waiver:?}");
}

async fn a_backfill_of_the_next_generation_takes_letters_out<D: Sql>(db: Scratch<D>) {
    let world = world(db).await;
    world.migration.step_back(Stage::Off).await.unwrap();
    world.save(7, "cured").await;
    // Only the backfill can take it out, the clock is an hour away.
    world.db.execute("UPDATE dualwrite_failure SET next_attempt_at = next_attempt_at * 2").await;
    world.migration.advance(Stage::DualWrite).await.unwrap();
    let done = world.migration.backfill().batch(3).run().await.unwrap();
    assert_eq!((done.migrated, done.failed), (20, 0));
    assert!(world.migration.dead_letters().await.unwrap().is_empty());
}

/// Each to the next, so that a backfill meets every row before the one that it refers to.
async fn rows_that_refer_to_one_another_are_copied_in_one_go<D: Sql>(db: Scratch<D>) {
    db.execute(
        "CREATE TABLE old_step (id BIGINT PRIMARY KEY, next_id BIGINT);
         CREATE TABLE new_step (id BIGINT PRIMARY KEY, next_id BIGINT, \
         FOREIGN KEY (next_id) REFERENCES new_step (id))",
    )
    .await;
    for id in 1..30 {
        db.execute(&format!("INSERT INTO old_step VALUES ({id}, {})", id + 1)).await;
    }
    db.execute("INSERT INTO old_step VALUES (30, NULL), (31, 99)").await;
    let copy = CopySql::<D::Db, i64>::new(KeySource::table("old_step").column("id"))
        .new_source(KeySource::table("new_step").column("id"))
        .copying("INSERT INTO new_step SELECT s.id, s.next_id FROM {rows} s");
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("steps").backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    let done = migration.backfill().batch(4).run().await.unwrap();
    assert!(done.complete && done.failed > 20, "{done:?}");
    migration.retry_dead_letters().await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM new_step").await, 30);
    let letters = migration.dead_letters().await.unwrap();
    let keys: Vec<&str> = letters.iter().map(|letter| letter.key.as_str()).collect();
    assert_eq!(keys, ["31"], "what it refers to is nowhere");
    runtime.shutdown().await.unwrap();
}
