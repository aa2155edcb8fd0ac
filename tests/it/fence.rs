//! The fence where the library is not alone with it: positions changed by hand, fences that are missing, dumps,
//! and services that may not make tables.

use dualwrite::{Runtime, Stage};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{CopyNotes, Notes as _, World};
use crate::support::sql::Sql;

on_all_databases!(
    a_position_changed_by_hand_waits_for_writers_and_is_seen_by_the_next,
    a_fence_that_is_missing_is_made_again,
    a_watched_migration_is_marked_from_the_first_write_to_the_last,
    a_dump_keeps_no_change_waiting,
    a_service_that_may_not_make_tables_changes_the_stage,
    a_migration_whose_row_is_gone_is_unknown,
    a_role_without_rights_gets_none_from_the_triggers,
);

const BY_HAND: &str = "UPDATE dualwrite_migration SET epoch = epoch + 1";

async fn a_position_changed_by_hand_waits_for_writers_and_is_seen_by_the_next<D: Sql>(
    db: Scratch<D>,
) {
    let world = World::at(Stage::DualWrite, db).await;
    for _ in 0..3 {
        let before = world.migration.position().epoch;
        let mut tx = world.begin().await;
        assert_eq!(tx.position(&world.migration).unwrap().epoch, before);
        let pool = world.db.pool().clone();
        let by_hand = tokio::spawn(async move { D::execute(&pool, BY_HAND).await });
        for id in 0..60 {
            world.notes.save(&mut tx, id, "before").await.unwrap();
        }
        assert!(!by_hand.is_finished(), "a write is in flight");
        tx.commit().await.unwrap();
        by_hand.await.unwrap().unwrap();
        // It has not heard of the new epoch, or only just.
        let tx = world.begin().await;
        assert!(tx.position(&world.migration).unwrap().epoch > before);
        tx.commit().await.unwrap();
        world.migration.refresh().await.unwrap();
        world.save(1, "after").await;
    }
}

/// Somebody tidies up, or restores less than everything.
async fn a_fence_that_is_missing_is_made_again<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    world.save(1, "before").await;
    let names = D::sql(
        "SELECT 'DELETE FROM dualwrite_fence WHERE id = ' || id FROM dualwrite_fence",
        "SELECT 'DROP PROCEDURE ' || proname FROM pg_proc WHERE proname LIKE 'dualwrite_fence_%'",
        "SELECT 'the row is the fence' WHERE false",
    );
    let fences = world.db.rows(names).await;
    assert_eq!(fences.len(), usize::from(D::NAME != "mysql"), "one epoch, one fence");
    for fence in &fences {
        world.db.execute(fence[0].as_deref().unwrap()).await;
    }
    if D::NAME == "postgres" {
        let error = world.migration.begin(world.db.pool()).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("UPDATE dualwrite_migration SET epoch = epoch"), "{text}");
    }
    world.db.execute("UPDATE dualwrite_migration SET epoch = epoch").await;
    assert_eq!(world.db.rows(names).await, fences);
    world.save(1, "after").await;
    for _ in 0..3 {
        world.migration.step_back(Stage::Off).await.unwrap();
        world.migration.advance(Stage::DualWrite).await.unwrap();
        world.save(1, "on").await;
    }
    assert_eq!(world.db.rows(names).await.len(), fences.len(), "passed epochs leave none behind");
}

async fn a_watched_migration_is_marked_from_the_first_write_to_the_last<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    world.save(1, "unwatched").await;
    let unaware = "SELECT count(*) FROM dualwrite_unaware WHERE minute > 0";
    for round in 0..2 {
        let held = world.begin().await;
        drop(held);
        world.migration.install_trigger().await.unwrap();
        for id in 0..3 {
            world.save(id, "watched").await;
        }
        assert_eq!(world.db.number(unaware).await, 0, "round {round}");
        world.migration.remove_trigger().await.unwrap();
        for id in 0..3 {
            world.save(id, "unwatched again").await;
        }
    }
    world.migration.install_trigger().await.unwrap();
    world.db.execute("UPDATE old_note SET word = 'behind' WHERE id = 1").await;
    assert_eq!(world.db.number(unaware).await, 1);
}

/// `pg_dump` locks every table until its end, and reads how views are made.
async fn a_dump_keeps_no_change_waiting<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    if D::NAME != "postgres" {
        return; // there a dump holds a snapshot
    }
    let dump = world.db.another_pool(1).await;
    let tables = "BEGIN; DO $$ DECLARE t regclass; BEGIN \
                  FOR t IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace \
                  LOOP EXECUTE 'LOCK TABLE ' || t || ' IN ACCESS SHARE MODE'; END LOOP; \
                  PERFORM pg_get_viewdef(oid) FROM pg_class WHERE relkind = 'v'; END $$";
    D::execute(&dump, tables).await.unwrap();
    world.migration.step_back(Stage::Off).await.unwrap();
    world.migration.advance(Stage::DualWrite).await.unwrap();
    world.save(1, "beside the dump").await;
    D::execute(&dump, "COMMIT").await.unwrap();
}

/// Its role reads and writes rows; another one has made the tables.
async fn a_service_that_may_not_make_tables_changes_the_stage<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::Off, db).await;
    if D::NAME != "postgres" {
        return; // there the fence is no object that somebody owns
    }
    let role = world.db.rows("SELECT 'service_' || md5(current_database())").await;
    let role = role[0][0].clone().unwrap();
    let rights = format!(
        "CREATE ROLE {role}; REVOKE CREATE ON SCHEMA public FROM PUBLIC; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}; \
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"
    );
    world.db.execute(&rights).await;
    let url = format!("{}?options[role]={role}", world.db.url().split('?').next().unwrap());
    let pool = sqlx::Pool::<D::Db>::connect(&url).await.unwrap();
    let runtime = Runtime::builder(pool.clone()).start().await.unwrap();
    for name in ["notes", "made-by-the-service"] {
        let copy = CopyNotes::<D>::new();
        let registration = runtime.migration(name).backfill(copy).lazy();
        let migration = registration.register().await.unwrap();
        migration.advance(Stage::DualWrite).await.unwrap();
        let tx = migration.begin(&pool).await.unwrap();
        assert_eq!(tx.position(&migration).unwrap().stage, Stage::DualWrite);
        tx.commit().await.unwrap();
    }
    runtime.shutdown().await.unwrap();
    pool.close().await;
    world.db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

async fn a_migration_whose_row_is_gone_is_unknown<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    world.save(1, "known").await;
    world.db.execute("DELETE FROM dualwrite_migration").await;
    let error = world.migration.begin(world.db.pool()).await.unwrap_err();
    assert_eq!(error.kind(), dualwrite::ErrorKind::UnknownMigration, "{error}");
}

/// The functions run with the rights of whoever made them. A role that may make tables of its own, and write
/// old, tries to get at those.
async fn a_role_without_rights_gets_none_from_the_triggers<D: Sql>(db: Scratch<D>) {
    let world = World::at(Stage::DualWrite, db).await;
    if D::NAME != "postgres" {
        return; // there a trigger belongs to its table
    }
    world.migration.install_trigger().await.unwrap();
    let role = world.db.rows("SELECT 'writer_' || md5(current_database())").await;
    let role = role[0][0].clone().unwrap();
    world.db.execute(&format!(
        "CREATE ROLE {role}; CREATE SCHEMA own AUTHORIZATION {role}; GRANT INSERT ON old_note TO {role}"
    )).await;
    let pool = world.db.another_pool(1).await;
    D::execute(&pool, &format!("SET ROLE {role}")).await.unwrap();

    // A table of its own whose epochs are SQL.
    D::execute(
        &pool,
        "CREATE TABLE own.bait (name TEXT, fence BIGINT, epoch TEXT, watched BIGINT)",
    )
    .await
    .unwrap();
    let functions =
        "SELECT oid::regprocedure::text FROM pg_proc WHERE prosecdef AND proname LIKE 'dualwrite%'";
    let functions = world.db.rows(functions).await;
    assert_eq!(functions.len(), 2);
    for function in functions {
        let function = function[0].as_deref().unwrap();
        let sql = format!(
            "CREATE TRIGGER bait AFTER INSERT ON own.bait FOR EACH ROW EXECUTE FUNCTION {function}"
        );
        let error = D::execute(&pool, &sql).await.unwrap_err();
        assert!(
            error.to_string().contains("permission denied for function"),
            "{function}: {error}"
        );
    }

    // Temporary tables, which a search path that does not name them begins with.
    D::execute(
        &pool,
        "CREATE TEMP TABLE dualwrite_unaware (migration TEXT, minute BIGINT, UNIQUE (migration, minute)); \
         CREATE FUNCTION own.who() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'run as %', current_user; END $$; \
         CREATE TRIGGER bait BEFORE INSERT ON dualwrite_unaware FOR EACH ROW EXECUTE FUNCTION own.who()",
    )
    .await
    .unwrap();
    D::execute(&pool, "INSERT INTO old_note (id, word) VALUES (9, 'behind')").await.unwrap();
    assert_eq!(world.db.number("SELECT count(*) FROM dualwrite_unaware WHERE minute > 0").await, 1);
    D::execute(&pool, "RESET ROLE").await.unwrap();
    world.db.execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}")).await;
}
