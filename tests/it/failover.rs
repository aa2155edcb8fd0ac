//! The control tables are set back under running instances, by a failover to a standby that lags or a restore: a
//! change of the position is lost, and its epoch is made again as something else.

use std::time::Duration;

use dualwrite::{ErrorKind, Runtime, Stage};

use crate::support::cluster::Server;
use crate::support::db::{PostgresDb, Scratch, on_all_databases};
use crate::support::notes::{CopyNotes, Notes as _, World};
use crate::support::proxy::Proxy;
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(
    an_epoch_that_was_made_again_is_seen_by_the_fence_and_followed,
    a_lower_epoch_is_joined_again,
    a_lost_heartbeat_is_joined_again,
);

/// What a dump of the control tables holds, and puts back.
const TABLES: [&str; 4] =
    ["dualwrite_migration", "dualwrite_event", "dualwrite_instance", "dualwrite_acknowledgement"];

async fn dump<D: Sql>(db: &Scratch<D>) {
    for table in TABLES {
        db.execute(&format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}")).await;
    }
}

/// In one transaction, as a restored file comes in one moment.
async fn restore<D: Sql>(db: &Scratch<D>) {
    let mut sql = "BEGIN;".to_owned();
    for table in TABLES {
        let overriding = match (D::NAME, table) {
            ("postgres", "dualwrite_event") => "OVERRIDING SYSTEM VALUE ",
            _ => "",
        };
        sql += &format!(
            "DELETE FROM {table}; INSERT INTO {table} {overriding}SELECT * FROM kept_{table};"
        );
    }
    db.execute(&(sql + "COMMIT")).await;
}

/// An instance that looks at the control tables by itself every minute only.
async fn slow<D: Sql>(world: &World<D>) -> (Runtime<D::Db>, dualwrite::Migration) {
    let builder = Runtime::builder(world.db.pool().clone());
    let builder = builder.lease(Duration::from_secs(600)).poll(Duration::from_secs(120));
    let runtime = builder.start().await.unwrap();
    let copy = CopyNotes::<D>::both_ways();
    let migration = runtime.migration("notes").backfill(copy).lazy().register().await.unwrap();
    (runtime, migration)
}

async fn an_epoch_that_was_made_again_is_seen_by_the_fence_and_followed<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::Shadow, db).await;
    let (runtime, migration) = slow(&world).await;
    dump(&world.db).await;
    world.migration.advance(Stage::Live).await.unwrap();
    assert_eq!(migration.refresh().await.unwrap().stage, Stage::Live);
    let lost = migration.position();
    world.runtime.shutdown().await.unwrap();

    restore(&world.db).await;
    // Somebody makes the epoch again, as another position.
    let off = "UPDATE dualwrite_migration SET stage = 1, epoch = epoch + 1, token = token - 1, from_token = token";
    let off = if D::NAME == "mysql" {
        // It assigns from left to right.
        "UPDATE dualwrite_migration SET stage = 1, epoch = epoch + 1, from_token = token, token = token - 1"
    } else {
        off
    };
    world.db.execute(off).await;

    let tx = migration.begin(world.db.pool()).await.unwrap();
    let pinned = tx.position(&migration).unwrap();
    assert_eq!((pinned.stage, pinned.epoch), (Stage::DualWrite, lost.epoch), "the fence knows");
    tx.commit().await.unwrap();
    until("it follows", async || migration.position().stage == Stage::DualWrite).await;
    assert_eq!(migration.refresh().await.unwrap(), migration.position());
    runtime.shutdown().await.unwrap();
}

async fn a_lower_epoch_is_joined_again<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::Shadow, db).await;
    let (runtime, migration) = slow(&world).await;
    dump(&world.db).await;
    world.migration.advance(Stage::Live).await.unwrap();
    migration.refresh().await.unwrap();
    let lost = migration.position();
    restore(&world.db).await;

    let tx = migration.begin(world.db.pool()).await.unwrap();
    let pinned = tx.position(&migration).unwrap();
    assert!(pinned.epoch < lost.epoch);
    tx.commit().await.unwrap();
    until("both follow", async || {
        [&migration, &world.migration].iter().all(|one| one.position() == pinned)
    })
    .await;
    // Both count as live, and what they have drained is known again.
    let moved = world.migration.advance(Stage::Live).within(Duration::from_secs(60)).await.unwrap();
    assert_eq!((moved.stage, moved.epoch), (Stage::Live, lost.epoch));
    runtime.shutdown().await.unwrap();
}

/// Nothing else tells: the position is the same.
async fn a_lost_heartbeat_is_joined_again<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::Shadow, db).await;
    let builder = Runtime::builder(world.db.pool().clone());
    let runtime = builder.lease(Duration::from_secs(3)).start().await.unwrap();
    let copy = CopyNotes::<D>::new();
    let migration = runtime.migration("notes").backfill(copy).lazy().register().await.unwrap();
    let id = runtime.instance().to_owned();
    let forget = format!(
        "DELETE FROM dualwrite_acknowledgement WHERE instance = '{id}'; \
         DELETE FROM dualwrite_instance WHERE id = '{id}'"
    );
    world.db.execute(&forget).await;
    let known = format!(
        "SELECT count(*) FROM dualwrite_instance i JOIN dualwrite_acknowledgement a ON a.instance = i.id \
         WHERE i.id = '{id}'"
    );
    until("it joins again", async || world.db.number(&known).await == 1).await;
    assert_eq!(migration.refresh().await.unwrap().stage, Stage::Shadow);
    runtime.shutdown().await.unwrap();
}

/// Real servers: the last change has not reached the standby when the primary dies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_standby_that_lagged_is_followed() {
    let primary = Server::primary();
    let proxy = Proxy::to(primary.address()).await;
    let db = Scratch::<PostgresDb>::on(&Server::url(proxy.port())).await;
    let world = World::at(Stage::Live, db).await;
    world.save(1, "before").await;
    let before = world.migration.position();

    let standby = primary.standby().await;
    let behind = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()";
    until("the standby follows", async || primary.number(behind).await == 1).await;
    standby.execute("ALTER SYSTEM SET primary_conninfo = ''").await;
    standby.execute("SELECT pg_reload_conf()").await;
    let received = "SELECT count(*) FROM pg_stat_replication";
    until("it receives nothing more", async || primary.number(received).await == 0).await;

    let lost = world.migration.rollback("lost").await.unwrap();
    assert_eq!((lost.stage, lost.epoch.0), (Stage::Shadow, before.epoch.0 + 1));
    primary.crash();
    standby.promote();

    // An operator of another process makes the epoch again, on the new primary.
    let direct = Scratch::<PostgresDb>::on(&Server::url(standby.address().port())).await;
    let operator = Runtime::builder(direct.pool().clone()).start().await.unwrap();
    let copy = CopyNotes::<PostgresDb>::new();
    let other = operator.migration("notes").backfill(copy).lazy().register().await.unwrap();
    assert_eq!(other.position(), before, "the change is lost");
    let refused = other.advance(Stage::RampDown).within(Duration::ZERO).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Blocked, "{refused}");
    let late = format!("{refused}");
    assert!(late.contains("[drained]"), "it has not spoken to this server: {late}");

    proxy.lead_to(standby.address());
    until("it follows", async || world.migration.position() == before).await;
    until("it reads", async || matches!(world.notes.find(1).await, Ok(Some(_)))).await;
    other.backfill().run().await.unwrap();
    other.verify().run().await.unwrap();
    let moved = other.advance(Stage::RampDown).within(Duration::from_secs(30)).await.unwrap();
    assert_eq!(moved.epoch, lost.epoch);
    until("it follows on", async || world.migration.position() == moved).await;
    world.save(1, "after").await;
    assert_eq!(world.notes.find(1).await.unwrap().as_deref(), Some("after"));
    assert_eq!(world.words().await, [vec!["after".to_owned()], vec!["after".to_owned()]]);
    operator.shutdown().await.unwrap();
    world.runtime.shutdown().await.unwrap();
}

/// The file itself is put back, while it is open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_file_is_followed() {
    use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
    let folder = tempfile::tempdir().unwrap();
    let (path, kept) = (folder.path().join("live.db"), folder.path().join("kept.db"));
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await.unwrap();
    let runtime = Runtime::builder(pool.clone()).start().await.unwrap();
    let migration = runtime.migration("notes").register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    let before = migration.position();
    sqlx::query("VACUUM INTO ?").bind(kept.to_str().unwrap()).execute(&pool).await.unwrap();
    migration.step_back(Stage::Off).await.unwrap();

    // Nobody writes or reads while the file is replaced.
    let mut alone = pool.acquire().await.unwrap();
    sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut *alone).await.unwrap();
    let bytes = std::fs::read(&kept).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    // Another number of changes: whoever has pages of it in memory reads them anew.
    sqlx::raw_sql("ROLLBACK").execute(&mut *alone).await.unwrap();
    alone.close().await.unwrap();

    let tx = migration.begin(&pool).await.unwrap();
    assert_eq!(tx.position(&migration).unwrap(), before, "the fence knows");
    tx.commit().await.unwrap();
    until("it follows", async || migration.position() == before).await;
    runtime.shutdown().await.unwrap();
}
