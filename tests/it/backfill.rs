//! The backfill: what it copies, what it counts, what it does with rows that cannot be copied.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use dualwrite::{
    BoxError, Copied, CopyKeys, CopySql, ErrorKind, Percent, Runtime, Stage, Tx,
    backfill::Throttle, copy::KeySource,
};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{CopyNotes, Notes, World, plain};
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(
    every_key_is_copied_and_counted,
    an_empty_table_is_complete,
    gaps_of_a_billion_cost_nothing,
    a_row_that_cannot_be_copied_stands_alone,
    too_many_failures_halt_it,
    it_does_not_run_where_old_alone_is_written,
    no_job_runs_while_keys_ramp_to_complete,
    a_key_that_goes_after_it_failed_costs_the_next_one_nothing,
    two_workers_share_one_backfill,
    one_run_may_have_several_workers,
    a_second_run_finds_nothing_to_do,
    back_at_off_everything_is_copied_again,
    composite_and_text_keys_are_paged_in_order,
    a_verification_names_what_differs,
    it_can_be_paused_resumed_and_cancelled,
    it_keeps_to_its_rate_and_makes_way,
    a_dry_run_writes_nothing_and_names_what_fails,
    a_range_is_copied_with_both_its_ends,
    a_server_is_asked_how_many_rows_there_may_be,
);

async fn every_key_is_copied_and_counted<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 57, plain).await;
    let done = world.migration.backfill().batch(10).run().await.unwrap();
    assert_eq!((done.total, done.migrated, done.skipped, done.failed), (57, 57, 0, 0));
    assert!(done.complete);
    assert_eq!((done.remaining(), done.percent()), (0, 100.0));
    let [old, new] = world.words().await;
    assert_eq!((old.len(), old), (57, new));
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    let status = world.migration.status().await.unwrap();
    let shown = status.backfill.clone().unwrap();
    assert_eq!((shown.migrated, shown.complete, shown.eta()), (57, true, Some(Duration::ZERO)));
    assert_eq!(shown.elapsed, done.elapsed, "it stands still at the end");
    assert!(status.blockers.is_empty(), "{:?}", status.blockers);
    assert!(serde_json::to_string(&status).unwrap().contains("\"migrated\":57"));
}

async fn an_empty_table_is_complete<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    let done = world.migration.backfill().run().await.unwrap();
    assert_eq!((done.total, done.done(), done.complete), (0, 0, true));
}

async fn gaps_of_a_billion_cost_nothing<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Off, 0, plain).await;
    for id in [-3_000_000_000_i64, -1, 0, 1_000_000_000, 9_000_000_000_000] {
        world.save(id, "far apart").await;
    }
    world.migration.advance(Stage::DualWrite).await.unwrap();
    let done = world.migration.backfill().batch(2).run().await.unwrap();
    assert_eq!((done.migrated, done.total), (5, 5));
    assert!(world.copies.load(SeqCst) <= 5);
}

async fn a_row_that_cannot_be_copied_stands_alone<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Off, 40, plain).await;
    world.save(23, "poison").await;
    world.migration.advance(Stage::DualWrite).await.unwrap();
    let done = world.migration.backfill().batch(16).run().await.unwrap();
    assert_eq!((done.migrated, done.failed, done.total), (39, 1, 40));
    let letters = world.migration.dead_letters().await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0].key.as_str(), letters[0].error.as_str()),
        ("23", "note 23 cannot be copied")
    );

    // It blocks what would show it missing, until it is retried.
    world.migration.advance(Stage::Shadow).await.unwrap();
    let blocked = world.migration.advance(Stage::Live).await.unwrap_err();
    assert!(blocked.to_string().contains("[dead_letters] 1 keys"), "{blocked}");
    assert_eq!(world.migration.retry_dead_letters().await.unwrap(), 0);
    assert_eq!(world.migration.dead_letters().await.unwrap()[0].attempts, 2);
    world.save(23, "cured").await;
    assert_eq!(world.migration.retry_dead_letters().await.unwrap(), 1);
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    world.migration.advance(Stage::Live).await.unwrap();
}

async fn too_many_failures_halt_it<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Off, 0, plain).await;
    for id in 1..10 {
        world.save(id, "poison").await;
    }
    world.migration.advance(Stage::DualWrite).await.unwrap();
    let backfill = world.migration.backfill().batch(4).stop_after_failures(3);
    assert_eq!(backfill.run().await.unwrap_err().kind(), ErrorKind::Halted);
    assert_eq!(world.migration.dead_letters().await.unwrap().len(), 4);
    assert!(!world.migration.status().await.unwrap().backfill.unwrap().complete);
}

async fn it_does_not_run_where_old_alone_is_written<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Off, 3, plain).await;
    let refused = world.migration.backfill().run().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Blocked);
    assert!(refused.to_string().contains("cannot run at off"), "{refused}");
    let none = world.runtime.migration("no-copy").register().await.unwrap();
    assert_eq!(none.backfill().run().await.unwrap_err().kind(), ErrorKind::Unsupported);
}

/// Some keys are written to new alone then.
async fn no_job_runs_while_keys_ramp_to_complete<D: Sql>(db: Scratch<D>) {
    let copy = CopyNotes::both_ways();
    let world = World::copying(db, Stage::DualWrite, 30, plain, copy).await;
    let migration = &world.migration;
    migration.backfill().run().await.unwrap();
    assert!(migration.verify().run().await.unwrap().proven);
    for stage in [Stage::Shadow, Stage::Live, Stage::RampDown] {
        migration.advance(stage).await.unwrap();
    }
    migration.backfill().run().await.unwrap();
    migration.verify().run().await.unwrap();
    let before = (world.copies.load(SeqCst), world.words().await);
    migration.ramp_to(Percent::new(1).unwrap()).await.unwrap();
    let refused = [
        migration.backfill().run().await.map(drop).unwrap_err(),
        migration.backfill().reverse().run().await.map(drop).unwrap_err(),
        migration.verify().run().await.map(drop).unwrap_err(),
        migration.verify().repair().run().await.map(drop).unwrap_err(),
    ];
    for refused in refused {
        assert_eq!(refused.kind(), ErrorKind::Blocked, "{refused}");
        assert!(refused.to_string().contains("ramp_down"), "{refused}");
    }
    assert_eq!((world.copies.load(SeqCst), world.words().await), before);
}

/// Fails at key 2, which is deleted before the failure is recorded: by the next who gets the one connection.
struct DeletedBehind<D: Sql> {
    pool: sqlx::Pool<D::Db>,
    deleting: Arc<std::sync::Mutex<Option<tokio::task::JoinHandle<()>>>>,
    failed: AtomicU64,
}

impl<D: Sql> CopyKeys for DeletedBehind<D> {
    type Database = D::Db;
    type Key = i64;

    fn source(&self) -> KeySource {
        KeySource::table("old_note").column("id")
    }

    async fn copy(&self, tx: &mut Tx<'_, D::Db>, keys: &[i64]) -> Result<Copied, BoxError> {
        for id in keys {
            if *id == 2 {
                // As often as one key is tried before it is given up.
                if self.failed.fetch_add(1, SeqCst) == 2 {
                    let pool = self.pool.clone();
                    let mut acquiring = Box::pin(async move { pool.acquire().await });
                    assert!(futures_util::poll!(&mut acquiring).is_pending(), "it waits in line");
                    let delete = async move {
                        let mut conn = acquiring.await.unwrap();
                        D::run_on(&mut conn, "DELETE FROM old_note WHERE id = 2").await.unwrap();
                    };
                    *self.deleting.lock().unwrap() = Some(tokio::spawn(delete));
                }
                return Err("note 2 cannot be copied".into());
            }
            let copy = format!("INSERT INTO new_note SELECT * FROM old_note WHERE id = {id}");
            D::run(tx, &copy).await?;
        }
        Ok(Copied { migrated: keys.len() as u64, skipped: 0 })
    }
}

async fn a_key_that_goes_after_it_failed_costs_the_next_one_nothing<D: Sql>(db: Scratch<D>) {
    db.execute(
        "CREATE TABLE old_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL);
         CREATE TABLE new_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL);
         INSERT INTO old_note VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')",
    )
    .await;
    let pool = db.another_pool(1).await;
    let deleting = Arc::default();
    let copy = DeletedBehind::<D> {
        pool: pool.clone(),
        deleting: Arc::clone(&deleting),
        failed: AtomicU64::new(0),
    };
    let runtime = Runtime::builder(pool).start().await.unwrap();
    let migration = runtime.migration("notes").backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    let done = migration.backfill().batch(1).run().await.unwrap();
    let deleting = deleting.lock().unwrap().take();
    deleting.expect("key 2 failed three times").await.unwrap();
    assert_eq!((done.migrated, done.failed, done.complete), (3, 0, true));
    assert!(migration.dead_letters().await.unwrap().is_empty());
    let copied = db.rows("SELECT id FROM new_note ORDER BY id").await.concat();
    assert_eq!(copied, ["1", "3", "4"].map(|id| Some(id.to_owned())));
    runtime.shutdown().await.unwrap();
}

async fn two_workers_share_one_backfill<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 200, plain).await;
    let one = world.migration.backfill().batch(3).run();
    let two = world.migration.backfill().batch(3).run();
    let (one, two) = tokio::join!(one, two);
    assert_eq!(one.unwrap().complete, two.unwrap().complete);
    let done = world.migration.status().await.unwrap().backfill.unwrap();
    assert_eq!((done.migrated, done.skipped, done.failed), (200, 0, 0));
}

async fn one_run_may_have_several_workers<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 200, plain).await;
    let done = world.migration.backfill().batch(2).workers(4).run().await.unwrap();
    assert_eq!((done.total, done.migrated, done.skipped, done.complete), (200, 200, 0, true));
    let [old, new] = world.words().await;
    assert_eq!(old, new);
}

async fn a_second_run_finds_nothing_to_do<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 20, plain).await;
    let first = world.migration.backfill().run().await.unwrap();
    let calls = world.copies.load(SeqCst);
    assert_eq!(world.migration.backfill().run().await.unwrap(), first);
    assert_eq!(world.copies.load(SeqCst), calls);
}

async fn back_at_off_everything_is_copied_again<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 5, plain).await;
    world.migration.backfill().run().await.unwrap();
    world.migration.verify().run().await.unwrap();
    world.migration.step_back(Stage::Off).await.unwrap();
    world.save(3, "written at off").await;
    world.migration.advance(Stage::DualWrite).await.unwrap();
    world.migration.advance(Stage::Shadow).await.unwrap();
    // What was proven before says nothing now.
    let blocked = world.migration.advance(Stage::Live).await.unwrap_err();
    for gate in ["[backfilled]", "[verified]", "generation 2"] {
        assert!(blocked.to_string().contains(gate), "{blocked}");
    }
    let done = world.migration.backfill().run().await.unwrap();
    assert_eq!((done.generation, done.migrated), (2, 5));
    let [old, new] = world.words().await;
    assert_eq!(old, new);
}

struct CopyPairs<D: Sql>(std::marker::PhantomData<D>);

impl<D: Sql> CopyKeys for CopyPairs<D> {
    type Database = D::Db;
    type Key = (i64, String);

    fn source(&self) -> KeySource {
        KeySource::table("pair").column("a").column("b")
    }

    async fn copy(
        &self,
        tx: &mut Tx<'_, D::Db>,
        keys: &[(i64, String)],
    ) -> Result<Copied, BoxError> {
        for (a, b) in keys {
            let sql = format!("UPDATE pair SET copies = copies + 1 WHERE a = {a} AND b = '{b}'");
            D::run(tx, &sql).await?;
        }
        Ok(Copied { migrated: keys.len() as u64, skipped: 0 })
    }
}

async fn composite_and_text_keys_are_paged_in_order<D: Sql>(db: Scratch<D>) {
    db.execute(
        "CREATE TABLE pair (a INTEGER NOT NULL, b VARCHAR(20) NOT NULL, copies INTEGER NOT NULL,
                            PRIMARY KEY (a, b))",
    )
    .await;
    for a in 0..7 {
        for b in ["", "B", "a", "zebra", "äpfel", "y 'quoted'"] {
            let b = b.replace('\'', "''");
            db.execute(&format!("INSERT INTO pair VALUES ({a}, '{b}', 0)")).await;
        }
    }
    db.execute("DELETE FROM pair WHERE b LIKE 'y%'").await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let copy = CopyPairs::<D>(std::marker::PhantomData);
    let migration = runtime.migration("pairs").backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    let done = migration.backfill().batch(4).run().await.unwrap();
    assert_eq!((done.total, done.migrated), (35, 35));
    assert_eq!(db.number("SELECT count(*) FROM pair WHERE copies = 1").await, 35);
}

async fn a_verification_names_what_differs<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 30, plain).await;
    world.migration.backfill().run().await.unwrap();
    world
        .db
        .execute(
            "UPDATE new_note SET word = 'other' WHERE id = 7;
             DELETE FROM new_note WHERE id = 11;
             INSERT INTO new_note (id, word) VALUES (99, 'nobody wrote this')",
        )
        .await;
    let report = world.migration.verify().batch(8).run().await.unwrap();
    assert_eq!((report.differing, report.is_clean()), (3, false));
    assert_eq!(report.keys, ["7", "11", "99"]);
    assert_eq!(world.migration.status().await.unwrap().verified, None);
    for key in [7_i64, 11, 99] {
        assert!(world.migration.copy(&key).await.unwrap());
    }
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    assert_eq!(world.notes.find(99).await.unwrap(), None);
}

async fn it_can_be_paused_resumed_and_cancelled<D: Sql>(db: Scratch<D>) {
    let world = Arc::new(World::with(db, Stage::DualWrite, 30, plain).await);
    assert!(!world.migration.backfill().pause("ada", "tests").await.unwrap(), "there is none yet");
    let start = |world: &Arc<World<D>>| {
        let migration = world.migration.clone();
        // Slow enough for orders to come in between, also where there is one writer at a time.
        tokio::spawn(async move { migration.backfill().batch(1).rate(50).run().await })
    };
    world.copying.hold();
    let run = start(&world);
    world.copying.reached().await;
    if D::NAME == "sqlite" {
        world.copying.let_go(); // the one writer, so the order waits for it
    }
    assert!(world.migration.backfill().pause("ada", "tests").await.unwrap());
    world.copying.let_go();
    let progress = async || world.migration.status().await.unwrap().backfill.unwrap();
    until("it is paused", async || progress().await.throttled.as_deref() == Some("paused")).await;
    let before = progress().await;
    assert!(before.paused && before.done() < 30 && !run.is_finished(), "{before:?}");

    assert!(world.migration.backfill().cancel("ada", "tests").await.unwrap());
    let ended = run.await.unwrap().unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::Halted);
    assert!(ended.to_string().contains("`resume` it to go on"), "{ended}");
    assert!(progress().await.cancelled);
    assert_eq!(start(&world).await.unwrap().unwrap_err().kind(), ErrorKind::Halted);

    assert!(world.migration.backfill().resume("ada", "tests").await.unwrap());
    let done = start(&world).await.unwrap().unwrap();
    assert_eq!((done.complete, done.migrated), (true, 30));
    assert!(!world.migration.backfill().pause("ada", "tests").await.unwrap(), "it is complete");
    let nobody = world.migration.backfill().pause("", "tests").await.unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::InvalidInput);
    let audit = dualwrite::operator::Operator::new(world.db.pool().clone()).audit("notes").await;
    let told: Vec<_> =
        audit.unwrap().iter().map(|it| (it.kind.to_string(), it.actor.clone())).collect();
    let by_ada = |kind: &str| (kind.to_owned(), "ada".to_owned());
    let newest_first = ["backfill_resume", "backfill_cancel", "backfill_pause"].map(by_ada);
    assert_eq!(told, newest_first, "what was refused or changed nothing is not recorded");
}

async fn it_keeps_to_its_rate_and_makes_way<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 20, plain).await;
    let asked = Arc::new(AtomicU64::new(0));
    let hook = Arc::clone(&asked);
    let reason = move || match hook.fetch_add(1, SeqCst) {
        0 => Some("the host is busy".to_owned()),
        _ => None,
    };
    let throttle = Throttle::default().when(reason);
    let backfill = world.migration.backfill().batch(5).rate(200).throttle(throttle);
    let done = backfill.run().await.unwrap();
    assert_eq!((done.migrated, done.rate, &done.throttled), (20, Some(200), &None));
    assert!(asked.load(SeqCst) >= 4, "after every batch");
    assert!(done.elapsed >= Duration::from_millis(90), "20 keys at 200 a second: {done:?}");
    // At an hour that is not allowed nothing is copied at all.
    world.migration.step_back(Stage::Off).await.unwrap();
    world.migration.advance(Stage::DualWrite).await.unwrap();
    let never = Throttle::default().hours(0, 0);
    let waiting = world.migration.backfill().throttle(never).run();
    let calls = world.copies.load(SeqCst);
    let ended = tokio::time::timeout(Duration::from_millis(600), waiting).await;
    assert!(ended.is_err());
    assert_eq!(world.copies.load(SeqCst), calls);
}

async fn a_dry_run_writes_nothing_and_names_what_fails<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Off, 30, plain).await;
    world.save(17, "poison").await;
    let walk = world.migration.backfill().dry_run().await.unwrap();
    assert_eq!((walk.migrated, walk.skipped, walk.failed), (29, 0, 1));
    assert_eq!(walk.failures, [("17".to_owned(), "note 17 cannot be copied".to_owned())]);
    let [old, new] = world.words().await;
    assert_eq!((old.len(), new.len()), (30, 0));
    assert!(world.migration.dead_letters().await.unwrap().is_empty());
}

async fn a_range_is_copied_with_both_its_ends<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Off, 10, plain).await;
    let early = world.migration.backfill().copy_range(&3_i64, &5).await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Blocked);
    let wrong = world.migration.backfill().copy_range(&"3", &"5").await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::WrongKey);
    world.migration.advance(Stage::DualWrite).await.unwrap();
    let walk = world.migration.backfill().copy_range(&3_i64, &5).await.unwrap();
    assert_eq!((walk.migrated, walk.failed), (3, 0));
    assert_eq!(world.words().await[1], ["word 3", "word 4", "word 5"]);
    let none = world.migration.backfill().copy_range(&90_i64, &99).await.unwrap();
    assert_eq!((none.migrated, none.skipped), (0, 0));
    let done = world.migration.backfill().run().await.unwrap();
    assert_eq!(done.done(), 10, "it knows nothing of the range");
}

/// Counting a large table takes long, so the catalogue is believed, unless the exact number is asked for.
async fn a_server_is_asked_how_many_rows_there_may_be<D: Sql>(db: Scratch<D>) {
    const ROWS: i64 = 150_000;
    // Nobody else counts the rows of this table meanwhile.
    let options = D::sql("", "WITH (autovacuum_enabled = false)", "");
    db.execute(&format!("CREATE TABLE many (id BIGINT PRIMARY KEY) {options}")).await;
    db.execute(&format!(
        "INSERT INTO many WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400) \
         SELECT (a.i - 1) * 400 + b.i FROM n a, n b WHERE a.i <= {}",
        ROWS / 400
    ))
    .await;
    db.execute(D::sql("SELECT 1", "ANALYZE many", "ANALYZE TABLE many")).await;
    db.execute("DELETE FROM many WHERE id IN (3, 5, 7)").await;
    let known = db.number(D::sql(
        "SELECT count(*) FROM many",
        "SELECT reltuples::bigint FROM pg_class WHERE relname = 'many'",
        "SELECT CAST(table_rows AS SIGNED) FROM information_schema.tables \
         WHERE table_schema = DATABASE() AND table_name = 'many'",
    ));
    let known = known.await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    for (name, exact) in [("estimated", false), ("exact", true)] {
        let copy = CopySql::<D::Db, i64>::new(KeySource::table("many").column("id"))
            .copying("DELETE FROM many WHERE {id} AND id < 0");
        let migration = runtime.migration(name).backfill(copy).register().await.unwrap();
        migration.advance(Stage::DualWrite).await.unwrap();
        let backfill = migration.backfill().batch(100_000);
        let done = if exact { backfill.exact_total() } else { backfill }.run().await.unwrap();
        assert_eq!(done.migrated as i64, ROWS - 3);
        assert_eq!(done.total as i64, if exact { ROWS - 3 } else { known }, "{name}");
        assert_eq!((done.complete, done.remaining(), done.percent()), (true, 0, 100.0), "{name}");
    }
    runtime.shutdown().await.unwrap();
}
