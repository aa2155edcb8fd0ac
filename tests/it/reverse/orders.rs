//! Orders that come while a reverse copy waits for writes in flight: one part is complete, and the next has not
//! begun.

use std::sync::Arc;
use std::time::Duration;

use dualwrite::{Error, ErrorKind, Stage, backfill::BackfillProgress};
use tokio::task::JoinHandle;

use super::complete;
use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::World;
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(
    a_cancel_while_it_waits_for_writes_holds,
    a_pause_between_two_parts_holds,
    an_order_between_the_first_two_parts_holds,
    a_rate_holds_for_all_parts,
    without_anything_under_way_there_is_no_order,
);

/// However it was set: before, or while no part runs.
async fn a_rate_holds_for_all_parts<D: Sql>(db: Scratch<D>) {
    let world = to_be_copied_back(db).await;
    let reverse = || world.migration.backfill().reverse();
    reverse().rate(4_000).run().await.unwrap();
    let rates = "SELECT DISTINCT coalesce(rate, 0) FROM dualwrite_backfill WHERE phase LIKE 'old%'";
    assert_eq!(world.db.number(rates).await, 4_000);
    assert!(!reverse().set_rate(Some(1), "ada", "tests").await.unwrap(), "it is complete");
    world.db.execute("DELETE FROM dualwrite_backfill WHERE phase = 'old'").await;
    assert!(reverse().set_rate(Some(3_000), "ada", "tests").await.unwrap());
    assert_eq!(reverse().run().await.unwrap().rate, Some(3_000));
    assert_eq!(world.db.number(rates).await, 3_000);
    world.db.execute("DELETE FROM dualwrite_backfill WHERE phase = 'old'").await;
    assert!(reverse().set_rate(None, "ada", "tests").await.unwrap());
    assert_eq!(reverse().rate(5).run().await.unwrap().rate, None);
}

type Copy = JoinHandle<Result<BackfillProgress, Error>>;

/// A migration at `RampDown` after `Complete`, where old lacks a note and has one too many.
async fn to_be_copied_back<D: Sql>(db: Scratch<D>) -> Arc<World<D>> {
    let world = Arc::new(complete(db, 5).await);
    world.save(50, "born in new").await;
    world.db.execute("DELETE FROM new_note WHERE id = 2").await;
    world.migration.rollback("x").await.unwrap();
    world
}

fn copy<D: Sql>(world: &World<D>) -> Copy {
    let migration = world.migration.clone();
    tokio::spawn(async move { migration.backfill().reverse().run().await })
}

/// As if the process had died right after this part.
async fn ended_before<D: Sql>(world: &World<D>, parts: &str) {
    world.migration.backfill().reverse().run().await.unwrap();
    let forget = format!("DELETE FROM dualwrite_backfill WHERE phase IN ({parts})");
    world.db.execute(&forget).await;
}

async fn is_held<D: Sql>(world: &World<D>) {
    let run = world.migration.backfill().reverse().run();
    assert!(tokio::time::timeout(Duration::from_millis(600), run).await.is_err());
}

async fn goes_on<D: Sql>(world: &World<D>) {
    let reverse = || world.migration.backfill().reverse();
    assert!(reverse().resume("ada", "tests").await.unwrap());
    let done = reverse().run().await.unwrap();
    assert!(done.complete && !done.paused && !done.cancelled);
    let [old, new] = world.words().await;
    assert_eq!((old.len(), old), (5, new));
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    world.migration.rollback("x").await.unwrap();
    assert_eq!(world.migration.position().stage, Stage::Shadow);
}

async fn a_cancel_while_it_waits_for_writes_holds<D: Sql>(db: Scratch<D>) {
    let world = to_be_copied_back(db).await;
    let running = match D::NAME {
        // A writer that holds it up would hold everything up.
        "sqlite" => {
            ended_before(&world, "'old'").await;
            assert!(world.migration.backfill().reverse().cancel("ada", "tests").await.unwrap());
            copy(&world)
        }
        _ => {
            let held = world.begin().await;
            let running = copy(&world);
            let copied = "SELECT count(*) FROM dualwrite_backfill WHERE phase = 'old_back' \
                          AND state = 'complete'";
            until("all of new is in old", async || world.db.number(copied).await > 0).await;
            assert!(world.migration.backfill().reverse().cancel("ada", "tests").await.unwrap());
            held.rollback().await.unwrap();
            running
        }
    };
    let halted = running.await.unwrap().unwrap_err();
    assert_eq!(halted.kind(), ErrorKind::Halted, "{halted}");
    let progress = world.migration.status().await.unwrap().backfill.unwrap();
    assert_eq!((progress.cancelled, progress.complete), (true, false));
    let blocked = world.migration.rollback("x").await.unwrap_err();
    assert!(blocked.to_string().contains("[copied_back]"), "{blocked}");
    goes_on(&world).await;
}

async fn a_pause_between_two_parts_holds<D: Sql>(db: Scratch<D>) {
    let world = to_be_copied_back(db).await;
    ended_before(&world, "'old'").await;
    let reverse = || world.migration.backfill().reverse();
    assert!(reverse().pause("ada", "tests").await.unwrap());
    assert!(reverse().pause("ada", "tests").await.unwrap(), "it is paused already, as ordered");
    let progress = world.migration.status().await.unwrap().backfill.unwrap();
    assert_eq!((progress.paused, progress.complete), (true, false));
    is_held(&world).await;
    assert_eq!(
        world.db.number("SELECT count(*) FROM dualwrite_backfill WHERE phase = 'old'").await,
        0,
        "the last part has not begun"
    );
    goes_on(&world).await;
    assert!(!reverse().pause("ada", "tests").await.unwrap(), "it is complete");
}

async fn an_order_between_the_first_two_parts_holds<D: Sql>(db: Scratch<D>) {
    let world = to_be_copied_back(db).await;
    ended_before(&world, "'old_back', 'old'").await;
    let reverse = || world.migration.backfill().reverse();
    assert!(reverse().pause("ada", "tests").await.unwrap());
    is_held(&world).await;
    // What is paused may be cancelled.
    assert!(reverse().cancel("ada", "tests").await.unwrap());
    assert_eq!(reverse().run().await.unwrap_err().kind(), ErrorKind::Halted);
    goes_on(&world).await;
}

async fn without_anything_under_way_there_is_no_order<D: Sql>(db: Scratch<D>) {
    let world = to_be_copied_back(db).await;
    let reverse = || world.migration.backfill().reverse();
    for order in 0..2 {
        assert!(!reverse().pause("ada", "tests").await.unwrap(), "{order}: before, and after");
        assert!(!reverse().cancel("ada", "tests").await.unwrap());
        assert!(!reverse().resume("ada", "tests").await.unwrap());
        assert!(
            !world.migration.backfill().pause("ada", "tests").await.unwrap(),
            "that was complete long ago"
        );
        assert!(reverse().run().await.unwrap().complete);
    }
}
