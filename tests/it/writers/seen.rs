//! What the triggers on the old table see.

use std::marker::PhantomData;
use std::time::Duration;

use dualwrite::{
    BoxError, Copied, CopyKeys, ErrorKind, Gate, Migration, Move, Runtime, Stage, Tx,
    copy::KeySource, verify::StaleKind,
};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{World, plain};
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(
    a_raw_write_under_the_fence_of_another_migration_is_recorded,
    what_a_session_remembers_of_another_fence_hides_nothing,
    a_trigger_that_gets_no_lock_gives_up_and_holds_writers_up_shortly,
    rows_that_go_all_at_once_are_seen,
);

/// Far longer than a write that only the trigger keeps waiting.
const LONG: Duration = Duration::from_secs(10);

/// Copied and proven, and watched.
pub(super) async fn watched<D: Sql>(db: Scratch<D>) -> World<D> {
    let world = World::with(db, Stage::DualWrite, 10, plain).await;
    world.migration.backfill().run().await.unwrap();
    world.migration.install_trigger().await.unwrap();
    assert!(world.migration.verify().run().await.unwrap().proven);
    world
}

/// Keys that wait are copied again; then old and new are the same.
pub(super) async fn repaired<D: Sql>(world: &World<D>) {
    world.migration.repair().await.unwrap();
    let [old, new] = world.words().await;
    assert_eq!(old, new);
}

pub(super) async fn stale(migration: &Migration) -> Vec<StaleKind> {
    let status = migration.status().await.unwrap();
    status.stale.into_iter().map(|mark| mark.kind).collect()
}

/// A migration of other rows.
struct CopyOthers<D: Sql>(PhantomData<D>);

impl<D: Sql> CopyKeys for CopyOthers<D> {
    type Database = D::Db;
    type Key = i64;

    fn source(&self) -> KeySource {
        KeySource::table("other").column("id")
    }

    async fn copy(&self, _: &mut Tx<'_, D::Db>, _: &[i64]) -> Result<Copied, BoxError> {
        Ok(Copied::default())
    }
}

/// Another migration, of a table `other`, at dual writes.
async fn others<D: Sql>(world: &World<D>) -> Migration {
    world.db.execute("CREATE TABLE other (id BIGINT PRIMARY KEY, n BIGINT)").await;
    world.db.execute("INSERT INTO other VALUES (1, 0)").await;
    let copy = CopyOthers::<D>(PhantomData);
    let other = world.runtime.migration("others").backfill(copy).register().await.unwrap();
    other.advance(Stage::DualWrite).await.unwrap();
    other
}

async fn a_raw_write_under_the_fence_of_another_migration_is_recorded<D: Sql>(db: Scratch<D>) {
    let world = watched(db).await;
    let other = others(&world).await;
    let unaware = async || {
        let rows = world
            .db
            .rows("SELECT DISTINCT migration FROM dualwrite_unaware WHERE minute > 0 ORDER BY 1")
            .await;
        let names = rows.into_iter().flatten().flatten().collect::<Vec<_>>();
        world.db.execute("UPDATE dualwrite_unaware SET minute = 0").await;
        names
    };
    // Whether the other migration is watched makes no difference for the first.
    for installs in [false, true] {
        if installs {
            other.install_trigger().await.unwrap();
        }
        let write = async |fenced: &[&Migration]| {
            let mut tx = Tx::<D::Db>::begin_for(world.db.pool(), fenced).await.unwrap();
            let sql = "UPDATE old_note SET word = CONCAT(word, '!') WHERE id = 1";
            let sqlite = "UPDATE old_note SET word = word || '!' WHERE id = 1";
            D::run(&mut tx, D::sql(sqlite, sql, sql)).await.unwrap();
            D::run(&mut tx, "UPDATE other SET n = n + 1 WHERE id = 1").await.unwrap();
            tx.commit().await.unwrap();
        };
        write(&[&other]).await;
        assert_eq!(unaware().await, ["notes"]);
        repaired(&world).await;
        write(&[&world.migration]).await;
        assert_eq!(unaware().await, if installs { vec!["others"] } else { Vec::new() });
        for both in [[&world.migration, &other], [&other, &world.migration]] {
            write(&both).await;
            assert_eq!(unaware().await, Vec::<String>::new());
        }
        // The marks are gone with the transactions that bore them.
        world.db.execute("UPDATE old_note SET word = 'behind' WHERE id = 1").await;
        assert_eq!(unaware().await, ["notes"]);
        repaired(&world).await;
    }
}

/// The session may remember a fence whose transaction was rolled back.
async fn what_a_session_remembers_of_another_fence_hides_nothing<D: Sql>(db: Scratch<D>) {
    let world = watched(db).await;
    let other = others(&world).await;
    other.install_trigger().await.unwrap();
    let session = world.db.another_pool(1).await;
    let begun = Tx::<D::Db>::begin_for(&session, &[&world.migration]).await.unwrap();
    begun.rollback().await.unwrap();
    let mut tx = Tx::<D::Db>::begin_for(&session, &[&other]).await.unwrap();
    D::run(&mut tx, "UPDATE old_note SET word = 'raw' WHERE id = 1").await.unwrap();
    D::run(&mut tx, "UPDATE other SET n = n + 1 WHERE id = 1").await.unwrap();
    tx.commit().await.unwrap();
    let rows =
        world.db.rows("SELECT DISTINCT migration FROM dualwrite_unaware WHERE minute > 0").await;
    let names = rows.into_iter().flatten().flatten().collect::<Vec<_>>();
    assert_eq!(names, ["notes"]);
}

async fn a_trigger_that_gets_no_lock_gives_up_and_holds_writers_up_shortly<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 2, plain).await;
    let pool = world.db.another_pool(1).await;
    let mut open = pool.acquire().await.unwrap();
    for sql in ["BEGIN", "UPDATE old_note SET word = 'open' WHERE id = 1"] {
        D::run_on(&mut open, sql).await.unwrap();
    }
    let installing = world.migration.install_trigger();
    let writing = async {
        // On SQLite the open transaction is the writer; elsewhere nobody but the trigger waits for it.
        if D::NAME == "postgres" {
            let waiting = "SELECT count(*) FROM pg_stat_activity \
                           WHERE datname = current_database() AND wait_event_type = 'Lock'";
            until("the trigger waits", async || world.db.number(waiting).await > 0).await;
        }
        if D::NAME != "sqlite" {
            for _ in 0..20 {
                let write = "UPDATE old_note SET word = 'live' WHERE id = 2";
                tokio::time::timeout(LONG, world.db.execute(write)).await.expect("a write goes on");
            }
        }
    };
    let (refused, ()) = tokio::join!(installing, writing);
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Timeout, "{refused}");
    assert!(refused.to_string().contains("install the trigger again"), "{refused}");
    D::run_on(&mut open, "ROLLBACK").await.unwrap();
    world.migration.install_trigger().await.unwrap();
    world.db.execute("UPDATE old_note SET word = 'raw' WHERE id = 1").await;
    let seen = "SELECT count(*) FROM dualwrite_unaware WHERE minute > 0";
    assert!(world.db.number(seen).await > 0);
}

async fn rows_that_go_all_at_once_are_seen<D: Sql>(db: Scratch<D>) {
    let world = watched(db).await;
    // On MySQL nobody is told of a TRUNCATE; see `named`.
    let all = D::sql("DELETE FROM old_note", "TRUNCATE old_note", "DELETE FROM old_note");
    world.db.execute(all).await;
    if D::NAME == "postgres" {
        assert_eq!(stale(&world.migration).await, [StaleKind::Truncated]);
        world.migration.advance(Stage::Shadow).await.unwrap();
        let blockers = super::named::blockers(&world.migration, Move::Advance(Stage::Live)).await;
        let [blocker] = blockers.as_slice() else { panic!("{blockers:?}") };
        assert_eq!(blocker.gate, Gate::Verified);
        assert!(blocker.reason.contains("the old table was truncated"), "{}", blocker.reason);
        assert_eq!(world.migration.verify().run().await.unwrap().missing_in_old, 10);
        assert_eq!(world.migration.verify().repair().run().await.unwrap().removed, 10);
    }
    repaired(&world).await;
    assert!(world.migration.verify().run().await.unwrap().proven);
    assert_eq!(stale(&world.migration).await, []);
    let unaware = "SELECT count(*) FROM dualwrite_unaware WHERE minute > 0";
    assert!(world.db.number(unaware).await >= 1);
}

/// Runs a test on one kind of database.
macro_rules! on {
    ($kind:ident: $($test:ident),+ $(,)?) => { $(
        mod $test {
            crate::support::db::on_all_databases!(@on only, $kind, $test);
        }
    )+ };
}
pub(super) use on;

on!(PostgresDb:
    what_a_replica_role_writes_is_recorded,
    partitions_that_are_truncated_are_seen,
    what_a_truncate_of_another_table_takes_along_is_seen,
    what_a_trigger_or_a_cascade_writes_under_the_fence_is_recorded,
);
on!(SqliteDb: a_row_that_another_one_replaces_is_recorded);

/// As the worker of logical replication does.
async fn what_a_replica_role_writes_is_recorded<D: Sql>(db: Scratch<D>) {
    let world = watched(db).await;
    let as_replica = |sql: &str| format!("SET session_replication_role = replica; {sql}");
    let pool = world.db.another_pool(1).await;
    D::execute(&pool, &as_replica("UPDATE old_note SET word = 'replicated' WHERE id = 1"))
        .await
        .unwrap();
    assert_eq!(world.db.number("SELECT count(*) FROM dualwrite_unaware WHERE minute > 0").await, 1);
    repaired(&world).await;
    D::execute(&pool, &as_replica("TRUNCATE old_note")).await.unwrap();
    assert_eq!(stale(&world.migration).await, [StaleKind::Truncated]);
}

async fn partitions_that_are_truncated_are_seen<D: Sql>(db: Scratch<D>) {
    db.execute(
        "CREATE TABLE other (id BIGINT PRIMARY KEY, n BIGINT) PARTITION BY RANGE (id);
         CREATE TABLE other_1 PARTITION OF other FOR VALUES FROM (0) TO (10);
         CREATE TABLE other_2 PARTITION OF other FOR VALUES FROM (10) TO (20);
         INSERT INTO other VALUES (1, 0), (11, 0)",
    )
    .await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let copy = CopyOthers::<D>(PhantomData);
    let migration = runtime.migration("others").backfill(copy).register().await.unwrap();
    migration.install_trigger().await.unwrap();
    migration.install_trigger().await.unwrap();
    db.execute("TRUNCATE other_2").await;
    assert_eq!(stale(&migration).await, [StaleKind::Truncated]);
    // A partition by its own name, in the role of a replica.
    db.execute("SET session_replication_role = replica; UPDATE other_1 SET n = 1; RESET ALL").await;
    assert_eq!(db.number("SELECT count(*) FROM dualwrite_dirty WHERE key_text = '1'").await, 1);
    migration.remove_trigger().await.unwrap();
    let left = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'dualwrite_watch%'";
    assert_eq!(db.number(left).await, 0);
}

/// Under the fence, too: a TRUNCATE is no write that the library brings to the new side.
async fn what_a_truncate_of_another_table_takes_along_is_seen<D: Sql>(db: Scratch<D>) {
    let world = watched(db).await;
    let parent = "CREATE TABLE author (id BIGINT PRIMARY KEY);
                  ALTER TABLE old_note ADD COLUMN author BIGINT REFERENCES author";
    world.db.execute(parent).await;
    for (sql, is_fenced) in [
        ("TRUNCATE author CASCADE", false),
        ("TRUNCATE author CASCADE", true),
        ("TRUNCATE old_note", true),
    ] {
        world.db.execute("INSERT INTO old_note (id, word) VALUES (77, 'again')").await;
        repaired(&world).await;
        assert!(world.migration.verify().run().await.unwrap().proven);
        match is_fenced {
            true => {
                let mut tx = world.begin().await;
                D::run(&mut tx, sql).await.unwrap();
                tx.commit().await.unwrap();
            }
            false => world.db.execute(sql).await,
        }
        assert_eq!(world.db.number("SELECT count(*) FROM old_note").await, 0);
        assert_eq!(stale(&world.migration).await, [StaleKind::Truncated], "{sql} {is_fenced}");
        world.migration.verify().repair().run().await.unwrap();
    }
}

async fn what_a_trigger_or_a_cascade_writes_under_the_fence_is_recorded<D: Sql>(db: Scratch<D>) {
    let world = watched(db).await;
    world
        .db
        .execute(
            "CREATE TABLE author (id BIGINT PRIMARY KEY);
             INSERT INTO author VALUES (1), (2);
             ALTER TABLE old_note ADD COLUMN author BIGINT REFERENCES author ON DELETE CASCADE;
             UPDATE old_note SET author = 1 WHERE id = 3;
             CREATE TABLE log (id BIGINT PRIMARY KEY);
             CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 UPDATE old_note SET word = 'shouted' WHERE id = NEW.id; RETURN NULL; END $$;
             CREATE TRIGGER shout AFTER INSERT ON log FOR EACH ROW EXECUTE FUNCTION shout()",
        )
        .await;
    repaired(&world).await;
    world.db.execute("UPDATE dualwrite_unaware SET minute = 0").await;
    let mut tx = world.begin().await;
    D::run(&mut tx, "DELETE FROM author WHERE id = 1").await.unwrap();
    D::run(&mut tx, "INSERT INTO log VALUES (5)").await.unwrap();
    tx.commit().await.unwrap();
    let [old, _] = world.words().await;
    assert!(old.len() == 9 && old.contains(&"shouted".to_owned()), "{old:?}");
    repaired(&world).await;
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    // It is the application's own transaction.
    assert_eq!(world.db.number("SELECT count(*) FROM dualwrite_unaware WHERE minute > 0").await, 0);
}

async fn a_row_that_another_one_replaces_is_recorded<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 10, plain).await;
    world.db.execute("CREATE UNIQUE INDEX words ON old_note (word COLLATE NOCASE)").await;
    world.migration.backfill().run().await.unwrap();
    world.migration.install_trigger().await.unwrap();
    world.db.execute("INSERT OR REPLACE INTO old_note VALUES (50, 'WORD 3')").await;
    repaired(&world).await;
    world.db.execute("UPDATE OR REPLACE old_note SET word = 'word 4' WHERE id = 5").await;
    repaired(&world).await;
    world.db.execute("REPLACE INTO old_note VALUES (7, 'word 6'), (8, 'word 9')").await;
    repaired(&world).await;
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    // Under the fence, too: nobody has written the row that goes.
    let mut tx = world.begin().await;
    D::run(&mut tx, "INSERT OR REPLACE INTO old_note VALUES (10, 'word 1')").await.unwrap();
    D::run(&mut tx, "INSERT OR REPLACE INTO new_note VALUES (10, 'word 1')").await.unwrap();
    tx.commit().await.unwrap();
    repaired(&world).await;
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    // A write to both sides that replaces nothing leaves no mark.
    let mut tx = world.begin().await;
    D::run(&mut tx, "UPDATE old_note SET word = 'fresh' WHERE id = 2").await.unwrap();
    D::run(&mut tx, "UPDATE new_note SET word = 'fresh' WHERE id = 2").await.unwrap();
    D::run(&mut tx, "INSERT OR REPLACE INTO old_note VALUES (2, 'fresher')").await.unwrap();
    D::run(&mut tx, "INSERT OR REPLACE INTO new_note VALUES (2, 'fresher')").await.unwrap();
    let marks = "SELECT CAST(count(*) AS TEXT) FROM dualwrite_dirty";
    assert_eq!(D::texts(&mut tx, marks).await.unwrap(), ["0"]);
    tx.commit().await.unwrap();
}
