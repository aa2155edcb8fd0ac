//! Orders are idempotent: they do what they say, or nothing; and what cannot be read stands alone.

use std::time::Duration;

use dualwrite::{Runtime, Stage, operator::Operator};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{CopyNotes, World, plain};
use crate::support::operated::backfill;
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(
    a_start_that_is_refused_resumes_nothing,
    an_order_that_holds_already_is_no_error,
    what_was_cancelled_is_not_resumed_but_started,
    a_control_row_that_cannot_be_read_stands_alone,
);

/// Three heartbeats go out in it.
const LEASE: Duration = Duration::from_millis(1_500);

/// A backfill that is under way and slow.
async fn slow<D: Sql>(db: Scratch<D>) -> (World<D>, Operator) {
    let world = World::with(db, Stage::DualWrite, 400, plain).await;
    let operator = Operator::new(world.db.pool().clone());
    let orders = backfill(&operator, "notes").rate(1);
    assert!(orders.start("ada", "slowly").await.unwrap());
    until("it has begun", async || world.db.number("SELECT count(*) FROM new_note").await > 0)
        .await;
    (world, operator)
}

async fn is_paused<D: Sql>(world: &World<D>) -> bool {
    world.migration.status().await.unwrap().backfill.unwrap().paused
}

async fn a_start_that_is_refused_resumes_nothing<D: Sql>(db: Scratch<D>) {
    let (world, operator) = slow(db).await;
    assert!(backfill(&operator, "notes").pause().await.unwrap());
    assert!(is_paused(&world).await);
    assert!(
        !backfill(&operator, "notes").start("bob", "now").await.unwrap(),
        "it was started already"
    );
    assert!(!world.migration.backfill().start("eve", "now").await.unwrap());
    assert!(is_paused(&world).await, "a start that is refused changes nothing");
}

async fn an_order_that_holds_already_is_no_error<D: Sql>(db: Scratch<D>) {
    let (world, operator) = slow(db).await;
    let orders = || backfill(&operator, "notes");
    for _ in 0..2 {
        assert!(orders().pause().await.unwrap());
        assert!(world.migration.backfill().pause("ada", "tests").await.unwrap());
        assert!(is_paused(&world).await);
    }
    for _ in 0..2 {
        assert!(orders().resume().await.unwrap());
        assert!(!is_paused(&world).await);
    }
    for _ in 0..2 {
        assert!(orders().cancel().await.unwrap());
        assert!(world.migration.backfill().cancel("ada", "tests").await.unwrap());
    }
    assert!(!orders().pause().await.unwrap(), "what is cancelled does not run");
}

async fn what_was_cancelled_is_not_resumed_but_started<D: Sql>(db: Scratch<D>) {
    let (world, operator) = slow(db).await;
    let orders = || backfill(&operator, "notes");
    assert!(orders().cancel().await.unwrap());
    assert!(!orders().resume().await.unwrap(), "nobody would run it");
    let state = world.migration.status().await.unwrap().backfill.unwrap();
    assert!(state.cancelled, "an order that was not taken changes nothing");
    assert!(orders().start("ada", "after all").await.unwrap());
    assert!(orders().set_rate(None).await.unwrap());
    until("it is complete", async || {
        world.migration.status().await.unwrap().backfill.is_some_and(|found| found.complete)
    })
    .await;
}

async fn a_control_row_that_cannot_be_read_stands_alone<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    let other = world.runtime.migration("other").register().await.unwrap();
    other.advance(Stage::DualWrite).await.unwrap();
    let operator = Operator::new(world.db.pool().clone());
    let passing = Runtime::builder(world.db.pool().clone()).start().await.unwrap();
    passing.migration("strange").register().await.unwrap();
    passing.shutdown().await.unwrap();
    // As a release that knows more stages leaves it.
    world.db.execute("UPDATE dualwrite_migration SET stage = 77 WHERE name = 'strange'").await;
    let found = operator.migrations().await.unwrap();
    let names: Vec<&str> = found.iter().map(|one| &*one.name).collect();
    assert_eq!(names, ["notes", "other", "strange"]);
    let unreadable: Vec<bool> = found.iter().map(|one| one.unreadable.is_some()).collect();
    assert_eq!(unreadable, [false, false, true]);
    assert!(found[2].unreadable.as_ref().unwrap().contains("the number of a stage"), "{found:?}");
    assert!(found[1].position.contains("dual_write"), "{found:?}");
    // And the instance goes on with what it can read.
    assert_eq!(world.migration.status().await.unwrap().position.stage, Stage::DualWrite);
    let short = Runtime::builder(world.db.another_pool(3).await).lease(LEASE).poll(LEASE / 4);
    let short = short.start().await.unwrap();
    let copy = CopyNotes::<D>::new();
    let migration = short.migration("notes").backfill(copy).register().await.unwrap();
    let beat = format!("SELECT beat FROM dualwrite_instance WHERE id = '{}'", short.instance());
    let before = world.db.number(&beat).await;
    until("its lease is held on", async || {
        let answer = async || Ok::<i64, dualwrite::Error>(1);
        let read = migration.read("one", &1_i64).old(answer).new(answer);
        assert_eq!(read.run().await.unwrap(), 1);
        world.db.number(&beat).await > before + 6
    })
    .await;
    short.shutdown().await.unwrap();
    let moved = world.migration.advance(Stage::Shadow).await;
    assert!(moved.is_ok(), "{moved:?}");
    let refused = operator.migration("strange").await.unwrap_err();
    assert!(refused.to_string().contains("the number of a stage"), "{refused}");
}
