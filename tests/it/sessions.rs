//! The server ends sessions while a backfill uses them: by a restart, a failover, an administrator.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use dualwrite::{
    CopySql, Error, ErrorKind, Migration, Runtime, Stage, backfill::BackfillProgress,
    copy::KeySource, operator::Operator,
};
use sqlx::Pool;
use tokio::task::JoinHandle;

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{World, plain};
use crate::support::sql::Sql;
use crate::support::wait::{somebody_waits, soon, until};

on_all_databases!(
    a_backfill_whose_sessions_are_ended_copies_every_key_once,
    a_connection_that_was_ended_while_nobody_used_it_is_not_used_again_and_again,
    a_page_whose_commit_is_ended_is_copied_again_and_the_next_one_with_it,
    a_page_that_cannot_be_committed_stops_the_backfill,
);

const KEYS: i64 = 900;
const KILLS: u32 = 25;

/// Rows that count how often they were copied.
async fn tallied<D: Sql>(db: &Scratch<D>) -> (Runtime<D::Db>, Migration) {
    db.execute("CREATE TABLE tally (id BIGINT PRIMARY KEY, copies BIGINT NOT NULL)").await;
    let rows: Vec<String> = (1..=KEYS).map(|id| format!("({id}, 0)")).collect();
    db.execute(&format!("INSERT INTO tally VALUES {}", rows.join(", "))).await;
    let copy = CopySql::<D::Db, i64>::new(KeySource::table("tally").column("id"))
        .copying("UPDATE tally SET copies = copies + 1 WHERE {id}");
    let runtime = Runtime::builder(db.another_pool(8).await).start().await.unwrap();
    let migration = runtime.migration("tallies").backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    (runtime, migration)
}

async fn is_exact<D: Sql>(db: &Scratch<D>, migration: &Migration) {
    assert_eq!(db.number("SELECT count(*) FROM tally WHERE copies = 1").await, KEYS);
    let shown = migration.status().await.unwrap().backfill.unwrap();
    assert_eq!((shown.total, shown.migrated), (KEYS as u64, KEYS as u64));
    assert_eq!((shown.skipped, shown.failed, shown.complete), (0, 0, true));
    assert_eq!(db.number("SELECT count(*) FROM dualwrite_batch").await, 0);
}

/// All sessions of this database but our own.
async fn end_sessions<D: Sql>(db: &Scratch<D>) {
    let others = D::sql(
        "SELECT 1 WHERE false",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
        "SELECT id FROM information_schema.processlist \
         WHERE db = DATABASE() AND id <> CONNECTION_ID() \
         AND COALESCE(info, '') NOT LIKE '%information_schema%'",
    );
    let sessions = db.rows(others).await;
    if D::NAME == "mysql" {
        for session in sessions.into_iter().flatten().flatten() {
            let _ = D::execute(db.pool(), &format!("KILL {session}")).await; // it may be gone
        }
    }
}

async fn a_backfill_whose_sessions_are_ended_copies_every_key_once<D: Sql>(db: Scratch<D>) {
    if D::NAME == "sqlite" {
        return; // it has no sessions
    }
    let (runtime, migration) = tallied(&db).await;
    let copied = "SELECT coalesce(sum(copies), 0) FROM tally";
    let working = migration.clone();
    let backfill = tokio::spawn(async move {
        loop {
            let run = working.backfill().batch(3).workers(2).lease(Duration::from_millis(400));
            let run = run.run().await;
            if run.is_ok_and(|progress| progress.complete) {
                break;
            }
        }
    });
    for _ in 0..KILLS {
        let before = db.number(copied).await;
        until("some more is copied", async || {
            backfill.is_finished() || db.number(copied).await > before
        })
        .await;
        end_sessions(&db).await;
    }
    assert!(!backfill.is_finished(), "sessions are ended before the end");
    backfill.await.unwrap();
    is_exact(&db, &migration).await;
    runtime.shutdown().await.unwrap();
}

/// Whoever asked more often than once a second met the same dead connection for ever.
async fn a_connection_that_was_ended_while_nobody_used_it_is_not_used_again_and_again<D: Sql>(
    db: Scratch<D>,
) {
    if D::NAME == "sqlite" {
        return; // it has no sessions
    }
    let (runtime, migration) = tallied(&db).await;
    let operator = Operator::new(db.another_pool(2).await);
    migration.backfill().run().await.unwrap();
    for _ in 0..3 {
        end_sessions(&db).await;
        let mut answers = Vec::new();
        while answers.len() < 8 {
            answers.push(operator.instances("tallies").await.map(drop));
        }
        assert!(answers[3..].iter().all(Result::is_ok), "{answers:?}");
        // What is complete is looked at, and nothing more.
        let mut runs = Vec::new();
        while runs.len() < 8 {
            runs.push(migration.backfill().run().await.map(drop));
        }
        assert!(runs[3..].iter().all(Result::is_ok), "{runs:?}");
    }
    runtime.shutdown().await.unwrap();
}

/// A backfill whose first page is copied and cannot be committed, for no commit of this server comes to its end
/// until the pool that is answered runs `BACKUP STAGE END`.
async fn held<D: Sql>(
    world: &World<D>,
) -> (Pool<D::Db>, JoinHandle<Result<BackfillProgress, Error>>) {
    world.copying.hold();
    let migration = world.migration.clone();
    let run =
        async move { migration.backfill().batch(10).lease(Duration::from_millis(400)).run().await };
    let backfill = tokio::spawn(run);
    world.copying.reached().await;
    let holder = world.db.another_pool(1).await;
    let hold = "BACKUP STAGE START; BACKUP STAGE FLUSH; BACKUP STAGE BLOCK_DDL; \
                BACKUP STAGE BLOCK_COMMIT";
    D::execute(&holder, hold).await.unwrap();
    world.copying.let_go();
    (holder, backfill)
}

/// Ends the commit of the first page, once the second is copied and waits for it.
async fn end_commit<D: Sql>(db: &Scratch<D>) {
    let commits = "SELECT id FROM information_schema.processlist \
                   WHERE db = DATABASE() AND info = 'COMMIT'";
    let commit = soon("a commit is held", async || db.rows(commits).await.pop()).await;
    until("the next page waits for it", async || somebody_waits(db).await).await;
    D::execute(db.pool(), &format!("KILL {}", commit[0].as_ref().unwrap())).await.unwrap();
    until("it is gone", async || !db.rows(commits).await.contains(&commit)).await;
}

/// Elsewhere nothing holds a commit.
async fn holds_commits<D: Sql>(db: &Scratch<D>) -> bool {
    D::NAME == "mysql" && db.number("SELECT version() LIKE '%MariaDB%'").await == 1
}

/// On MariaDB the next page is copied while the commit of one is under way.
async fn a_page_whose_commit_is_ended_is_copied_again_and_the_next_one_with_it<D: Sql>(
    db: Scratch<D>,
) {
    if !holds_commits(&db).await {
        return;
    }
    let world = World::with(db, Stage::DualWrite, 50, plain).await;
    let (holder, backfill) = held(&world).await;
    end_commit(&world.db).await;
    assert!(world.copies.load(SeqCst) >= 2);
    D::execute(&holder, "BACKUP STAGE END").await.unwrap();
    let done = backfill.await.unwrap().unwrap();
    assert_eq!((done.complete, done.migrated, done.failed), (true, 50, 0));
    let [old, new] = world.words().await;
    assert_eq!(old, new);
}

/// Neither are its keys to blame: they do not become dead letters.
async fn a_page_that_cannot_be_committed_stops_the_backfill<D: Sql>(db: Scratch<D>) {
    if !holds_commits(&db).await {
        return;
    }
    let world = World::with(db, Stage::DualWrite, 50, plain).await;
    let (holder, backfill) = held(&world).await;
    for _ in 0..3 {
        end_commit(&world.db).await;
    }
    let pages = world.copies.load(SeqCst);
    D::execute(&holder, "BACKUP STAGE END").await.unwrap();
    let stopped = backfill.await.unwrap().unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::CommitUnknown, "{stopped}");
    assert_eq!(pages, 6, "each time it and the next one");
    assert_eq!(world.words().await[1].len(), 0);
    assert_eq!(world.migration.dead_letters().await.unwrap().len(), 0);
    let done = world.migration.backfill().run().await.unwrap();
    assert_eq!((done.complete, done.migrated, done.failed), (true, 50, 0));
}
