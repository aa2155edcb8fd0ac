//! Key columns whose type or collation is altered while instances run: noticed, and nothing is called complete.

use dualwrite::{CopySql, ErrorKind, Gate, Mapping, Runtime, Stage, copy::KeySource};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;
use crate::support::wait;

on_all_databases!(
    a_key_column_that_is_altered_meanwhile_is_noticed,
    a_key_column_that_is_altered_during_a_backfill_is_noticed,
);

fn copier<D: Sql>() -> CopySql<D::Db, String> {
    CopySql::new(KeySource::table("old_note").column("id"))
        .new_source(KeySource::table("new_note").column("id"))
        .copying(D::sql(
            "INSERT INTO new_note SELECT * FROM {rows} n WHERE true \
             ON CONFLICT (id) DO UPDATE SET word = excluded.word",
            "INSERT INTO new_note SELECT * FROM {rows} n \
             ON CONFLICT (id) DO UPDATE SET word = excluded.word",
            "INSERT INTO new_note SELECT * FROM {rows} n \
             ON DUPLICATE KEY UPDATE word = VALUES(word)",
        ))
        .removing(
            "DELETE FROM new_note WHERE {id} \
             AND NOT EXISTS (SELECT 1 FROM old_note o WHERE o.id = new_note.id)",
        )
        .compared_by(|| Mapping::new().column("word", "word"))
}

/// Gives the key column of the old table another type or collation, in which other values are equal.
async fn alter_the_key<D: Sql>(db: &Scratch<D>) {
    db.execute(D::sql(
        "ALTER TABLE old_note RENAME TO gone;
         CREATE TABLE old_note (id TEXT COLLATE NOCASE NOT NULL PRIMARY KEY, word VARCHAR(50));
         INSERT INTO old_note SELECT * FROM gone; DROP TABLE gone",
        "ALTER TABLE old_note ALTER id TYPE char(20)",
        "ALTER TABLE old_note MODIFY id VARCHAR(20) COLLATE utf8mb4_general_ci NOT NULL",
    ))
    .await;
}

async fn with_texts_as_keys<D: Sql>(db: &Scratch<D>) {
    let key = D::sql(
        "TEXT NOT NULL PRIMARY KEY",
        "varchar(20) PRIMARY KEY",
        "VARCHAR(20) COLLATE utf8mb4_bin PRIMARY KEY",
    );
    for table in ["old_note", "new_note"] {
        db.execute(&format!("CREATE TABLE {table} (id {key}, word VARCHAR(50))")).await;
    }
    for number in 0..12 {
        db.execute(&format!("INSERT INTO old_note VALUES ('k{number}', 'word')")).await;
    }
}

async fn a_key_column_that_is_altered_meanwhile_is_noticed<D: Sql>(db: Scratch<D>) {
    with_texts_as_keys(&db).await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("m").backfill(copier::<D>()).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    migration.backfill().run().await.unwrap();
    assert!(migration.verify().run().await.unwrap().proven);
    alter_the_key(&db).await;
    let refused = [
        migration.backfill().run().await.map(drop).unwrap_err(),
        migration.verify().run().await.map(drop).unwrap_err(),
        migration.verify().repair().run().await.map(drop).unwrap_err(),
    ];
    for refused in refused {
        assert_eq!(refused.kind(), ErrorKind::WrongKey, "{refused}");
        let text = refused.to_string();
        assert!(text.contains("table `old_note`, column `id`"), "{text}");
        assert!(text.contains("changed since this instance started"), "{text}");
    }
    let found = migration.preflight().await.unwrap().findings;
    assert!(found.iter().any(|found| found.check == "key_changed"), "{found:?}");
    let closed = migration.advance(Stage::Shadow).await.unwrap_err();
    assert!(closed.blockers().iter().any(|one| one.gate == Gate::Preflight), "{closed}");
    runtime.shutdown().await.unwrap();
}

async fn a_key_column_that_is_altered_during_a_backfill_is_noticed<D: Sql>(db: Scratch<D>) {
    with_texts_as_keys(&db).await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("m").backfill(copier::<D>()).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    let run = {
        let migration = migration.clone();
        tokio::spawn(async move { migration.backfill().batch(1).rate(10).run().await })
    };
    wait::until("it has begun", async || {
        let backfill = migration.status().await.unwrap().backfill;
        backfill.is_some_and(|backfill| backfill.done() > 0)
    })
    .await;
    alter_the_key(&db).await;
    run.await.unwrap().unwrap_err();
    let stored = migration.status().await.unwrap().backfill.unwrap();
    assert!(!stored.complete, "{stored:?}");
    runtime.shutdown().await.unwrap();

    // A new start goes by what the column is.
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("m").backfill(copier::<D>()).register().await.unwrap();
    assert!(migration.backfill().run().await.unwrap().complete);
    assert_eq!(db.number("SELECT count(*) FROM new_note").await, 12);
    runtime.shutdown().await.unwrap();
}
