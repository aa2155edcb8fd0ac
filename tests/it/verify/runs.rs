//! How a verification runs: resumed, superseded, sampled, repeated, in its generation.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use dualwrite::{ErrorKind, Percent, Stage, backfill::Throttle};

use super::people::{CopyPeople, People, Way, World, write_on};
use crate::support::db::{Scratch, on_all_databases};

/// Runs a future where nothing can be awaited.
fn here<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

/// A hook for between two chunks that acts once.
fn once(act: impl Fn() + Send + Sync + 'static) -> Throttle {
    let done = AtomicBool::new(false);
    Throttle::default().when(move || {
        if !done.swap(true, SeqCst) {
            act();
        }
        None
    })
}

async fn goes_on_after_a_crash<D: People>(db: Scratch<D>) {
    let copy = CopyPeople::<D, i64>::new(Way::Asked);
    let (pages, fails) = (Arc::clone(&copy.pages), Arc::clone(&copy.fails));
    let world = World::new(db, 50, copy).await;
    world.plant("new_person", 3, "a = 'x'").await;
    // Two pages, and the look at what the first one found; then it breaks down.
    fails.store(true, SeqCst);
    let broken = world.migration.verify().batch(10).checkpoint(1).run().await.unwrap_err();
    assert_eq!(broken.kind(), ErrorKind::CopyFailed);
    let half = world.migration.status().await.unwrap().verification.unwrap();
    assert_eq!((half.compared, half.different, half.proven), (10, 1, false));

    pages.store(100, SeqCst);
    let report = world.migration.verify().batch(10).checkpoint(1).run().await.unwrap();
    assert!(report.resumed && !report.proven);
    assert_eq!((report.compared, report.keys.clone()), (50, vec!["21".to_owned()]));
    assert_eq!(pages.load(SeqCst), 100 + 4, "four pages are left");

    // It is complete now, so the next one begins anew; and so does one that is told to.
    world.migration.verify().repair().run().await.unwrap();
    let report = world.migration.verify().batch(10).run().await.unwrap();
    assert!(!report.resumed && report.proven && report.compared == 50);
    pages.store(1, SeqCst);
    world.migration.verify().batch(10).checkpoint(1).run().await.unwrap_err();
    let report = world.migration.verify().batch(10).restart().run().await.unwrap();
    assert!(!report.resumed && report.proven && report.compared == 50);
}

async fn another_generation_is_not_stamped<D: People>(db: Scratch<D>) {
    let world = World::new(db, 50, CopyPeople::<D, i64>::new(Way::Sql)).await;
    let migration = world.migration.clone();
    let raised = once(move || {
        here(async {
            migration.step_back(Stage::Off).await.unwrap();
            migration.advance(Stage::DualWrite).await.unwrap();
        });
    });
    let run = world.migration.verify().batch(10).throttle(raised).run().await;
    assert_eq!(run.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(world.migration.status().await.unwrap().verified, None);
    let report = world.migration.verify().batch(10).run().await.unwrap();
    assert!(!report.resumed, "of another generation");
    assert_eq!((report.generation, report.proven), (2, true));
    let status = world.migration.status().await.unwrap();
    assert_eq!(status.verified.map(|generation| generation.0), Some(2));
    assert_eq!(status.verification, Some(report));
}

async fn the_newer_of_two_runs_wins<D: People>(db: Scratch<D>) {
    let world = World::new(db, 50, CopyPeople::<D, i64>::new(Way::Sql)).await;
    let migration = world.migration.clone();
    let second = once(move || {
        let report = here(migration.verify().batch(10).run()).unwrap();
        assert!(report.proven);
    });
    let run = world.migration.verify().batch(10).checkpoint(1).throttle(second).run().await;
    assert_eq!(run.unwrap_err().kind(), ErrorKind::LeaseLost);
}

async fn waits_while_it_is_paused<D: People>(db: Scratch<D>) {
    let world = World::new(db, 30, CopyPeople::<D, i64>::new(Way::Sql)).await;
    assert!(!world.migration.verify().pause().await.unwrap(), "there was none yet");
    let migration = world.migration.clone();
    let pausing = once(move || {
        assert!(here(migration.verify().pause()).unwrap());
    });
    let mut run =
        Box::pin(world.migration.verify().batch(10).checkpoint(1).throttle(pausing).run());
    // It ends after it was resumed, and not before; nobody resumes it but us.
    let resumed = async {
        loop {
            let seen = world.migration.status().await.unwrap().verification;
            if seen.is_some_and(|report| report.compared == 20) {
                assert!(world.migration.verify().resume().await.unwrap());
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        _ = &mut run => panic!("it did not wait"),
        () = resumed => {}
    }
    assert!(run.await.unwrap().proven);
}

async fn ends_when_it_is_cancelled_and_goes_on_when_it_is_resumed<D: People>(db: Scratch<D>) {
    let world = World::new(db, 50, CopyPeople::<D, i64>::new(Way::Sql)).await;
    world.plant("new_person", 3, "a = 'x'").await;
    assert!(!world.migration.verify().cancel().await.unwrap(), "there is none yet");
    let migration = world.migration.clone();
    let cancelling = once(move || {
        assert!(here(migration.verify().cancel()).unwrap());
    });
    let run = world.migration.verify().batch(10).checkpoint(1).throttle(cancelling).run().await;
    assert_eq!(run.unwrap_err().kind(), ErrorKind::Halted);
    let again = world.migration.verify().batch(10).checkpoint(1).run().await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Halted);
    assert!(again.to_string().contains("`resume` it, and `run` it again"), "{again}");
    assert!(world.migration.verify().resume().await.unwrap());
    let report = world.migration.verify().batch(10).checkpoint(1).run().await.unwrap();
    assert!(report.resumed);
    assert_eq!((report.compared, report.keys), (50, vec!["21".to_owned()]));
    assert!(!world.migration.verify().cancel().await.unwrap(), "it is complete");
    world.migration.verify().repair().run().await.unwrap();
    assert!(world.migration.verify().run().await.unwrap().proven);
}

async fn a_column_that_is_altered_meanwhile_proves_nothing<D: People>(db: Scratch<D>) {
    let world = World::new(db, 30, CopyPeople::<D, i64>::new(Way::Sql)).await;
    let pool = world.db.pool().clone();
    let altering = once(move || {
        let alter = D::sql(
            "ALTER TABLE new_person RENAME COLUMN a TO z; ALTER TABLE new_person ADD COLUMN a BLOB",
            "ALTER TABLE new_person ALTER COLUMN a TYPE CHAR(60)",
            "ALTER TABLE new_person MODIFY a VARBINARY(60)",
        );
        here(D::execute(&pool, alter)).unwrap();
    });
    let run = world.migration.verify().batch(10).throttle(altering).run().await.unwrap_err();
    assert_eq!(run.kind(), ErrorKind::Conflict, "{run}");
    assert!(run.to_string().contains("altered"), "{run}");
    assert_eq!(world.migration.status().await.unwrap().verified, None);
}

async fn several_workers_go_on_where_the_last_ones_ended<D: People>(db: Scratch<D>) {
    let world = World::new(db, 95, CopyPeople::<D, i64>::new(Way::Sql)).await;
    for number in [3, 42, 95] {
        world.plant("new_person", number, "a = 'x'").await;
    }
    let migration = world.migration.clone();
    let cancelling = once(move || {
        assert!(here(migration.verify().cancel()).unwrap());
    });
    let verification = || world.migration.verify().batch(10).checkpoint(1).workers(4);
    let ended = verification().throttle(cancelling).run().await.unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::Halted);
    let half = world.migration.status().await.unwrap().verification.unwrap();
    assert!((10..95).contains(&half.compared), "{half:?}");
    assert!(world.migration.verify().resume().await.unwrap());
    let report = verification().run().await.unwrap();
    assert!(report.resumed && !report.proven);
    let keys = [3_u32, 42, 95].map(World::<D, i64>::key);
    assert_eq!((report.compared, report.keys), (95, keys.to_vec()));
}

async fn moving_rows_are_no_differences<D: People>(db: Scratch<D>) {
    moving::<D>(db, Way::Sql).await;
}

async fn moving_rows_are_no_differences_in_rust<D: People>(db: Scratch<D>) {
    moving::<D>(db, Way::Rust).await;
}

async fn moving_rows_are_no_differences_asked<D: People>(db: Scratch<D>) {
    moving::<D>(db, Way::Asked).await;
}

async fn moving<D: People>(db: Scratch<D>, way: Way) {
    let world = World::new(db, 60, CopyPeople::<D, i64>::new(way)).await;
    let stop = Arc::<AtomicBool>::default();
    let writers: Vec<_> = [1..30, 30..61]
        .into_iter()
        .map(|rows| {
            let (migration, pool) = (world.migration.clone(), world.db.pool().clone());
            tokio::spawn(write_on::<D, i64>(migration, pool, rows, Arc::clone(&stop)))
        })
        .collect();
    for round in 0..10 {
        let verification = world.migration.verify().batch(7).workers(1 + round % 3);
        let report = verification.run().await.unwrap();
        assert!(report.proven && report.is_clean(), "{report:?}");
    }
    stop.store(true, SeqCst);
    for writer in writers {
        assert!(writer.await.unwrap() > 0);
    }
}

async fn empty_tables_and_single_rows<D: People>(db: Scratch<D>) {
    let world = World::new(db, 0, CopyPeople::<D, i64>::new(Way::Sql)).await;
    let report = world.migration.verify().run().await.unwrap();
    assert_eq!((report.compared, report.proven), (0, true));
    world.db.execute("INSERT INTO old_person VALUES (1, 'a', NULL, 1)").await;
    for batch in [1, 2, 10_000] {
        let report = world.migration.verify().batch(batch).run().await.unwrap();
        assert_eq!((report.compared, report.missing_in_new, report.proven), (1, 1, false));
        world.db.execute("INSERT INTO new_person VALUES (1, 'a', NULL, '1')").await;
        let report = world.migration.verify().batch(batch).run().await.unwrap();
        assert_eq!((report.compared, report.proven), (1, true));
        world.db.execute("DELETE FROM old_person").await;
        let report = world.migration.verify().batch(batch).run().await.unwrap();
        assert_eq!((report.compared, report.missing_in_old), (1, 1));
        let did = world.migration.verify().batch(batch).repair().run().await.unwrap();
        assert_eq!((did.copied, did.removed), (0, 1));
        assert_eq!(world.db.number("SELECT count(*) FROM new_person").await, 0);
        world.db.execute("INSERT INTO old_person VALUES (1, 'a', NULL, 1)").await;
    }
}

async fn many_orphans_are_compared_in_chunks<D: People>(db: Scratch<D>) {
    let world = World::new(db, 40, CopyPeople::<D, i64>::new(Way::Sql)).await;
    world.db.execute("DELETE FROM old_person WHERE id > 70").await;
    let report = world.migration.verify().batch(4).run().await.unwrap();
    assert_eq!((report.compared, report.missing_in_old), (40, 30));
    let did = world.migration.verify().batch(4).repair().run().await.unwrap();
    assert_eq!((did.compared, did.removed), (40, 30));
    assert!(world.migration.verify().batch(4).run().await.unwrap().proven);
}

async fn a_sample_is_quick_and_proves_nothing<D: People>(db: Scratch<D>) {
    let world = World::new(db, 100, CopyPeople::<D, i64>::new(Way::Sql)).await;
    let sampled =
        |percent| world.migration.verify().batch(2).sample(Percent::new(percent).unwrap());
    let report = sampled(40).run().await.unwrap();
    assert!((20..=60).contains(&report.compared), "{}", report.compared);
    assert_eq!(sampled(40).run().await.unwrap().compared, report.compared, "the same chunks");
    assert_eq!(sampled(0).run().await.unwrap().compared, 0);
    let all = sampled(100).run().await.unwrap();
    assert_eq!((all.compared, all.proven, all.sample), (100, false, Some(10_000)));
    assert_eq!(world.migration.status().await.unwrap().verified, None);
}

async fn repeats_until_told_otherwise<D: People>(db: Scratch<D>) {
    let world = World::new(db, 3, CopyPeople::<D, i64>::new(Way::Sql)).await;
    let mut results = 0;
    let verify = world.migration.verify();
    let told = verify.every(Duration::ZERO, |result| {
        results += 1;
        assert!(result.unwrap().proven);
        if results == 3 { ControlFlow::Break("enough") } else { ControlFlow::Continue(()) }
    });
    assert_eq!(told.await, "enough");
    world.migration.advance(Stage::Shadow).await.unwrap();
}

async fn a_repair_never_goes_over_a_newer_write<D: People>(db: Scratch<D>) {
    let mut copy = CopyPeople::<D, i64>::new(Way::Rust);
    let (pool, seen) = (db.pool().clone(), Arc::new(AtomicU64::new(0)));
    let calls = Arc::clone(&seen);
    // While the row is compared for the first time, without a lock, somebody writes both sides.
    copy.seen = Arc::new(move |a| {
        if a == "planted" && calls.fetch_add(1, SeqCst) == 0 {
            here(async {
                D::execute(&pool, "UPDATE old_person SET a = 'newer' WHERE id = 7").await.unwrap();
                D::execute(&pool, "UPDATE new_person SET a = 'newer' WHERE id = 7").await.unwrap();
            });
        }
    });
    let world = World::new(db, 20, copy).await;
    world.plant("old_person", 1, "a = 'planted'").await;
    let did = world.migration.verify().repair().run().await.unwrap();
    assert_eq!((did.copied, did.removed, did.already_equal), (0, 0, 1), "{did:?}");
    let rows = world.db.rows("SELECT a FROM new_person WHERE id = 7").await;
    assert_eq!(rows, [[Some("newer".to_owned())]]);
    assert_eq!(seen.load(SeqCst), 1);
}

async fn transient_differences_are_counted_apart<D: People>(db: Scratch<D>) {
    let mut copy = CopyPeople::<D, i64>::new(Way::Rust);
    let pool = db.pool().clone();
    copy.seen = Arc::new(move |a| {
        if a == "planted" {
            here(async {
                D::execute(&pool, "UPDATE old_person SET a = 'a 1' WHERE id = 7").await.unwrap();
            });
        }
    });
    let world = World::new(db, 20, copy).await;
    world.plant("old_person", 1, "a = 'planted'").await;
    let report = world.migration.verify().run().await.unwrap();
    assert_eq!((report.transient, report.differing, report.proven), (1, 0, true), "{report:?}");
}

async fn what_cannot_be_copied_is_named<D: People>(db: Scratch<D>) {
    let world = World::new(db, 5, CopyPeople::<D, i64>::new(Way::Sql)).await;
    world.plant("old_person", 2, "a = 'unlike'").await;
    let refusal = D::sql(
        "CREATE TRIGGER refuse BEFORE INSERT ON new_person BEGIN SELECT RAISE(ABORT, 'no'); END",
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'no'; END $$; \
         CREATE TRIGGER refuse BEFORE INSERT ON new_person FOR EACH ROW EXECUTE FUNCTION refuse()",
        "CREATE TRIGGER refuse BEFORE INSERT ON new_person FOR EACH ROW \
         SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'",
    );
    world.db.execute(refusal).await;
    let did = world.migration.verify().repair().run().await.unwrap();
    assert_eq!((did.copied, did.failed), (0, 1));
    assert_eq!(did.failures[0].0, "14");
    assert_eq!(world.db.number("SELECT count(*) FROM new_person").await, 5);
    assert_eq!(world.migration.verify().run().await.unwrap().keys, ["14"]);
}

on_all_databases!(
    goes_on_after_a_crash,
    another_generation_is_not_stamped,
    the_newer_of_two_runs_wins,
    waits_while_it_is_paused,
    ends_when_it_is_cancelled_and_goes_on_when_it_is_resumed,
    a_column_that_is_altered_meanwhile_proves_nothing,
    several_workers_go_on_where_the_last_ones_ended,
    moving_rows_are_no_differences,
    moving_rows_are_no_differences_in_rust,
    moving_rows_are_no_differences_asked,
    empty_tables_and_single_rows,
    many_orphans_are_compared_in_chunks,
    a_sample_is_quick_and_proves_nothing,
    repeats_until_told_otherwise,
    a_repair_never_goes_over_a_newer_write,
    transient_differences_are_counted_apart,
    what_cannot_be_copied_is_named,
);
