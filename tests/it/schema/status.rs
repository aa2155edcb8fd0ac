//! `dualwrite schema status`: a migration that failed half-way.

use std::fs;
use std::path::Path;

use serde_json::Value;
use sqlx::migrate::{Migrate, MigrateError, Migrator};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(what_stands_of_a_failed_file_is_named_undone_and_applied_again);

async fn apply<D: Sql>(db: &Scratch<D>, folder: &Path) -> Result<(), MigrateError>
where
    <D::Db as sqlx::Database>::Connection: Migrate,
{
    // A migrator that fails keeps its lock while its connection lives.
    let pool = db.another_pool(1).await;
    let applied = Migrator::new(folder.to_owned()).await.unwrap().run(&pool).await;
    pool.close().await;
    applied
}

async fn status(url: &str, folder: &Path) -> (u8, Vec<Value>) {
    let folder = folder.to_str().unwrap();
    let arguments = ["dualwrite", "schema", "status", "--json", "--database", url, folder];
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = dualwrite_cli::run(arguments, &mut out, &mut err).await;
    let found = serde_json::from_slice(&out);
    (code, found.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&err))))
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

async fn what_stands_of_a_failed_file_is_named_undone_and_applied_again<D: Sql>(db: Scratch<D>)
where
    <D::Db as sqlx::Database>::Connection: Migrate,
{
    let (folder, url) = (tempfile::tempdir().unwrap(), db.url());
    let path = folder.path();
    let file = |name: &str, sql: &str| fs::write(path.join(name), sql).unwrap();
    file("1_first.sql", "CREATE TABLE customer (id BIGINT PRIMARY KEY, word VARCHAR(60))");
    let (code, found) = status(&url, path).await;
    assert_eq!(
        (code, &found[0]["state"]),
        (0, &"pending".into()),
        "there is no table of sqlx's yet"
    );
    apply(&db, path).await.unwrap();
    assert_eq!(status(&url, path).await, (0, Vec::new()));
    db.execute("INSERT INTO customer VALUES (1, 'a'), (2, 'a')").await;

    // The last statement fails, for the values are not unique.
    let sql = match D::NAME {
        "postgres" => {
            "-- no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY one_word ON customer (word)"
        }
        _ => {
            "CREATE TABLE note (id BIGINT PRIMARY KEY);
             ALTER TABLE customer ADD COLUMN phone VARCHAR(30);
             CREATE UNIQUE INDEX one_word ON customer (word)"
        }
    };
    file("2_second.sql", sql);
    apply(&db, path).await.unwrap_err();
    let (code, found) = status(&url, path).await;
    let [file] = &found[..] else { panic!("{found:?}") };
    let standing: Vec<&str> = file["statements"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["standing"].as_str().unwrap())
        .collect();
    let (undo, next) = (texts(&file["undo"]), texts(&file["next"]).join("; "));
    match D::NAME {
        "mysql" => {
            assert_eq!((code, &file["state"]), (1, &"failed".into()));
            assert_eq!(standing, ["done", "done", "missing"]);
            assert_eq!(undo, ["ALTER TABLE `customer` DROP COLUMN `phone`", "DROP TABLE `note`"]);
            assert!(
                next.contains("DELETE FROM _sqlx_migrations WHERE version = 2 AND success = FALSE"),
                "{next}"
            );
            assert!(matches!(apply(&db, path).await, Err(MigrateError::Dirty(2))));
        }
        "postgres" => {
            assert_eq!((code, &file["state"]), (1, &"half_applied".into()));
            assert_eq!(standing, ["broken"]);
            assert_eq!(undo, ["DROP INDEX CONCURRENTLY \"one_word\""]);
            assert!(next.contains("apply the file again"), "{next}");
        }
        _ => {
            assert_eq!((code, &file["state"]), (0, &"pending".into()), "it was one transaction");
            assert_eq!(standing, ["missing"; 3]);
            assert!(undo.is_empty() && next.is_empty());
        }
    }
    if D::NAME == "mysql" {
        // What holds data may have been there before: nobody is told to drop it.
        db.execute("UPDATE customer SET phone = 'x'").await;
        let (_, found) = status(&url, path).await;
        assert_eq!(texts(&found[0]["undo"]), [&*undo[1]]);
        let next = texts(&found[0]["next"]).join("; ");
        assert!(next.contains("add column customer.phone is done, and holds data"), "{next}");
        db.execute("UPDATE customer SET phone = NULL").await;
        db.execute("DELETE FROM _sqlx_migrations WHERE version = 2 AND success = FALSE").await;
    }
    for statement in &undo {
        db.execute(statement).await;
    }
    db.execute("DELETE FROM customer WHERE id = 2").await;
    let (code, found) = status(&url, path).await;
    assert_eq!((code, &found[0]["state"]), (0, &"pending".into()));
    apply(&db, path).await.unwrap();
    assert_eq!(status(&url, path).await, (0, Vec::new()));
}
