//! The end of a runtime: by a shutdown, by being dropped, or by the end of the runtime of tokio that it was started in.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dualwrite::{Error, ErrorKind, Migration, Runtime, Stage};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{Notes as _, World, plain};
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(
    after_a_shutdown_every_operation_says_so,
    after_the_runtime_is_dropped_every_operation_says_so,
    what_is_in_flight_ends_and_nothing_more_begins,
    a_backfill_under_way_ends_with_the_runtime,
    after_the_end_of_its_tokio_every_operation_says_so,
    outside_of_tokio_there_is_an_error,
    an_instance_that_leaves_waits_for_no_other_one,
    what_is_compared_outlives_the_tokio_of_its_caller,
);

fn ended(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::ShuttingDown, "{error:?}");
    assert!(!error.is_retryable());
}

async fn every_operation_has_ended<D: Sql>(world: &Ended<D>) {
    let migration = &world.migration;
    let read = world.notes.find(1).await.unwrap_err();
    ended(Error::find(&read).unwrap_or_else(|| panic!("{read:?}")));
    ended(&migration.begin(world.db.pool()).await.unwrap_err());
    ended(&migration.advance(Stage::Shadow).await.unwrap_err());
    ended(&migration.rollback("no").await.unwrap_err());
    ended(&migration.backfill().run().await.unwrap_err());
    ended(&migration.verify().run().await.unwrap_err());
    ended(&migration.verify().repair().run().await.unwrap_err());
    ended(&migration.copy(&1_i64).await.unwrap_err());
    ended(&migration.repair().await.unwrap_err());
    ended(&migration.retry_dead_letters().await.unwrap_err());
    ended(&migration.refresh().await.unwrap_err());
    ended(&migration.status().await.unwrap_err());
    ended(&migration.events().await.unwrap_err());
    ended(&migration.release_runs("0.9").await.unwrap_err());
    ended(&migration.backfill().start("ada", "now").await.unwrap_err());
    ended(&migration.backfill().pause("ada", "tests").await.unwrap_err());
}

/// A world without its runtime.
struct Ended<D: Sql> {
    db: Scratch<D>,
    migration: Migration,
    notes: crate::support::notes::DualNotes<
        crate::support::notes::Store<D>,
        crate::support::notes::Store<D>,
    >,
}

fn parts<D: Sql>(world: World<D>) -> (Runtime<D::Db>, Ended<D>) {
    let World { db, runtime, migration, notes, .. } = world;
    (runtime, Ended { db, migration, notes })
}

async fn after_a_shutdown_every_operation_says_so<D: Sql>(db: Scratch<D>) {
    let (runtime, world) = parts(World::with(db, Stage::DualWrite, 3, plain).await);
    runtime.shutdown().await.unwrap();
    every_operation_has_ended(&world).await;
    let alive = "SELECT count(*) FROM dualwrite_instance";
    assert_eq!(world.db.number(alive).await, 0, "it has taken itself out");
}

async fn after_the_runtime_is_dropped_every_operation_says_so<D: Sql>(db: Scratch<D>) {
    let (runtime, world) = parts(World::with(db, Stage::DualWrite, 3, plain).await);
    drop(runtime);
    // A round of the background may be under way, and holds it until its end.
    until("it has ended", async || world.notes.find(1).await.is_err()).await;
    every_operation_has_ended(&world).await;
}

async fn what_is_in_flight_ends_and_nothing_more_begins<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    let reading = world.reading.clone();
    let (runtime, world) = parts(world);
    let world = std::sync::Arc::new(world);
    let mut tx = world.migration.begin(world.db.pool()).await.unwrap();
    world.notes.save(&mut tx, 1, "in flight").await.unwrap();
    reading.hold();
    let own = std::sync::Arc::clone(&world);
    let read = tokio::spawn(async move { own.notes.find(2).await });
    reading.reached().await;
    let shutdown = tokio::spawn(runtime.shutdown());
    until("nothing more begins", async || world.notes.find(3).await.is_err()).await;
    ended(&world.migration.begin(world.db.pool()).await.unwrap_err());
    assert!(!shutdown.is_finished(), "it waits for what is in flight");
    tx.commit().await.unwrap();
    assert!(!read.is_finished());
    reading.let_go();
    assert_eq!(read.await.unwrap().unwrap().as_deref(), Some("word 2"), "it began before");
    shutdown.await.unwrap().unwrap();
    every_operation_has_ended(&world).await;
}

async fn a_backfill_under_way_ends_with_the_runtime<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 50, plain).await;
    world.copying.hold();
    let copying = world.copying.clone();
    let (runtime, world) = parts(world);
    let migration = world.migration.clone();
    let backfill = tokio::spawn(async move { migration.backfill().run().await });
    copying.reached().await;
    runtime.shutdown().await.unwrap();
    ended(&backfill.await.unwrap().unwrap_err());
}

async fn after_the_end_of_its_tokio_every_operation_says_so<D: Sql>(db: Scratch<D>) {
    let owner =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let world = owner.spawn(World::with(db, Stage::Shadow, 3, plain)).await.unwrap();
    assert_eq!(
        world.notes.find(1).await.unwrap().as_deref(),
        Some("word 1"),
        "compared, from here"
    );
    let World { db, migration, notes, runtime, .. } = world;
    owner.shutdown_background();
    let pool = db.another_pool(2).await;
    until("it has ended", async || {
        matches!(migration.begin(&pool).await, Err(error) if error.kind() == ErrorKind::ShuttingDown)
    })
    .await;
    let read = notes.find(1).await.unwrap_err();
    ended(Error::find(&read).unwrap_or_else(|| panic!("{read:?}")));
    ended(&migration.advance(Stage::Live).await.unwrap_err());
    drop((runtime, notes, migration));
}

/// Once, on a thread that tokio does not know.
fn polled<T: Send>(work: impl Future<Output = T> + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let polled = scope.spawn(|| {
            let mut work = pin!(work);
            match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(done) => Some(done),
                Poll::Pending => None,
            }
        });
        polled.join().expect("it does not panic")
    })
}

async fn outside_of_tokio_there_is_an_error<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Shadow, 3, plain).await;
    let outside = |error: Option<Error>| {
        let error = error.expect("an error");
        assert_eq!(error.kind(), ErrorKind::OutsideTokio, "{error:?}");
        assert!(!error.is_retryable());
    };
    let migration = &world.migration;
    outside(polled(migration.begin(world.db.pool())).and_then(Result::err));
    outside(polled(async { migration.advance(Stage::Live).await }).and_then(Result::err));
    outside(polled(migration.backfill().run()).and_then(Result::err));
    outside(polled(migration.verify().run()).and_then(Result::err));
    outside(polled(migration.copy(&1_i64)).and_then(Result::err));
    outside(polled(migration.repair()).and_then(Result::err));
    outside(polled(Runtime::builder(world.db.pool().clone()).start()).and_then(Result::err));
    world.runtime.shutdown().await.unwrap();
}

/// The comparison belongs to the runtime of tokio that the library was started in.
async fn what_is_compared_outlives_the_tokio_of_its_caller<D: Sql>(db: Scratch<D>) {
    let World { db: _db, runtime, migration, notes, .. } =
        World::with(db, Stage::Shadow, 1, plain).await;
    let compared = async || {
        let counters = migration.status().await.unwrap().counters;
        counters.shadow_equal + counters.shadow_different + counters.shadow_transient
    };
    // So that the pool has its connections.
    notes.find(1).await.unwrap();
    until("one is compared", async || compared().await == 1).await;
    let notes = std::thread::spawn(move || {
        let of_the_caller = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let read = of_the_caller.unwrap().block_on(notes.find(1));
        assert_eq!(read.unwrap().as_deref(), Some("word 1"));
        notes
    });
    let notes = tokio::task::spawn_blocking(|| notes.join()).await.unwrap().unwrap();
    until("the other is, too", async || compared().await == 2).await;
    drop(notes);
    runtime.shutdown().await.unwrap();
}

/// Of a fleet that is deployed anew every instance leaves while the others send their heartbeats.
async fn an_instance_that_leaves_waits_for_no_other_one<D: Sql>(db: Scratch<D>) {
    if D::NAME == "sqlite" {
        return; // there is one writer at a time, whoever it is
    }
    let hour = Duration::from_secs(3_600);
    let other = Runtime::builder(db.another_pool(3).await).poll(hour).lease(hour * 4);
    let other = other.start().await.unwrap();
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    other.migration("notes").register().await.unwrap();
    let own = other.instance().to_owned();
    let sql = "INSERT INTO dualwrite_plan (migration, version, plan, state, step, epoch, step_since, soak_skipped, \
               leader, leader_until, note) VALUES ('other', 1, '', 'paused', 0, 1, 0, 0, NULL, 0, '')";
    world.db.execute(sql).await;
    let (runtime, ended) = parts(world);
    let mut locking = ended.db.pool().begin().await.unwrap();
    for table in ["instance WHERE id", "acknowledgement WHERE instance"] {
        let sql = format!("SELECT 1 FROM dualwrite_{table} = '{own}' FOR UPDATE");
        D::run_on(&mut locking, &sql).await.unwrap();
    }
    let sql = "SELECT 1 FROM dualwrite_plan WHERE migration = 'other' FOR UPDATE";
    D::run_on(&mut locking, sql).await.unwrap();
    runtime.shutdown().await.unwrap();
    locking.rollback().await.unwrap();
    let alive = "SELECT count(*) FROM dualwrite_instance";
    assert_eq!(ended.db.number(alive).await, 1, "it has taken itself out");
    other.shutdown().await.unwrap();
}
