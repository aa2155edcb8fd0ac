//! Futures that are dropped, at every await they have: a timeout, a client that hung up, a `select!`. No
//! lock, connection or half a write stays behind.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use dualwrite::{Percent, Stage};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{CopyNotes, Notes, World, plain};
use crate::support::sql::Sql;

on_all_databases!(
    a_dropped_write_is_in_both_or_in_none,
    a_dropped_move_is_made_or_not,
    a_dropped_backfill_goes_on_where_it_was,
    a_dropped_verification_and_repair_leave_nothing,
);

/// More awaits than any of the futures has; one that needs more never ends.
const AWAITS_MAX: usize = 3_000;

/// Drops a future when it has had to wait this often; `None` then.
async fn dropped_after<F: Future>(waits: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut waited = 0;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if waited == waits => Poll::Ready(None),
        Poll::Pending => {
            waited += 1;
            Poll::Pending
        }
    })
    .await
}

async fn a_dropped_write_is_in_both_or_in_none<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    let write = async |id: i64| {
        let mut tx = world.begin().await;
        world.notes.save(&mut tx, id, &format!("note {id}")).await.unwrap();
        tx.commit().await.unwrap();
    };
    let mut acknowledged = Vec::new();
    for waits in 0..AWAITS_MAX {
        let id = waits as i64;
        if dropped_after(waits, write(id)).await.is_some() {
            acknowledged.push(format!("note {id}"));
            if acknowledged.len() == 3 {
                break;
            }
        }
    }
    // Nothing is left that would hold this up.
    world.migration.advance(Stage::Shadow).await.unwrap();
    let [old, new] = world.words().await;
    assert_eq!(old, new);
    assert_eq!(acknowledged.len(), 3);
    assert!(acknowledged.iter().all(|word| old.contains(word)), "{acknowledged:?} {old:?}");
}

async fn a_dropped_move_is_made_or_not<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    let mut made = 0;
    for waits in 0..AWAITS_MAX {
        let ramp = Percent::from_basis_points((waits % 2) as u16).unwrap();
        let moved = dropped_after(waits, world.migration.ramp_to(ramp).into_future()).await;
        if let Some(position) = moved {
            assert_eq!(position.unwrap().ramp, ramp);
            made += 1;
            if made == 3 {
                break;
            }
        }
        if waits % 7 == 0 {
            world.save(1, "in between").await;
        }
    }
    assert_eq!(made, 3);
    world.migration.refresh().await.unwrap();
    world.migration.ramp_to(Percent::ZERO).await.unwrap();
    // What was made without anybody being told is in the audit all the same, in order.
    let events = world.migration.events().await.unwrap();
    assert!(events.windows(2).all(|pair| pair[0].epoch.0 == pair[1].epoch.0 + 1));
    world.migration.step_back(Stage::Off).await.unwrap();
}

async fn a_dropped_backfill_goes_on_where_it_was<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 12, plain).await;
    let mut last = None;
    for waits in 0..AWAITS_MAX {
        let lease = std::time::Duration::ZERO; // its ranges are free at once
        let backfill = world.migration.backfill().batch(2).lease(lease).run();
        if let Some(done) = dropped_after(waits * 3, backfill).await {
            last = Some(done.unwrap());
            break;
        }
    }
    let done = last.unwrap();
    assert_eq!((done.complete, done.migrated, done.skipped, done.failed), (true, 12, 0, 0));
    let [old, new] = world.words().await;
    assert_eq!(old, new);
    world.migration.advance(Stage::Shadow).await.unwrap();
}

async fn a_dropped_verification_and_repair_leave_nothing<D: Sql>(db: Scratch<D>) {
    let copy = CopyNotes::both_ways();
    let world = World::copying(db, Stage::DualWrite, 6, plain, copy).await;
    world.migration.backfill().run().await.unwrap();
    let mut verified = false;
    for waits in 0..AWAITS_MAX {
        let run = world.migration.verify().batch(2).checkpoint(1).run();
        if let Some(report) = dropped_after(waits, run).await {
            let report = report.unwrap();
            // Resumed, unless the one before was dropped while its end was on its way to the server.
            assert!(report.proven, "{report:?}");
            assert_eq!(report.compared, 6, "no key is left out, none is counted twice");
            verified = true;
            break;
        }
    }
    assert!(verified, "it did not come to its end");
    let mark = "INSERT INTO dualwrite_dirty (migration, side, key_text, marked_at) \
                VALUES ('notes', 'new', '3', 0)";
    world.db.execute(mark).await;
    for waits in 0..AWAITS_MAX {
        if dropped_after(waits, world.migration.repair()).await.is_some() {
            break;
        }
    }
    assert_eq!(world.db.number("SELECT count(*) FROM dualwrite_dirty").await, 0);
    assert!(dropped_after(AWAITS_MAX, world.migration.copy(&2_i64)).await.unwrap().unwrap());
    world.migration.advance(Stage::Shadow).await.unwrap();
    let [old, new] = world.words().await;
    assert_eq!(old, new);
}
