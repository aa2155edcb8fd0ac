//! Writes that miss the triggers because of where the row or the trigger stands: tables that inherit, tables that were
//! renamed, triggers that were switched off; and rows that `OR REPLACE` removes unnamed.

use dualwrite::{Stage, preflight::HazardKind, verify::StaleKind};

use super::named::kinds;
use super::seen::{repaired, stale, watched};
use crate::support::db::{PostgresDb, Scratch, SqliteDb, TestDb as _, on_all_databases};
use crate::support::notes::{World, plain};
use crate::support::sql::Sql;

on_all_databases!(
    a_table_that_takes_the_name_of_old_has_no_trigger,
    what_was_written_until_a_trigger_is_given_again_is_not_verified,
);

/// As tools do that change a schema beside the service.
async fn a_table_that_takes_the_name_of_old_has_no_trigger<D: Sql>(db: Scratch<D>) {
    let world = watched(db).await;
    world
        .db
        .execute(
            "CREATE TABLE copy_of_note (id BIGINT PRIMARY KEY, word VARCHAR(60) NOT NULL);
             INSERT INTO copy_of_note SELECT * FROM old_note;
             ALTER TABLE old_note RENAME TO note_before;
             ALTER TABLE copy_of_note RENAME TO old_note",
        )
        .await;
    assert!(kinds(&world.migration).await.contains(&HazardKind::Watch));
    world.migration.install_trigger().await.unwrap();
    assert!(!kinds(&world.migration).await.contains(&HazardKind::Watch));
    world.db.execute("UPDATE old_note SET word = 'after it' WHERE id = 3").await;
    repaired(&world).await;
}

/// Nobody has looked in between: it is seen when it is given again.
async fn what_was_written_until_a_trigger_is_given_again_is_not_verified<D: Sql>(db: Scratch<D>) {
    let world = watched(db).await;
    assert!(world.migration.verify().run().await.unwrap().proven);
    let own = D::sql(
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'old_note'",
        "SELECT tgname FROM pg_trigger WHERE tgrelid = 'old_note'::regclass AND NOT tgisinternal",
        "SELECT trigger_name FROM information_schema.triggers \
         WHERE trigger_schema = DATABASE() AND event_object_table = 'old_note'",
    );
    let own: Vec<String> = world.db.rows(own).await.into_iter().flatten().flatten().collect();
    assert!(!own.is_empty());
    for trigger in own {
        let on = D::sql("", " ON old_note", "");
        world.db.execute(&format!("DROP TRIGGER {trigger}{on}")).await;
    }
    world.db.execute("UPDATE old_note SET word = 'unseen' WHERE id = 1").await;
    world.migration.install_trigger().await.unwrap();
    assert!(stale(&world.migration).await.contains(&StaleKind::Writer));
    assert!(!world.migration.verify().run().await.unwrap().is_clean());
}

async fn on_postgres() -> World<PostgresDb> {
    let db = PostgresDb::fresh("writers_elsewhere").await.unwrap();
    watched(db).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_tables_that_inherit_are_watched_on_postgres() {
    let db = PostgresDb::fresh("writers_elsewhere_heirs").await.unwrap();
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    let heirs = "CREATE TABLE heir (extra text, PRIMARY KEY (id)) INHERITS (old_note);
                 CREATE TABLE heir_of_heir (PRIMARY KEY (id)) INHERITS (heir);
                 INSERT INTO heir VALUES (10, 'ten'), (11, 'eleven'), (12, 'twelve');
                 INSERT INTO heir_of_heir VALUES (20, 'twenty')";
    world.db.execute(heirs).await;
    world.migration.backfill().run().await.unwrap();
    world.migration.install_trigger().await.unwrap();
    assert!(world.migration.verify().run().await.unwrap().proven);
    for write in [
        "UPDATE old_note SET word = 'by the parent' WHERE id = 10",
        "DELETE FROM heir WHERE id = 11",
        "INSERT INTO heir VALUES (13, 'thirteen')",
        "UPDATE heir_of_heir SET word = 'by itself'",
    ] {
        world.db.execute(write).await;
        repaired(&world).await;
        assert!(world.migration.verify().run().await.unwrap().proven, "{write}");
    }
    world.db.execute("TRUNCATE heir_of_heir").await;
    assert_eq!(stale(&world.migration).await, [StaleKind::Truncated]);
    world.migration.verify().repair().run().await.unwrap();
    assert!(world.migration.verify().run().await.unwrap().proven);
    assert!(kinds(&world.migration).await.is_empty());
    // One that comes later has no trigger, and brings rows.
    world.db.execute("CREATE TABLE late (LIKE old_note); INSERT INTO late VALUES (30, 'x')").await;
    world.db.execute("ALTER TABLE late INHERIT old_note").await;
    assert!(kinds(&world.migration).await.contains(&HazardKind::Watch));
    assert!(stale(&world.migration).await.contains(&StaleKind::Reshaped));
    world.migration.remove_trigger().await.unwrap();
    let left = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'dualwrite\\_watch%'";
    assert_eq!(world.db.number(left).await, 0);
}

/// Its rows are copied and compared as all others; that nobody sees who writes them elsewhere is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_a_foreign_table_are_copied_and_its_writers_are_a_hazard_on_postgres() {
    let db = PostgresDb::fresh("writers_elsewhere_foreign").await.unwrap();
    let extension = "SELECT count(*) FROM pg_available_extensions WHERE name = 'postgres_fdw'";
    if db.number(extension).await == 0 {
        return; // the server has no contrib
    }
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    let (host, port) = world.db.server().unwrap();
    let database = &world.db.rows("SELECT current_database()").await[0][0];
    let database = database.as_deref().unwrap();
    let foreign = format!(
        "CREATE TABLE there (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL);
         INSERT INTO there VALUES (10, 'ten'), (11, 'eleven');
         CREATE EXTENSION postgres_fdw;
         CREATE SERVER itself FOREIGN DATA WRAPPER postgres_fdw
         OPTIONS (host '{host}', port '{port}', dbname '{database}');
         CREATE USER MAPPING FOR CURRENT_USER SERVER itself;
         CREATE FOREIGN TABLE far () INHERITS (old_note) SERVER itself OPTIONS (table_name 'there')"
    );
    world.db.execute(&foreign).await;
    world.migration.install_trigger().await.unwrap();
    let done = world.migration.backfill().run().await.unwrap();
    assert_eq!((done.complete, done.migrated, done.failed), (true, 5, 0), "{done:?}");
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    let found = world.migration.hazards().await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].kind, HazardKind::Replication);
    for part in ["foreign table far", "another server"] {
        assert!(format!("{:?}", found[0]).contains(part), "{found:?}");
    }
    world.db.execute("UPDATE there SET word = 'unseen' WHERE id = 10").await;
    assert_eq!(world.migration.verify().run().await.unwrap().keys, ["10"]);
    world.db.execute("ALTER FOREIGN TABLE far NO INHERIT old_note").await;
    assert!(kinds(&world.migration).await.iter().all(|kind| *kind != HazardKind::Replication));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn triggers_that_were_disabled_for_a_while_withdraw_the_proof_on_postgres() {
    let world = on_postgres().await;
    assert!(kinds(&world.migration).await.is_empty() && stale(&world.migration).await.is_empty());
    // As a restore of data alone does.
    let unseen = "ALTER TABLE old_note DISABLE TRIGGER ALL;
                  UPDATE old_note SET word = 'unseen' WHERE id = 1;
                  ALTER TABLE old_note ENABLE TRIGGER ALL";
    world.db.execute(unseen).await;
    world.migration.hazards().await.unwrap();
    assert_eq!(stale(&world.migration).await, [StaleKind::Reshaped]);
    world.migration.verify().repair().run().await.unwrap();
    assert!(world.migration.verify().run().await.unwrap().proven);
    world.migration.install_trigger().await.unwrap();
    assert!(world.migration.verify().run().await.unwrap().proven);
}

async fn on_sqlite(test: &str, unique: &str) -> World<SqliteDb> {
    let db = SqliteDb::fresh(test).await.unwrap();
    let world = World::with(db, Stage::DualWrite, 5, plain).await;
    world.db.execute(unique).await;
    world.migration.backfill().run().await.unwrap();
    world.migration.install_trigger().await.unwrap();
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_replaced_by_one_without_a_number_is_recorded_on_sqlite() {
    let db = SqliteDb::fresh("writers_elsewhere_number").await.unwrap();
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    let table = "DROP TABLE old_note;
                 CREATE TABLE old_note (id INTEGER PRIMARY KEY, word VARCHAR(60) NOT NULL UNIQUE);
                 INSERT INTO old_note VALUES (-1, 'minus'), (2, 'two')";
    world.db.execute(table).await;
    world.migration.backfill().run().await.unwrap();
    world.migration.install_trigger().await.unwrap();
    world.db.execute("INSERT OR REPLACE INTO old_note (word) VALUES ('minus')").await;
    repaired(&world).await;
    assert!(world.migration.verify().run().await.unwrap().is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_replaced_by_a_default_is_recorded_on_sqlite() {
    let unique = "ALTER TABLE old_note ADD COLUMN place TEXT NOT NULL DEFAULT 'home';
                  UPDATE old_note SET place = 'place ' || id WHERE id > 1;
                  CREATE UNIQUE INDEX places ON old_note (place)";
    let world = on_sqlite("writers_elsewhere_default", unique).await;
    let replace = "INSERT OR REPLACE INTO old_note (id, word, place) VALUES (7, 'seven', NULL)";
    world.db.execute(replace).await;
    repaired(&world).await;
    world.db.execute("UPDATE OR REPLACE old_note SET place = NULL WHERE id = 2").await;
    repaired(&world).await;
    assert!(world.migration.verify().run().await.unwrap().is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unique_index_that_comes_later_is_named_on_sqlite() {
    let world = on_sqlite("writers_elsewhere_later", "").await;
    assert!(world.migration.verify().run().await.unwrap().proven);
    assert!(kinds(&world.migration).await.is_empty());
    world.db.execute("CREATE UNIQUE INDEX words ON old_note (word)").await;
    world.db.execute("INSERT OR REPLACE INTO old_note VALUES (9, 'word 2')").await;
    assert_eq!(kinds(&world.migration).await, [HazardKind::Watch]);
    world.migration.install_trigger().await.unwrap();
    assert!(kinds(&world.migration).await.is_empty());
    assert_eq!(stale(&world.migration).await, [StaleKind::Writer]);
    world.migration.verify().repair().run().await.unwrap();
    world.db.execute("INSERT OR REPLACE INTO old_note VALUES (10, 'word 3')").await;
    repaired(&world).await;
    assert!(world.migration.verify().run().await.unwrap().proven);
}
