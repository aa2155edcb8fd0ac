//! Futures that are dropped, at every await they have: a timeout, a client that hung up, a `select!`. No
//! lock, connection or half a write stays behind.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::Poll;
use std::time::Duration;

use dualwrite::{Percent, Runtime, Stage};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::hook::Hook;
use crate::support::notes::{CopyNotes, DualNotes, FAILS, Notes, Store, WORKS, World, lazy, plain};
use crate::support::sql::Sql;

on_all_databases!(
    a_dropped_write_is_in_both_or_in_none,
    a_dropped_move_is_made_or_not,
    a_dropped_backfill_goes_on_where_it_was,
    a_dropped_verification_and_repair_leave_nothing,
    a_dropped_write_gives_its_connection_back,
    a_dropped_lazy_read_gives_its_connection_back,
    four_hundred_cancelled_writes_leave_the_pool_whole,
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

/// Each time on a new connection, on which no statement was run before: so the call is dropped in the first run
/// of every statement, too.
async fn a_dropped_write_gives_its_connection_back<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    for mood in [WORKS, FAILS] {
        world.new_mood.store(mood, SeqCst);
        let mut ended = 0;
        for waits in 0..AWAITS_MAX {
            let pool = world.db.another_pool(1).await;
            let write = async {
                let mut tx = world.migration.begin(&pool).await.unwrap();
                world.notes.save(&mut tx, 1, "word").await.unwrap();
                tx.commit().await.unwrap();
            };
            ended += usize::from(dropped_after(waits, write).await.is_some());
            gives_back::<D>(&pool, 1).await;
            if ended == 3 {
                break;
            }
        }
        assert_eq!(ended, 3);
    }
}

async fn a_dropped_lazy_read_gives_its_connection_back<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Live, 200, lazy).await;
    let mut ended = 0;
    for waits in 0..AWAITS_MAX {
        let pool = world.db.another_pool(2).await;
        let runtime = Runtime::builder(pool.clone()).start().await.unwrap();
        let registration = runtime.migration("notes").backfill(CopyNotes::<D>::new()).lazy();
        let migration = registration.register().await.unwrap();
        let notes = DualNotes::new(
            &migration,
            store::<D>("old_note", &pool),
            store::<D>("new_note", &pool),
        );
        let id = waits as i64 % 200 + 1;
        ended += usize::from(dropped_after(waits, notes.find(id)).await.is_some());
        runtime.shutdown().await.unwrap();
        gives_back::<D>(&pool, 2).await;
        if ended == 3 {
            break;
        }
    }
    assert_eq!(ended, 3);
}

/// Some of them with a mirror that fails, all on one small pool, as a service has it.
async fn four_hundred_cancelled_writes_leave_the_pool_whole<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    let pool = world.db.another_pool(6).await;
    for round in 0..400_usize {
        world.new_mood.store(if round % 3 == 0 { FAILS } else { WORKS }, SeqCst);
        let write = async {
            let mut tx = world.migration.begin(&pool).await.unwrap();
            world.notes.save(&mut tx, round as i64, "word").await.unwrap();
            tx.commit().await.unwrap();
        };
        dropped_after(round * 31 % 23, write).await;
    }
    gives_back::<D>(&pool, 6).await;
}

fn store<D: Sql>(table: &'static str, pool: &sqlx::Pool<D::Db>) -> Store<D> {
    Store {
        table,
        pool: pool.clone(),
        mood: Arc::default(),
        hanging: Arc::default(),
        reading: Hook::default(),
        removing: Hook::default(),
    }
}

/// All connections of the pool can be had at once, and each answers what it is asked.
async fn gives_back<D: Sql>(pool: &sqlx::Pool<D::Db>, connections: usize) {
    let mut held = Vec::new();
    for number in 0..connections {
        let acquired = tokio::time::timeout(Duration::from_secs(20), pool.acquire()).await;
        held.push(acquired.unwrap_or_else(|_| panic!("connection {number} is gone")).unwrap());
    }
    drop(held);
    for _ in 0..connections {
        let rows = D::rows(pool, "SELECT 17 + 4").await.unwrap();
        assert_eq!(rows, [[Some("21".to_owned())]]);
    }
    pool.close().await;
}
