//! The generated files: judged, applied by sqlx, and taken back.

use dualwrite::schema::{Folder, Level, SqlDialect};
use dualwrite::{ErrorKind, Stage, preflight::FindingLevel};
use sqlx::migrate::Migrate;

use super::world::{catalogue, migrate, migration, old_tables, refused, write};
use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(generated_files_make_everything_and_go_back);

async fn generated_files_make_everything_and_go_back<D: Sql>(db: Scratch<D>)
where
    <D::Db as sqlx::Database>::Connection: Migrate,
{
    old_tables(&db).await;
    let (runtime, migration) = migration(&db).await;
    let reasons = refused(&migration).await;
    let named = |text: &str| reasons.iter().any(|reason| reason.contains(text));
    for told in [
        "table `customer`, column `email_address`: the new column is not there",
        "table `customer_tag`: the new table is not there",
        "run: ALTER TABLE",
        "run: CREATE TABLE",
    ] {
        assert!(named(told), "{told}: {reasons:#?}");
    }

    let error = migration.advance(Stage::DualWrite).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Blocked);
    assert!(error.to_string().contains("[expanded] table `customer`"), "{error}");

    let before = catalogue(&db).await;
    let folder = tempfile::tempdir().unwrap();
    let plan = migration.expand().plan().await.unwrap();
    write(folder.path(), &plan.files(20_260_301));
    let dialect: SqlDialect = D::NAME.parse().unwrap();
    let judged = Folder::read(folder.path()).unwrap();
    let found = judged.check(dialect);
    let worse: Vec<_> = found.iter().filter(|one| one.fails_at(Level::Blocking)).collect();
    assert!(found.len() > 20 && worse.is_empty(), "{worse:#?}");
    assert!(judged.compare(&[]).is_empty(), "{:?}", judged.compare(&[]));

    migrate(&db, folder.path(), false).await;
    is_ready(&migration, D::NAME).await;
    let after = catalogue(&db).await;
    assert_ne!(after, before);
    migrate(&db, folder.path(), true).await;
    assert_eq!(catalogue(&db).await, before, "the way back");
    assert!(!refused(&migration).await.is_empty());
    migrate(&db, folder.path(), false).await;
    assert_eq!(catalogue(&db).await, after);

    // What old holds, new can hold; and old is written as ever.
    db.execute("UPDATE customer SET email_address = email, account_id = owner_id").await;
    db.execute("INSERT INTO customer (id, email) VALUES (3, 'c@example.com')").await;
    migration.advance(Stage::DualWrite).await.unwrap();
    runtime.shutdown().await.unwrap();
}

/// Nothing is left to run; what a database cannot add beside writers is named.
async fn is_ready(migration: &dualwrite::Migration, database: &str) {
    let report = migration.expand().check().await.unwrap();
    assert!(report.is_ready(), "{report:#?}");
    let plan = migration.expand().plan().await.unwrap();
    assert!(plan.statements.is_empty(), "{:#?}", plan.statements);
    let rules = report.findings.iter().filter(|one| one.check == "expand_rule");
    let wanted = match database {
        "postgres" => 0,
        "sqlite" => 1, // the foreign key
        _ => 2,        // and the check
    };
    assert_eq!(rules.count(), wanted, "{report:#?}");
    let only = report
        .findings
        .iter()
        .all(|one| one.check == "expand_rule" && one.level == FindingLevel::Warn);
    assert!(only, "{report:#?}");
}
