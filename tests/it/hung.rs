//! A connection of the control tables hangs, or all of them are wanted at once: heartbeats go on, and so do reads.

use std::net::ToSocketAddrs as _;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use dualwrite::{
    ErrorKind, Migration, Runtime, Stage, Tx,
    operator::{Caller, Operator},
};
use tower::ServiceExt as _;

use crate::page::page_for;
use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{CopyNotes, DualNotes, Notes as _, Store, World, plain};
use crate::support::proxy::Proxy;
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(
    reads_go_on_while_control_connections_hang,
    reads_go_on_while_a_listener_cannot_connect,
    reads_go_on_while_many_moves_wait,
    many_moves_of_one_migration_leave_the_others_room,
    pages_that_were_given_up_leave_no_session_waiting,
    sessions_of_a_client_that_cannot_be_reached_end_by_their_limit,
    a_rollback_names_the_transaction_that_it_waits_for,
);

const LEASE: Duration = Duration::from_secs(3);

/// The pool of the runtime goes through the network, the reads do not.
struct Far<D: Sql> {
    world: World<D>,
    proxy: Proxy,
    runtime: Runtime<D::Db>,
    notes: DualNotes<Store<D>, Store<D>>,
    migration: Migration,
}

async fn far<D: Sql>(db: Scratch<D>) -> Option<Far<D>> {
    let (host, port) = db.server()?; // a file has no network
    let address = (host.as_str(), port).to_socket_addrs().unwrap().next().unwrap();
    let proxy = Proxy::to(address).await;
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    let url = world.db.url().replacen(&format!(":{port}"), &format!(":{}", proxy.port()), 1);
    let pool = world.db.pool_by(&url, 4).await;
    let runtime = Runtime::builder(pool).lease(LEASE).start().await.unwrap();
    let copy = CopyNotes::<D>::new();
    let migration = runtime.migration("notes").backfill(copy).register().await.unwrap();
    let store = |table| Store {
        table,
        pool: world.db.pool().clone(),
        mood: Default::default(),
        hanging: Default::default(),
        reading: Default::default(),
        removing: Default::default(),
    };
    let notes = DualNotes::new(&migration, store("old_note"), store("new_note"));
    Some(Far { world, proxy, runtime, notes, migration })
}

/// Reads until this instance has sent so many heartbeats more.
async fn reads_for<D: Sql>(far: &Far<D>, heartbeats: i64) {
    let sql =
        format!("SELECT beat FROM dualwrite_instance WHERE id = '{}'", far.runtime.instance());
    let goal = far.world.db.number(&sql).await + heartbeats;
    until("heartbeats go on", async || {
        far.notes.find(1).await.unwrap();
        far.world.db.number(&sql).await >= goal
    })
    .await;
}

async fn reads_go_on_while_control_connections_hang<D: Sql>(db: Scratch<D>) {
    let Some(far) = far(db).await else { return };
    reads_for(&far, 1).await;
    for _ in 0..2 {
        far.proxy.freeze();
        reads_for(&far, 4).await;
    }
    far.runtime.shutdown().await.unwrap();
}

async fn reads_go_on_while_a_listener_cannot_connect<D: Sql>(db: Scratch<D>) {
    if D::NAME != "postgres" {
        return; // only PostgreSQL is listened to
    }
    let Some(far) = far(db).await else { return };
    far.proxy.hold_new(true);
    let listeners = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                     WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    until("they listened", async || far.world.db.number(listeners).await > 0).await;
    reads_for(&far, 4).await;
    far.proxy.hold_new(false);
    far.runtime.shutdown().await.unwrap();
}

async fn reads_go_on_while_many_moves_wait<D: Sql>(db: Scratch<D>) {
    let Some(far) = far(db).await else { return };
    let mut migrations = vec![far.migration.clone()];
    for name in ["b", "c", "d", "e", "f"] {
        let registration = far.runtime.migration(name).backfill(CopyNotes::<D>::new());
        migrations.push(registration.register().await.unwrap());
        migrations.last().unwrap().advance(Stage::DualWrite).await.unwrap();
    }
    let all: Vec<&Migration> = migrations.iter().collect();
    let held = Tx::begin_for(far.world.db.pool(), &all).await.unwrap();
    // More than there are connections for moves: each waits for the transaction.
    let moves: Vec<_> = (0..12)
        .map(|number| {
            let migration = migrations[number % migrations.len()].clone();
            tokio::spawn(async move { migration.step_back(Stage::Off).await })
        })
        .collect();
    reads_for(&far, 4).await;
    held.rollback().await.unwrap();
    let mut made = 0;
    for moved in moves {
        made += usize::from(moved.await.unwrap().is_ok());
    }
    assert!(made > 0, "the first that came after the transaction");
    far.runtime.shutdown().await.unwrap();
}

async fn many_moves_of_one_migration_leave_the_others_room<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 1, plain).await;
    if D::NAME == "sqlite" {
        return world.runtime.shutdown().await.unwrap(); // one writer at a time, whatever it writes
    }
    let other = world.runtime.migration("other").backfill(CopyNotes::<D>::new());
    let other = other.register().await.unwrap();
    let held = world.begin().await;
    let moves: Vec<_> = (0..10)
        .map(|_| {
            let migration = world.migration.clone();
            tokio::spawn(async move { migration.step_back(Stage::Off).await })
        })
        .collect();
    other.advance(Stage::DualWrite).await.unwrap();
    other.status().await.unwrap();
    assert!(!moves.iter().all(|one| one.is_finished()), "they wait for the transaction");
    held.rollback().await.unwrap();
    for moved in moves {
        let _ = moved.await.unwrap();
    }
    world.runtime.shutdown().await.unwrap();
}

async fn pages_that_were_given_up_leave_no_session_waiting<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 1, plain).await;
    if D::NAME == "sqlite" {
        return world.runtime.shutdown().await.unwrap(); // it has no sessions
    }
    let (lock, waiting) = lock_and_waiting::<D>();
    let holder = world.db.another_pool(1).await;
    D::execute(&holder, lock).await.unwrap();
    // On PostgreSQL without limits of the server: only what is cancelled ends.
    let pool = unlimited(&world.db).await;
    let killed = "SHOW GLOBAL STATUS LIKE 'Com_kill'";
    let kills = async || match D::NAME {
        "mysql" => world.db.rows(killed).await[0][1].as_deref().unwrap().parse().unwrap(),
        _ => 0_u64,
    };
    let before = kills().await;
    let page = page_for(Operator::new(pool), Caller::operator("ada"));
    let ask = || page.clone().oneshot(Request::get("/").body(Body::empty()).unwrap());
    // Somebody reloads and reloads: each request is dropped as soon as the database works on it.
    for _ in 0..15 {
        let asked = tokio::spawn(ask());
        until("it waits", async || world.db.number(waiting).await > 0).await;
        asked.abort();
        // Which would not be so for as long as the lock is held.
        until("it is cancelled", async || world.db.number(waiting).await == 0).await;
    }
    if D::NAME == "mysql" {
        // There a limit of the server ends them, too, a second later.
        until("each was cancelled", async || kills().await >= before + 15).await;
    }
    // One who waits is answered.
    let began = Instant::now();
    let answer = ask().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    D::execute(&holder, D::sql("", "COMMIT", "UNLOCK TABLES")).await.unwrap();
    let answer = ask().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    world.runtime.shutdown().await.unwrap();
}

/// Locks a table that a status reads, and counts the sessions that wait for it.
fn lock_and_waiting<D: Sql>() -> (&'static str, &'static str) {
    match D::NAME {
        "postgres" => (
            "BEGIN; LOCK TABLE dualwrite_approval IN ACCESS EXCLUSIVE MODE",
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        ),
        _ => (
            "LOCK TABLES dualwrite_approval WRITE",
            "SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE() \
             AND state LIKE 'Waiting for table%'",
        ),
    }
}

/// Connections on which no limit can be set, where the database lets one have such.
async fn unlimited<D: Sql>(db: &Scratch<D>) -> sqlx::Pool<D::Db> {
    if D::NAME != "postgres" {
        return db.another_pool(4).await;
    }
    // A schema before `pg_catalog` has a function that sets nothing.
    db.execute(
        "CREATE SCHEMA nothing_is_set;
         CREATE FUNCTION nothing_is_set.set_config(text, text, boolean) RETURNS text LANGUAGE sql \
         AS 'SELECT $2'",
    )
    .await;
    let path = "options[search_path]=public,nothing_is_set,pg_catalog";
    let url = db.url();
    let joint = if url.contains('?') { '&' } else { '?' };
    db.pool_by(&format!("{url}{joint}{path}"), 4).await
}

/// What is cancelled goes the same way as the statement, and does not arrive either.
async fn sessions_of_a_client_that_cannot_be_reached_end_by_their_limit<D: Sql>(db: Scratch<D>) {
    let Some(far) = far(db).await else { return };
    let db = &far.world.db;
    let holder = db.another_pool(1).await;
    let (lock, waiting) = lock_and_waiting::<D>();
    D::execute(&holder, lock).await.unwrap();
    let asking = {
        let migration = far.migration.clone();
        tokio::spawn(async move { migration.status().await })
    };
    until("it waits", async || db.number(waiting).await > 0).await;
    far.proxy.hold_new(true);
    far.proxy.freeze();
    asking.abort();
    until("the server ends it", async || db.number(waiting).await == 0).await;
    far.proxy.hold_new(false);
    D::execute(&holder, D::sql("", "COMMIT", "UNLOCK TABLES")).await.unwrap();
    far.runtime.shutdown().await.unwrap();
}

/// Somebody accepts, and nobody answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_answers_while_the_database_is_down() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    for port in [port, closed] {
        let postgres = format!("postgres://nobody@127.0.0.1:{port}/none?sslmode=disable");
        let mysql = format!("mysql://nobody@127.0.0.1:{port}/none");
        let pages = [
            Operator::new(sqlx::PgPool::connect_lazy(&postgres).unwrap()),
            Operator::new(sqlx::MySqlPool::connect_lazy(&mysql).unwrap()),
        ]
        .map(|operator| page_for(operator, Caller::operator("ada")));
        for page in pages {
            let began = Instant::now();
            let request = Request::get("/").body(Body::empty()).unwrap();
            let answer = page.oneshot(request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!(began.elapsed() < Duration::from_millis(2_500), "{:?}", began.elapsed());
        }
    }
}

/// By another instance where the database can be asked meanwhile, else by the one that holds it.
async fn a_rollback_names_the_transaction_that_it_waits_for<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 1, plain).await;
    world.migration.backfill().run().await.unwrap();
    world.migration.verify().run().await.unwrap();
    for stage in [Stage::Shadow, Stage::Live] {
        world.migration.advance(stage).await.unwrap();
    }
    let held = world.begin().await;
    let own = format!("instance `{}`", world.runtime.instance());
    if world.db.server().is_none() {
        let error = world.migration.rollback("it fails").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        let text = error.to_string();
        assert!(text.contains(&format!("{own}, this one, has had one open for ")), "{text}");
        held.rollback().await.unwrap();
        world.migration.rollback("it fails").await.unwrap();
        return;
    }
    let pool = world.db.another_pool(3).await;
    let runtime = Runtime::builder(pool).start().await.unwrap();
    let copy = CopyNotes::<D>::new();
    let migration = runtime.migration("notes").backfill(copy).register().await.unwrap();
    let error = migration.rollback("it fails").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let text = error.to_string();
    assert!(text.contains(&format!("{own} (release `")), "{text}");
    assert!(text.contains("has had one open for "), "{text}");
    let state = D::sql("", "idle in transaction", "sleep");
    assert!(text.contains("session ") && text.contains(state), "{text}");
    held.rollback().await.unwrap();
    migration.rollback("it fails").await.unwrap();
    runtime.shutdown().await.unwrap();
}
