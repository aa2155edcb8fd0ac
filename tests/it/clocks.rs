//! Clocks that do not go on together: the machine is suspended, or the database's clock is set. What was under way
//! meanwhile does not answer, and the instance goes on.

use std::sync::Arc;
use std::time::Duration;

use dualwrite::{ErrorKind, Migration, Runtime, Stage};
use sqlx::Executor as _;
use sqlx::postgres::{PgConnection, PgPoolOptions};

use crate::support::db::{PostgresDb, Scratch, TestDb, on_all_databases};
use crate::support::hook::Hook;
use crate::support::notes::{CopyNotes, DualNotes, Notes as _, Store, World, plain};
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(a_read_from_before_a_suspend_does_not_answer_after_it);

const HOUR: Duration = Duration::from_secs(3_600);

/// Notes of another instance, whose reads can be held.
struct Instance<D: Sql> {
    runtime: Runtime<D::Db>,
    migration: Migration,
    notes: Arc<DualNotes<Store<D>, Store<D>>>,
    reading: Hook,
}

impl<D: Sql> Instance<D> {
    async fn of(world: &World<D>, runtime: Runtime<D::Db>) -> Self {
        let copy = CopyNotes::<D>::new();
        let migration = runtime.migration("notes").backfill(copy).register().await.unwrap();
        let reading = Hook::default();
        let store = |table| Store {
            table,
            pool: world.db.pool().clone(),
            mood: Default::default(),
            hanging: Default::default(),
            reading: reading.clone(),
            removing: Hook::default(),
        };
        let notes = Arc::new(DualNotes::new(&migration, store("old_note"), store("new_note")));
        Self { runtime, migration, notes, reading }
    }

    async fn beat(&self, db: &Scratch<D>) -> i64 {
        let of = self.runtime.instance();
        db.number(&format!("SELECT beat FROM dualwrite_instance WHERE id = '{of}'")).await
    }

    /// A read that is under way while something happens, which is noticed by so many heartbeats, and one after it.
    async fn reads_around(&self, db: &Scratch<D>, heartbeats: i64, happen: impl AsyncFnOnce()) {
        assert_eq!(self.notes.find(1).await.unwrap().as_deref(), Some("word 1"));
        self.reading.hold();
        let notes = Arc::clone(&self.notes);
        let held = tokio::spawn(async move { notes.find(1).await });
        self.reading.reached().await;
        let before = self.beat(db).await;
        happen().await;
        until("it has joined again", async || self.beat(db).await >= before + heartbeats).await;
        self.reading.let_go();
        let error = held.await.unwrap().unwrap_err();
        let error = dualwrite::Error::find(&error).expect("ours");
        assert_eq!(error.kind(), ErrorKind::StageUnknown, "{error}");
        until("reads go on", async || self.notes.find(1).await.is_ok()).await;
    }
}

async fn a_read_from_before_a_suspend_does_not_answer_after_it<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 1, plain).await;
    // By its own clock no heartbeat is due.
    let (builder, hands) = Runtime::builder(world.db.another_pool(4).await).manual_clock();
    let runtime = builder.lease(HOUR).poll(HOUR / 4).start().await.unwrap();
    let instance = Instance::of(&world, runtime).await;
    instance
        .reads_around(&world.db, 1, async || {
            hands.advance(Duration::from_millis(1));
            hands.suspend(HOUR * 2);
        })
        .await;
    instance.runtime.shutdown().await.unwrap();
}

/// A schema before `pg_catalog` has a clock that is some seconds ahead.
async fn with_a_clock_of_its_own(db: &Scratch<PostgresDb>) -> sqlx::PgPool {
    db.execute(
        "CREATE SCHEMA clocks;
         CREATE TABLE clocks.ahead (seconds BIGINT NOT NULL); INSERT INTO clocks.ahead VALUES (0);
         CREATE FUNCTION clocks.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
         'SELECT pg_catalog.clock_timestamp() + make_interval(secs => (SELECT seconds FROM clocks.ahead))'",
    )
    .await;
    PgPoolOptions::new()
        .max_connections(4)
        .after_connect(|conn: &mut PgConnection, _| {
            let path = "SET search_path = public, clocks, pg_catalog";
            Box::pin(async move { conn.execute(path).await.map(drop) })
        })
        .connect(&db.url())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_from_before_a_step_of_the_databases_clock_does_not_answer_after_it() {
    let Some(db) = PostgresDb::fresh("clocks::step").await else { return };
    let world = World::with(db, Stage::DualWrite, 1, plain).await;
    let pool = with_a_clock_of_its_own(&world.db).await;
    let runtime = Runtime::builder(pool).lease(Duration::from_secs(3)).start().await;
    let instance = Instance::of(&world, runtime.unwrap()).await;
    let set = async || world.db.execute("UPDATE clocks.ahead SET seconds = 7200").await;
    instance.reads_around(&world.db, 2, set).await;
    instance.runtime.shutdown().await.unwrap();
}

/// Of an instance that is gone the others believe no longer than a lease that it lives, also where the clock goes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_is_gone_is_not_kept_by_a_clock_that_goes_back() {
    let Some(db) = PostgresDb::fresh("clocks::back").await else { return };
    let lease = Duration::from_secs(3);
    let world = World::with(db, Stage::DualWrite, 1, plain).await;
    let pool = with_a_clock_of_its_own(&world.db).await;
    world.db.execute("UPDATE clocks.ahead SET seconds = 7200").await;
    let builder = Runtime::builder(pool).lease(lease).poll(Duration::from_millis(500));
    let instance = Instance::of(&world, builder.start().await.unwrap()).await;
    // One that was killed has acknowledged nothing of late.
    world
        .db
        .execute(
            "INSERT INTO dualwrite_instance (id, release_name, min_stage, max_stage, lease, expires_at, beat) \
             SELECT 'gone', 'x', 0, 5, 3000000, expires_at, 1 FROM dualwrite_instance \
             WHERE expires_at > (extract(epoch FROM clock_timestamp()) + 3600) * 1000000 LIMIT 1; \
             INSERT INTO dualwrite_acknowledgement (migration, instance, lazy, seen_epoch, seen_token, \
             drained_epoch, beat) VALUES ('notes', 'gone', 0, 0, 0, 0, 1)",
        )
        .await;
    assert_eq!(
        world.db.number("SELECT count(*) FROM dualwrite_instance WHERE id = 'gone'").await,
        1
    );
    world.db.execute("UPDATE clocks.ahead SET seconds = 0").await;
    until("it is dead", async || {
        let alive = "SELECT count(*) FROM dualwrite_instance WHERE id = 'gone' \
                     AND expires_at > extract(epoch FROM clock_timestamp()) * 1000000";
        world.db.number(alive).await == 0
    })
    .await;
    until("the position moves", async || instance.migration.advance(Stage::Shadow).await.is_ok())
        .await;
    instance.runtime.shutdown().await.unwrap();
}
