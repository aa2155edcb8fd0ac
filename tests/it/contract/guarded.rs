//! The migrator that asks for the evidence before a statement that touches old.

use dualwrite::{ErrorKind, migration::GuardedMigrator};
use sqlx::migrate::{Migrate, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr as _};

use super::world::over;
use crate::support::db::{Scratch, TestDb, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(
    a_guarded_statement_is_refused_without_evidence_and_applied_with_it,
    a_database_without_contracts_is_migrated_as_ever,
    a_file_that_waits_in_vain_is_tried_again,
    what_nobody_can_read_is_refused_until_it_is_waived,
);

/// Files by version.
fn migrator(files: &[(i64, &str)]) -> Migrator {
    let file = |(version, sql): &(i64, &str)| {
        let sql = AssertSqlSafe((*sql).to_owned()).into_sql_str();
        Migration::new(*version, "step".into(), MigrationType::Simple, sql, false)
    };
    Migrator::with_migrations(files.iter().map(file).collect())
}

async fn is_there<D: TestDb>(db: &Scratch<D>, table: &str) -> bool {
    D::rows(db.pool(), &format!("SELECT count(*) FROM {table}")).await.is_ok()
}

async fn a_guarded_statement_is_refused_without_evidence_and_applied_with_it<D: Sql>(db: Scratch<D>)
where
    <D::Db as sqlx::Database>::Connection: Migrate,
{
    let over = over(db).await;
    over.execute("DELETE FROM dualwrite_approval").await;
    let files = migrator(&[
        (1, "CREATE TABLE beside (id BIGINT PRIMARY KEY)"),
        (2, "-- away with it\nDROP TABLE old_note"),
    ]);
    let guarded = GuardedMigrator::new(&files).by("pipeline").because("release 2");
    let found = guarded.check(over.db.pool()).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].version, found[0].line, &*found[0].rule), (2, 2, "drop-table"));
    assert!(!found[0].decision.is_allowed());
    let refused = guarded.run(over.db.pool()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Blocked, "{refused}");
    for told in ["file 2, line 2", "[approval]"] {
        assert!(refused.to_string().contains(told), "{refused}");
    }
    assert!(!is_there(&over.db, "beside").await, "nothing was applied");
    over.is_untouched().await;

    over.operator.contract("notes").approve("grace", "over").await.unwrap();
    let nameless = GuardedMigrator::new(&files).run(over.db.pool()).await.unwrap_err();
    assert_eq!(nameless.kind(), ErrorKind::InvalidInput, "{nameless}");
    over.is_untouched().await;
    guarded.run(over.db.pool()).await.unwrap();
    assert!(is_there(&over.db, "beside").await && !is_there(&over.db, "old_note").await);
    let events = over.operator.contract("notes").events().await.unwrap();
    assert_eq!((&*events[0].what, &*events[1].what), ("dropped", "begun"));
    assert_eq!(&*events[1].actor, "pipeline");
    // What is applied is no matter any more, and what has ended guards nothing.
    assert!(guarded.check(over.db.pool()).await.unwrap().is_empty());
    guarded.run(over.db.pool()).await.unwrap();
}

async fn a_database_without_contracts_is_migrated_as_ever<D: Sql>(db: Scratch<D>)
where
    <D::Db as sqlx::Database>::Connection: Migrate,
{
    let files = migrator(&[
        (1, "CREATE TABLE customer (id BIGINT PRIMARY KEY)"),
        (2, "DROP TABLE customer"),
    ]);
    GuardedMigrator::new(&files).run(db.pool()).await.unwrap();
    assert!(!is_there(&db, "customer").await);
    let more = migrator(&[
        (1, "CREATE TABLE customer (id BIGINT PRIMARY KEY)"),
        (2, "DROP TABLE customer"),
        (3, "DROP TABLE nowhere"),
    ]);
    let failed = GuardedMigrator::new(&more).run(db.pool()).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Database, "{failed}");
    assert!(failed.to_string().contains("version 3"), "{failed}");
}

async fn a_file_that_waits_in_vain_is_tried_again<D: Sql>(db: Scratch<D>)
where
    <D::Db as sqlx::Database>::Connection: Migrate,
{
    let over = over(db).await;
    let files = migrator(&[(1, "DROP TABLE old_note")]);
    let guarded = GuardedMigrator::new(&files).by("pipeline").because("release 2");
    let guarded = guarded.lock_timeout(std::time::Duration::from_millis(200));
    if D::NAME == "sqlite" {
        guarded.run(over.db.pool()).await.unwrap();
        return;
    }
    let mut held = over.db.pool().acquire().await.unwrap();
    D::run_on(&mut held, "BEGIN").await.unwrap();
    D::run_on(&mut held, "SELECT count(*) FROM old_note").await.unwrap();
    let late = guarded.clone().attempts(2).run(over.db.pool()).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Timeout, "{late}");
    let events = over.operator.contract("notes").events().await.unwrap();
    assert_eq!(events[0].what, "released", "nothing was dropped: the way back is open again");
    D::run_on(&mut held, "ROLLBACK").await.unwrap();
    guarded.run(over.db.pool()).await.unwrap();
    assert!(!is_there(&over.db, "old_note").await);
}

async fn what_nobody_can_read_is_refused_until_it_is_waived<D: Sql>(db: Scratch<D>)
where
    <D::Db as sqlx::Database>::Connection: Migrate,
{
    let over = over(db).await;
    over.execute("DELETE FROM dualwrite_approval").await;
    let strange = D::sql(
        "PRAGMA optimize",
        "DO LANGUAGE plpgsql $x$ BEGIN EXECUTE 'SEL' || 'ECT 1'; END $x$",
        "EXECUTE IMMEDIATE CONCAT('SEL', 'ECT 1')",
    );
    let refused = GuardedMigrator::new(&migrator(&[(1, strange)])).run(over.db.pool()).await;
    if D::NAME == "sqlite" {
        return; // it is read there
    }
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Blocked);
    let rule = D::sql("", "dynamic-sql", "unreadable");
    let waived = format!("-- dualwrite: allow {rule} because it only reads\n{strange}");
    GuardedMigrator::new(&migrator(&[(1, &waived)])).run(over.db.pool()).await.unwrap();
}
