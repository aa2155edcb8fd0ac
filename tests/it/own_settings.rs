//! Settings of the application's own sessions, and of servers that are not as usual: the library keeps its promises under them, and
//! leaves them as they were.

use std::str::FromStr;

use dualwrite::{ErrorKind, Percent, Runtime, Stage};
use sqlx::Executor as _;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::pool::PoolOptions;
use sqlx::postgres::PgConnectOptions;

use crate::support::db::{MySqlDb, PostgresDb, Scratch, TestDb, on_all_databases};
use crate::support::notes::{CopyNotes, DualNotes, Notes, Store, World, lazy, plain};
use crate::support::server::{connected, mariadb};
use crate::support::sql::Sql;

on_all_databases!(sessions_are_left_as_they_were);

/// Sets something of the session, and shows it.
fn settings<D: TestDb>() -> &'static [(&'static str, &'static str)] {
    match D::NAME {
        "sqlite" => &[("PRAGMA busy_timeout = 1234", "PRAGMA busy_timeout")],
        "postgres" => &[
            ("SET lock_timeout = '7s'", "SHOW lock_timeout"),
            ("SET statement_timeout = '77s'", "SHOW statement_timeout"),
            (
                "SET default_transaction_isolation = 'repeatable read'",
                "SHOW default_transaction_isolation",
            ),
            ("SET default_transaction_read_only = off", "SHOW default_transaction_read_only"),
        ],
        _ => &[
            ("SET SESSION innodb_lock_wait_timeout = 7", "SELECT @@innodb_lock_wait_timeout"),
            ("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SELECT @@tx_isolation"),
            ("SET SESSION TRANSACTION READ ONLY", "SELECT @@tx_read_only"),
            ("SET SESSION TRANSACTION READ WRITE", "SELECT @@tx_read_only"),
            ("SET SESSION autocommit = 0", "SELECT @@autocommit"),
        ],
    }
}

async fn sessions_are_left_as_they_were<D: Sql>(db: Scratch<D>) {
    let copy = CopyNotes::both_ways();
    let world = World::copying(db, Stage::DualWrite, 4, plain, copy).await;
    world.migration.backfill().run().await.unwrap();
    for (set, show) in settings::<D>() {
        let pool = world.db.another_pool(1).await;
        D::execute(&pool, set).await.unwrap();
        let before = D::rows(&pool, show).await.unwrap();
        for ending in 0..4 {
            let mut tx = world.migration.begin(&pool).await.unwrap();
            let written = world.notes.save(&mut tx, 1, "one").await;
            assert!(written.is_ok() || set.contains("READ ONLY"), "{set}: {written:?}");
            match ending {
                0 => drop(tx.commit().await),
                1 => tx.rollback().await.unwrap(),
                2 => drop(tx),
                _ => {
                    let _ = D::run(&mut tx, "INSERT INTO old_note VALUES (1, NULL)").await;
                    drop(tx.commit().await);
                }
            }
            assert_eq!(D::rows(&pool, show).await.unwrap(), before, "{set}, {ending}");
        }
    }
}

/// A copy that holds the fence alone waits about a second for it; the session's own limit is another matter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_timeout_of_the_session_outlives_a_copy_that_holds_the_fence_alone() {
    let Some(db) = MySqlDb::fresh("a lock timeout").await else { return };
    let options = MySqlConnectOptions::from_str(&db.url()).unwrap();
    let set = "SET SESSION innodb_lock_wait_timeout = 7";
    let pool = MySqlPoolOptions::new()
        .max_connections(1)
        .after_connect(move |conn, _| Box::pin(async move { conn.execute(set).await.map(drop) }))
        .connect_with(options)
        .await
        .unwrap();
    let world = World::copying(db, Stage::DualWrite, 2, plain, CopyNotes::both_ways()).await;
    world.migration.backfill().run().await.unwrap();
    assert!(world.migration.verify().run().await.unwrap().proven);
    for stage in [Stage::Shadow, Stage::Live, Stage::RampDown] {
        world.migration.advance(stage).await.unwrap();
    }
    let runtime = Runtime::builder(pool.clone()).start().await.unwrap();
    let copy = CopyNotes::<MySqlDb>::both_ways();
    let migration = runtime.migration("notes").backfill(copy).register().await.unwrap();
    // A row that the old side lacks cannot be locked there.
    world.db.execute("INSERT INTO new_note VALUES (100, 'born in new')").await;
    let mark = "INSERT INTO dualwrite_dirty (migration, side, key_text, marked_at) \
                VALUES ('notes', 'old', '100', 0)";
    world.db.execute(mark).await;
    migration.repair().await.unwrap();
    let shown = MySqlDb::rows(&pool, "SELECT @@innodb_lock_wait_timeout").await.unwrap();
    assert_eq!(shown, [[Some("7".to_owned())]]);
    assert_eq!(world.db.number("SELECT count(*) FROM old_note WHERE id = 100").await, 1);
    runtime.shutdown().await.unwrap();
}

/// A move waits about a second for writes in flight, and for other locks as long as all statements on the control tables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_waits_for_a_locked_control_row_as_long_as_other_statements() {
    let Some(db) = MySqlDb::fresh("own_settings::control_row").await else { return };
    let world = World::with(db, Stage::Off, 2, plain).await;
    // At REPEATABLE READ this keeps others from adding events.
    let mut holder = world.db.pool().begin().await.unwrap();
    holder.execute("SELECT id FROM dualwrite_event FOR UPDATE").await.unwrap();
    let moving = {
        let migration = world.migration.clone();
        tokio::spawn(async move { migration.advance(Stage::DualWrite).await })
    };
    crate::support::wait::until("the move waits", async || {
        crate::support::wait::somebody_waits(&world.db).await
    })
    .await;
    holder.execute("DO SLEEP(1.5)").await.unwrap();
    holder.rollback().await.unwrap();
    moving.await.unwrap().unwrap();
    // Nor did it take several attempts.
    let moves = world.db.number("SELECT count(*) FROM dualwrite_event WHERE to_stage = 1").await;
    assert_eq!((moves, world.migration.position().epoch.0), (1, 2));
    world.runtime.shutdown().await.unwrap();
}

/// The limits of the application's sessions are for its own statements: the library's wait as long as it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timeouts_of_postgres_sessions_leave_moves_and_copies_alone() {
    let Some(db) = PostgresDb::fresh("timeouts of sessions").await else { return };
    let options = PgConnectOptions::from_str(&db.url()).unwrap();
    let options = options.options([("statement_timeout", "150ms"), ("lock_timeout", "100ms")]);
    let pool = PoolOptions::new().max_connections(4).connect_with(options).await.unwrap();
    let world = World::with(db, Stage::DualWrite, 3, lazy).await;
    let runtime = Runtime::builder(pool.clone()).start().await.unwrap();
    let copy = CopyNotes::<PostgresDb>::new();
    let migration = runtime.migration("notes").backfill(copy).lazy().register().await.unwrap();
    let mut open = world.begin().await;
    world.notes.save(&mut open, 1, "open").await.unwrap();
    let moving = {
        let migration = migration.clone();
        tokio::spawn(async move { migration.ramp_to(Percent::new(1).unwrap()).await })
    };
    crate::support::wait::until("the move waits", async || {
        crate::support::wait::somebody_waits(&world.db).await
    })
    .await;
    // Longer than the limits of the sessions, and shorter than the move's own.
    world.db.execute("SELECT pg_sleep(0.4)").await;
    open.commit().await.unwrap();
    moving.await.unwrap().unwrap();
    migration.backfill().run().await.unwrap();
    runtime.shutdown().await.unwrap();
}

fn mysql(port: u16) -> MySqlConnectOptions {
    MySqlConnectOptions::new().host("127.0.0.1").port(port).username("root").database("mysql")
}

/// `autocommit` is off by default, and a lock timeout rolls the whole transaction back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_sessions_do_not_commit_by_themselves() {
    if MySqlDb::fresh("a server of its own").await.is_none() {
        return;
    }
    let server = mariadb(&["--autocommit=0".into(), "--innodb-rollback-on-timeout=1".into()]).await;
    let plain_pool = connected::<sqlx::MySql>(2, mysql(server.port)).await;
    plain_pool.execute("CREATE DATABASE scratch").await.unwrap();
    let options = mysql(server.port).database("scratch");
    let refused = connected::<sqlx::MySql>(2, options.clone()).await;
    let error = Runtime::builder(refused).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("SET autocommit = 1"), "{error}");

    // A pool that is in use shows nothing at the start: what the library does itself is stored all the same.
    let busy = connected::<sqlx::MySql>(1, options.clone()).await;
    let held = busy.acquire().await.unwrap();
    let unseen = Runtime::builder(busy.clone()).start().await.unwrap();
    unseen.migration("unseen").register().await.unwrap();
    let stored = "SELECT name FROM scratch.dualwrite_migration WHERE name = 'unseen'";
    assert_eq!(MySqlDb::rows(&plain_pool, stored).await.unwrap().len(), 1);
    unseen.shutdown().await.unwrap();
    drop(held);
    busy.close().await;

    let set = "SET autocommit = 1, innodb_lock_wait_timeout = 1";
    let pool = MySqlPoolOptions::new()
        .max_connections(4)
        .after_connect(move |conn, _| Box::pin(async move { conn.execute(set).await.map(drop) }))
        .connect_with(options)
        .await
        .unwrap();
    for table in ["old_note", "new_note", "beside"] {
        let sql =
            format!("CREATE TABLE {table} (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL)");
        MySqlDb::execute(&pool, &sql).await.unwrap();
    }
    MySqlDb::execute(&pool, "INSERT INTO beside VALUES (1, 'one')").await.unwrap();
    // The control tables have connections of their own, without the application's hook.
    let runtime = Runtime::builder(pool.clone()).start().await.unwrap();
    let copy = CopyNotes::<MySqlDb>::new();
    let migration = runtime.migration("notes").backfill(copy).lazy().register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    let other = Runtime::builder(pool.clone()).start().await.unwrap();
    let elsewhere = other.migration("notes").register().await.unwrap();
    assert_eq!(elsewhere.position().stage, Stage::DualWrite);
    assert_eq!(migration.status().await.unwrap().instances.len(), 2);

    let store = |table| Store::<MySqlDb> {
        table,
        pool: pool.clone(),
        mood: Default::default(),
        hanging: Default::default(),
        reading: Default::default(),
        removing: Default::default(),
    };
    let notes = DualNotes::new(&migration, store("old_note"), store("new_note"));
    let mut holder = pool.begin().await.unwrap();
    holder.execute("UPDATE beside SET word = 'held'").await.unwrap();
    let mut tx = migration.begin(&pool).await.unwrap();
    notes.save(&mut tx, 1, "before").await.unwrap();
    let lost = MySqlDb::run(&mut tx, "UPDATE beside SET word = 'ours'").await.unwrap_err();
    assert!(lost.to_string().contains("1205"), "{lost}");
    let _ = notes.save(&mut tx, 2, "after").await;
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Poisoned);
    holder.rollback().await.unwrap();
    for table in ["old_note", "new_note"] {
        let rows = MySqlDb::rows(&pool, &format!("SELECT id FROM {table}")).await.unwrap();
        assert!(rows.is_empty(), "{rows:?}");
    }
    other.shutdown().await.unwrap();
    runtime.shutdown().await.unwrap();
}
