//! What the probes of a service answer, and the check after a deployment.

use std::time::Duration;

use dualwrite::{ErrorKind, Runtime, Stage, health::SmokeReport};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{FAILS, HANGS, Notes as _, PANICS, World, plain};
use crate::support::sql::Sql;
use crate::support::wait::{soon, until};

on_all_databases!(
    probes_follow_a_runtime_from_its_start_to_its_end,
    a_runtime_without_its_background_task_is_dead,
    a_smoke_test_passes_and_changes_nothing,
    a_smoke_test_names_each_thing_that_is_wrong,
);

const HOUR: Duration = Duration::from_secs(3600);

async fn probes_follow_a_runtime_from_its_start_to_its_end<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 1, plain).await;
    let pool = world.db.another_pool(4).await;
    let (builder, hands) = Runtime::builder(pool.clone()).manual_clock();
    let runtime = builder.lease(HOUR).poll(HOUR / 4).start().await.unwrap();
    let migration = runtime.migration("notes").register().await.unwrap();
    let probes = runtime.probes();
    assert_eq!((probes.liveness().http_status(), probes.readiness().http_status()), (200, 200));

    // Nobody has told it for the length of the lease that its positions still hold.
    let unready = soon("the lease has run out", async || {
        hands.advance(HOUR * 2);
        Some(probes.readiness()).filter(|probe| !probe.ok)
    })
    .await;
    assert_eq!(unready.http_status(), 503);
    assert!(unready.reasons[0].contains("the positions of notes are not known"), "{unready:?}");
    assert!(probes.liveness().ok, "another process would know no more");
    until("a heartbeat arrives", async || probes.readiness().ok).await;

    let held = migration.begin(&pool).await.unwrap();
    let shutdown = tokio::spawn(runtime.shutdown());
    until("it gets no more traffic", async || !probes.readiness().ok).await;
    assert_eq!(probes.readiness().reasons, ["this runtime is shutting down"]);
    assert!(probes.liveness().ok, "it ends by itself");
    held.rollback().await.unwrap();
    shutdown.await.unwrap().unwrap();
    drop(migration);
    until("it is gone", async || probes.readiness().reasons[0].contains("shut down or dropped"))
        .await;
    assert!(probes.liveness().ok);
}

async fn a_runtime_without_its_background_task_is_dead<D: Sql>(db: Scratch<D>) {
    let owner =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let world = owner.spawn(World::with(db, Stage::Shadow, 1, plain)).await.unwrap();
    let probes = world.runtime.probes();
    assert!(probes.liveness().ok);
    owner.shutdown_background();
    until("it is dead", async || !probes.liveness().ok).await;
    assert!(probes.liveness().reasons[0].contains("restart the process"), "{probes:?}");
    assert_eq!(probes.liveness(), probes.readiness());
}

fn failed(report: &SmokeReport) -> Vec<&'static str> {
    report.checks.iter().filter(|check| !check.passed).map(|check| check.name).collect()
}

async fn a_smoke_test_passes_and_changes_nothing<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 2, plain).await;
    world.migration.backfill().run().await.unwrap();
    let before = world.words().await;
    let report = world
        .migration
        .smoke(world.db.pool())
        .at(Stage::DualWrite)
        .read(world.notes.find(1))
        .write(|tx| {
            Box::pin(async {
                world.notes.save(tx, 1, "smoke").await?;
                Ok(())
            })
        })
        .run()
        .await;
    assert!(report.passed(), "{report}");
    let names: Vec<_> = report.checks.iter().map(|check| check.name).collect();
    let all = ["position", "release", "tables", "connections", "fence", "read", "write"];
    assert_eq!(names, all);
    assert!(report.to_string().contains("ok   write: it worked, and was rolled back"), "{report}");
    report.into_result().unwrap();
    assert_eq!(world.words().await, before);
    assert_eq!(world.migration.status().await.unwrap().dirty_old, 0);
}

async fn a_smoke_test_names_each_thing_that_is_wrong<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 1, plain).await;
    let smoke = || world.migration.smoke(world.db.pool());

    let report = smoke().at(Stage::Live).run().await;
    assert_eq!(failed(&report), ["position"], "{report}");
    let error = report.into_result().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SmokeFailed);
    assert!(error.to_string().contains("expected at live"), "{error}");

    world.old_mood.store(FAILS, std::sync::atomic::Ordering::SeqCst);
    let write = async || {
        let write = smoke().limit(Duration::from_secs(1)).write(|tx| {
            Box::pin(async {
                world.notes.save(tx, 1, "secret").await?;
                Ok(())
            })
        });
        write.run().await
    };
    let report = write().await;
    assert_eq!(failed(&report), ["write"], "{report}");
    assert!(!report.to_string().contains("secret"), "{report}");
    world.old_mood.store(HANGS, std::sync::atomic::Ordering::SeqCst);
    let report = write().await;
    assert_eq!(failed(&report), ["write"], "{report}");
    assert!(report.to_string().contains("write: no answer within 1s"), "{report}");

    world.old_mood.store(PANICS, std::sync::atomic::Ordering::SeqCst);
    let report = write().await;
    assert_eq!(failed(&report), ["write"], "{report}");

    let small = world.db.another_pool(1).await;
    let held = small.acquire().await.unwrap();
    let report = world.migration.smoke(&small).limit(Duration::from_secs(1)).run().await;
    assert_eq!(failed(&report), ["connections", "fence"], "{report}");
    drop(held);

    world.db.execute("DROP TABLE new_note").await;
    let report = smoke().run().await;
    assert_eq!(failed(&report), ["tables"], "{report}");
    assert!(report.to_string().contains("the old or the new table is missing"), "{report}");
}
