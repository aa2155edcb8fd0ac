//! A foreign writer is not hurt by a trigger of the library, and one key does not keep the others from being repaired.

use std::marker::PhantomData;
use std::time::Duration;

use dualwrite::{
    BoxError, Copied, CopyKeys, ErrorKind, Runtime, Stage, Tx, copy::KeySource, verify::StaleKind,
};

use super::seen::{on, repaired, stale, watched};
use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::World;
use crate::support::sql::Sql;

on_all_databases!(
    keys_that_cannot_be_recorded_leave_one_mark_and_hurt_nobody,
    one_key_that_fails_keeps_no_other_from_being_repaired,
);

/// Rows of a document under its name.
struct CopyDocuments<D: Sql>(PhantomData<D>);

impl<D: Sql> CopyKeys for CopyDocuments<D> {
    type Database = D::Db;
    type Key = String;

    fn source(&self) -> KeySource {
        KeySource::table("doc").column("name")
    }

    fn new_source(&self) -> Option<KeySource> {
        Some(KeySource::table("new_doc").column("name"))
    }

    async fn copy(&self, tx: &mut Tx<'_, D::Db>, keys: &[String]) -> Result<Copied, BoxError> {
        let mut copied = Copied::default();
        for key in keys {
            D::run(tx, &format!("DELETE FROM new_doc WHERE name = '{key}'")).await?;
            let sql = format!("INSERT INTO new_doc SELECT name, n FROM doc WHERE name = '{key}'");
            copied.migrated += D::run(tx, &sql).await?;
        }
        Ok(copied)
    }
}

async fn keys_that_cannot_be_recorded_leave_one_mark_and_hurt_nobody<D: Sql>(db: Scratch<D>) {
    let text = D::sql("TEXT", "TEXT", "VARCHAR(700)");
    db.execute(&format!(
        "CREATE TABLE doc (name {text} UNIQUE, n BIGINT); CREATE TABLE new_doc (name {text}, n BIGINT)"
    ))
    .await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let copy = CopyDocuments::<D>(PhantomData);
    let migration = runtime.migration("docs").backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    migration.install_trigger().await.unwrap();
    let long = "n".repeat(650);
    let names = match D::NAME {
        "sqlite" => vec!["NULL".to_owned(), format!("'{long}'"), "x'00ff'".to_owned()],
        _ => vec!["NULL".to_owned(), format!("'{long}'")],
    };
    for name in names {
        db.execute(&format!("INSERT INTO doc VALUES ({name}, 1)")).await;
        assert_eq!(stale(&migration).await, [StaleKind::Key], "{name}");
        db.execute("DELETE FROM dualwrite_stale").await;
        let which = if name == "NULL" { "IS NULL".to_owned() } else { format!("= {name}") };
        db.execute(&format!("UPDATE doc SET n = 2 WHERE name {which}")).await;
        assert_eq!(stale(&migration).await, [StaleKind::Key], "{name}");
        db.execute(&format!("DELETE FROM doc WHERE name {which}")).await;
    }
    db.execute("INSERT INTO doc VALUES ('short', 1)").await;
    migration.repair().await.unwrap();
    assert_eq!(db.rows("SELECT name FROM new_doc").await, [[Some("short".to_owned())]]);
    assert_eq!(stale(&migration).await, [StaleKind::Key], "until a verification is clean");
}

async fn one_key_that_fails_keeps_no_other_from_being_repaired<D: Sql>(db: Scratch<D>) {
    let world = watched(db).await;
    // Keys of another type, as after a change of the table, before and behind a row that cannot be copied.
    let mark = |key: &str, at: u32| {
        format!(
            "INSERT INTO dualwrite_dirty (migration, side, key_text, marked_at) \
             VALUES ('notes', 'new', '{key}', {at})"
        )
    };
    world.db.execute(&mark("\"text\"", 1)).await;
    world.db.execute(&mark("18446744073709551615", 2)).await;
    world.db.execute("UPDATE old_note SET word = 'poison' WHERE id = 1").await;
    world.db.execute("UPDATE old_note SET word = 'behind' WHERE id = 2").await;
    let failed = world.migration.repair().await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::CopyFailed);
    let rows = world.db.rows("SELECT word FROM new_note WHERE id = 2").await;
    assert_eq!(rows, [[Some("behind".to_owned())]]);
    let left = world.db.rows("SELECT key_text FROM dualwrite_dirty").await;
    assert_eq!(left, [[Some("1".to_owned())]]);
    assert_eq!(stale(&world.migration).await, [StaleKind::Key]);
    world.db.execute("UPDATE old_note SET word = 'cured' WHERE id = 1").await;
    repaired(&world).await;
    assert!(world.migration.verify().run().await.unwrap().proven);
    assert_eq!(stale(&world.migration).await, []);
}

mod on_postgres {
    use super::*;
    on!(PostgresDb: two_foreign_transactions_do_not_wait_for_each_other, without_control_tables_the_old_table_is_written);
}
mod on_mysql {
    use super::*;
    on!(MySqlDb: two_foreign_transactions_do_not_wait_for_each_other, without_control_tables_the_old_table_is_written);
}

/// Different rows in one minute: at no level, and whether the keys are marked already or not.
async fn two_foreign_transactions_do_not_wait_for_each_other<D: Sql>(db: Scratch<D>) {
    let world = watched(db).await;
    let (one, two) = (world.db.another_pool(1).await, world.db.another_pool(1).await);
    for round in 0..2 {
        world.db.execute("UPDATE dualwrite_unaware SET minute = 0").await;
        D::execute(&one, "BEGIN").await.unwrap();
        D::execute(&two, "BEGIN").await.unwrap();
        let write = |id| format!("UPDATE old_note SET word = 'round {round}' WHERE id = {id}");
        for (pool, id) in [(&one, 1), (&two, 2), (&one, 3), (&two, 4)] {
            let sql = write(id);
            let written = tokio::time::timeout(Duration::from_secs(10), D::execute(pool, &sql));
            written.await.expect("nobody waits").unwrap();
        }
        D::execute(&one, "COMMIT").await.unwrap();
        D::execute(&two, "COMMIT").await.unwrap();
        assert!(
            world.db.number("SELECT count(*) FROM dualwrite_unaware WHERE minute > 0").await >= 1
        );
    }
    repaired(&world).await;
}

async fn without_control_tables_the_old_table_is_written<D: Sql>(db: Scratch<D>) {
    let world = watched(db).await;
    let World { db, runtime, .. } = world;
    runtime.shutdown().await.unwrap();
    for table in ["dirty", "unaware", "stale"] {
        db.execute(&format!("DROP TABLE dualwrite_{table}")).await;
        db.execute("UPDATE old_note SET word = 'written' WHERE id = 1").await;
        db.execute("DELETE FROM old_note WHERE id = 2").await;
        db.execute("INSERT INTO old_note VALUES (2, 'again')").await;
    }
    assert_eq!(db.number("SELECT count(*) FROM old_note").await, 10);
}
