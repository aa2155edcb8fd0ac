//! What the preflight says of the rows that a copy writes: by table, column and name.

use dualwrite::{CopySql, Migration, Runtime, copy::KeySource};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(columns_constraints_and_triggers_that_matter_are_named);

async fn found(migration: &Migration) -> String {
    let found = migration.preflight().await.unwrap().findings;
    found.iter().map(|finding| format!("{finding}\n")).collect()
}

async fn columns_constraints_and_triggers_that_matter_are_named<D: Sql>(db: Scratch<D>) {
    db.execute(
        "CREATE TABLE old_note (id BIGINT NOT NULL PRIMARY KEY, word VARCHAR(50));
         CREATE TABLE parent (id BIGINT NOT NULL PRIMARY KEY)",
    )
    .await;
    db.execute(D::sql(
        "CREATE TABLE new_note (id BIGINT NOT NULL PRIMARY KEY, word VARCHAR(50) NOT NULL UNIQUE, \
         parent BIGINT REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED, at TEXT, \
         size BIGINT GENERATED ALWAYS AS (length(word)) STORED)",
        "CREATE TABLE new_note (id BIGINT NOT NULL PRIMARY KEY, word VARCHAR(50) NOT NULL UNIQUE, \
         parent BIGINT CONSTRAINT note_parent REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED, at TEXT, \
         size BIGINT GENERATED ALWAYS AS (length(word)) STORED)",
        "CREATE TABLE new_note (id BIGINT NOT NULL PRIMARY KEY, word VARCHAR(50) NOT NULL UNIQUE, \
         at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, \
         size BIGINT GENERATED ALWAYS AS (length(word)) STORED)",
    ))
    .await;
    db.execute(D::sql(
        "CREATE TRIGGER touch AFTER UPDATE ON new_note BEGIN \
         UPDATE new_note SET at = 'now' WHERE id = NEW.id; END",
        "CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.at := 'now'; RETURN NEW; END $$;
         CREATE TRIGGER touch BEFORE UPDATE ON new_note FOR EACH ROW EXECUTE FUNCTION touched()",
        "CREATE TRIGGER touch BEFORE INSERT ON new_note FOR EACH ROW SET NEW.word = TRIM(NEW.word)",
    ))
    .await;
    let copy = CopySql::<D::Db, i64>::new(KeySource::table("old_note").column("id"))
        .new_source(KeySource::table("new_note").column("id"))
        .copying("INSERT INTO new_note (id, word) SELECT n.id, n.word FROM {rows} n");
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("m").backfill(copy).register().await.unwrap();
    let text = found(&migration).await;
    for wanted in [
        "warn not_null: table `new_note`, column `word`",
        "note upsert: table `new_note`: NOT NULL without a default: `word`.",
        "warn unique_index: table `new_note`",
        "note generated_column: table `new_note`, column `size`",
        "warn trigger: table `new_note`: the trigger `touch`",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in:\n{text}");
    }
    match D::NAME {
        "mysql" => {
            assert!(text.contains("warn self_updating: table `new_note`, column `at`"), "{text}")
        }
        "postgres" => assert!(
            text.contains("note deferred_constraint") && text.contains("note_parent"),
            "{text}"
        ),
        _ => assert!(text.contains("note deferred_constraint"), "{text}"),
    }
    runtime.shutdown().await.unwrap();
}
