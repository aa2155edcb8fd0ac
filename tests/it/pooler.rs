//! PostgreSQL behind a pooler. One that gives each transaction another session breaks the prepared statements of
//! sqlx, unless it keeps them apart (PgBouncer from 1.21 on, which is not tried here): the start refuses it.

use std::str::FromStr;
use std::time::Duration;

use dualwrite::{ErrorKind, Runtime, Stage};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Pool, Postgres};

use crate::support::db::{PostgresDb, Scratch, TestDb};
use crate::support::notes::{CopyNotes, DualNotes, Notes, Store, World, lazy};
use crate::support::server::{Server, connected, pgbouncer};

async fn world(test: &str) -> Option<(World<PostgresDb>, PgConnectOptions)> {
    let db = PostgresDb::fresh(test).await?;
    let options = PgConnectOptions::from_str(&db.url()).unwrap();
    Some((World::with(db, Stage::DualWrite, 0, lazy).await, options))
}

fn through(server: &Server, options: &PgConnectOptions) -> PgConnectOptions {
    options.clone().host("127.0.0.1").port(server.port)
}

fn port(options: &PgConnectOptions) -> u16 {
    options.get_port()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_breaks_prepared_statements_is_refused() {
    let Some((_world, options)) = world("a pooler that breaks").await else { return };
    for sessions in [1, 2, 5] {
        let bouncer = pgbouncer(port(&options), "transaction", sessions).await;
        let pool = connected::<Postgres>(2, through(&bouncer, &options)).await;
        let error = Runtime::builder(pool).start().await.err();
        let error = error.unwrap_or_else(|| panic!("{sessions} sessions: {}", bouncer.log()));
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        let text = error.to_string();
        assert!(text.contains("pool_mode = session"), "{text}");
        assert!(text.contains("max_prepared_statements"), "{text}");
        assert!(!error.is_retryable());
    }
}

/// What is refused breaks indeed, also without any cache of statements.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_such_a_pooler_break_without_a_cache_of_statements_too() {
    let Some((_world, options)) = world("a pooler without a cache").await else { return };
    let bouncer = pgbouncer(port(&options), "transaction", 2).await;
    let pool =
        connected::<Postgres>(2, through(&bouncer, &options).statement_cache_capacity(0)).await;
    let error = Runtime::builder(pool).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

async fn writes(world: &World<PostgresDb>, pool: Pool<Postgres>) {
    let runtime = Runtime::builder(pool.clone()).start().await.unwrap();
    assert!(runtime.engine().is_tested());
    assert_eq!(runtime.engine().to_string().find("pooler"), None, "{}", runtime.engine());
    let copy = CopyNotes::<PostgresDb>::new();
    let migration = runtime.migration("notes").backfill(copy).lazy().register().await.unwrap();
    let store = |table| Store::<PostgresDb> {
        table,
        pool: pool.clone(),
        mood: Default::default(),
        hanging: Default::default(),
        reading: Default::default(),
        removing: Default::default(),
    };
    let notes = DualNotes::new(&migration, store("old_note"), store("new_note"));
    let mut tx = migration.begin(&pool).await.unwrap();
    notes.save(&mut tx, 1, "one").await.unwrap();
    tx.commit().await.unwrap();
    migration.advance(Stage::Shadow).await.unwrap();
    assert_eq!(world.words().await, [vec!["one".to_owned()], vec!["one".to_owned()]]);
    runtime.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_keeps_a_session_for_each_client_is_none() {
    let Some((world, options)) = world("a pooler of sessions").await else { return };
    let bouncer = pgbouncer(port(&options), "session", 20).await;
    let pool = connected::<Postgres>(4, through(&bouncer, &options)).await;
    writes(&world, pool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_pooler_is_none() {
    let Some((world, options)) = world("no pooler").await else { return };
    writes(&world, connected::<Postgres>(4, options).await).await;
}

/// The probe has connections of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_needs_no_connection_of_the_pool() {
    async fn starts<D: TestDb>(db: Scratch<D>) {
        let pool = db.another_pool(1).await;
        let held = pool.acquire().await.unwrap();
        let start = Runtime::builder(pool.clone()).start();
        let runtime = tokio::time::timeout(Duration::from_secs(20), start).await;
        let runtime = runtime.expect("it does not wait for the pool").unwrap();
        drop(held);
        runtime.shutdown().await.unwrap();
    }
    if let Some(db) = PostgresDb::fresh("a start with a full pool").await {
        starts(db).await;
    }
    if let Some(db) = crate::support::db::MySqlDb::fresh("a start with a full pool").await {
        starts(db).await;
    }
}
