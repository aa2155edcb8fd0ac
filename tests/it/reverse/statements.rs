//! The way back of a copy function that is SQL text: the reverse copy, repairs, dead letters, beside writers
//! and deletes.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use dualwrite::{
    BoxError, Copied, CopyBack, CopyKeys, CopySql, ErrorKind, Mapping, Migration, Runtime, Side,
    Stage, Tx, copy::KeySource,
};

use super::deletes::{
    beside_a_reverse_copy, beside_the_repair_of_a_difference, beside_the_repair_of_a_mark,
};
use super::{copy_back_beside_writers, live_on_new_alone, ramp_down};
use crate::copy_sql::notes;
use crate::interleavings::has_its_say;
use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{FAILS, Notes as _, WORKS, World};
use crate::support::sql::Sql;

on_all_databases!(
    old_gets_back_what_new_alone_got,
    a_dry_run_of_the_way_back_writes_nothing,
    writers_beside_it_lose_nothing,
    a_writer_of_a_row_that_old_lacks_goes_on,
    a_delete_beside_it_leaves_nothing,
    a_delete_beside_the_repair_of_a_mark_leaves_nothing,
    a_delete_beside_the_repair_of_a_difference_leaves_nothing,
    a_failed_write_to_old_is_repaired,
    a_key_that_cannot_be_copied_back_is_tried_again,
    keys_of_two_columns_may_be_named_otherwise_in_new,
    old_and_new_in_one_row_go_both_ways,
    of_several_rows_of_new_the_one_that_counts_goes_back,
    without_statements_there_is_no_way_back,
    what_is_no_way_back_is_refused_when_it_is_registered,
);

/// From `old_note` to `new_note`, and back.
fn there_and_back<D: Sql>() -> CopySql<D::Db, i64> {
    notes::<D>()
        .removing_back(
            "DELETE FROM old_note WHERE {id} \
             AND NOT EXISTS (SELECT 1 FROM new_note WHERE new_note.id = old_note.id)",
        )
        .copying_back(D::sql(
            "INSERT INTO old_note (id, word) SELECT r.id, r.word FROM {rows} r WHERE true \
             ON CONFLICT (id) DO UPDATE SET word = excluded.word",
            "INSERT INTO old_note (id, word) SELECT r.id, r.word FROM {rows} r \
             ON CONFLICT (id) DO UPDATE SET word = excluded.word",
            "INSERT INTO old_note (id, word) SELECT r.id, r.word FROM {rows} r \
             ON DUPLICATE KEY UPDATE word = VALUES(word)",
        ))
}

async fn complete<D: Sql>(db: Scratch<D>, rows: u32) -> World<D> {
    let world = ramp_down(db, rows, there_and_back::<D>()).await;
    world.migration.advance(Stage::Complete).await.unwrap();
    world
}

async fn old_gets_back_what_new_alone_got<D: Sql>(db: Scratch<D>) {
    // More keys in a page than a statement names.
    let world = complete(db, 300).await;
    live_on_new_alone(&world).await;
    world.save(301, "born in new, too").await;
    world.migration.rollback("new is too slow").await.unwrap();
    let refused = world.migration.rollback("now").await.unwrap_err();
    assert!(refused.to_string().contains("[copied_back]"), "{refused}");
    world.save(7, "written to both").await;
    assert_eq!(world.migration.verify().run().await.unwrap().keys, ["3", "5", "100", "301"]);

    let done = world.migration.backfill().reverse().run().await.unwrap();
    assert_eq!((done.side, done.failed, done.complete), (Side::Old, 0, true));
    let [old, new] = world.words().await;
    assert_eq!((old.len(), &old), (300, &new));
    let refused = world.migration.rollback("now").await.unwrap_err();
    assert!(refused.to_string().contains("[verified]"), "{refused}");
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    let back = world.migration.rollback("new is too slow").await.unwrap();
    assert_eq!(back.stage, Stage::Shadow);
    assert_eq!(world.notes.find(301).await.unwrap().as_deref(), Some("born in new, too"));
    assert_eq!(world.notes.find(5).await.unwrap(), None);

    for stage in [Stage::Live, Stage::RampDown, Stage::Complete] {
        world.migration.advance(stage).await.unwrap();
    }
}

/// Everything that a dry run could leave behind.
async fn traces<D: Sql>(world: &World<D>) -> [Vec<Vec<Option<String>>>; 5] {
    let rows = |sql| world.db.rows(sql);
    [
        rows("SELECT id, word FROM old_note ORDER BY id").await,
        rows("SELECT id, word FROM new_note ORDER BY id").await,
        rows("SELECT side, key_text FROM dualwrite_dirty ORDER BY side, key_text").await,
        rows("SELECT phase, generation, state FROM dualwrite_backfill ORDER BY phase").await,
        rows("SELECT side, key_text FROM dualwrite_failure").await,
    ]
}

async fn a_dry_run_of_the_way_back_writes_nothing<D: Sql>(db: Scratch<D>) {
    let world = complete(db, 20).await;
    live_on_new_alone(&world).await;
    world.save(101, "a word that is too long for old").await;
    let too_long = D::sql(
        "CREATE TRIGGER short BEFORE INSERT ON old_note WHEN length(NEW.word) > 20 \
         BEGIN SELECT RAISE(ABORT, 'too long'); END",
        "ALTER TABLE old_note ADD CONSTRAINT short CHECK (length(word) <= 20)",
        "ALTER TABLE old_note ADD CONSTRAINT short CHECK (char_length(word) <= 20)",
    );
    world.db.execute(too_long).await;
    let before = traces(&world).await;
    for stage in [Stage::Complete, Stage::RampDown] {
        if stage == Stage::RampDown {
            world.migration.rollback("x").await.unwrap();
        }
        let walk = world.migration.backfill().reverse().dry_run().await.unwrap();
        // One that old has too many, and what new has.
        assert_eq!((walk.migrated, walk.skipped, walk.failed), (1 + 20, 0, 1), "{stage}");
        assert_eq!(walk.failures[0].0, "101");
        assert_eq!(traces(&world).await, before, "{stage}");
    }
    let refused = world.migration.backfill().reverse().copy_range(&1_i64, &5).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
    let would = world.migration.verify().repair().dry_run().await.unwrap();
    assert_eq!((would.copied, would.removed, would.failed), (2, 1, 1));
    assert_eq!(traces(&world).await, before);
}

async fn writers_beside_it_lose_nothing<D: Sql>(db: Scratch<D>) {
    copy_back_beside_writers(complete(db, 60).await).await;
}

/// It holds the row in old, which is not committed, and goes on to the one in new: a copy that locked new
/// first would make it lose a deadlock.
async fn a_writer_of_a_row_that_old_lacks_goes_on<D: Sql>(db: Scratch<D>) {
    let world = Arc::new(complete(db, 3).await);
    world.save(100, "born in new").await;
    world.migration.rollback("x").await.unwrap();
    let mut tx = world.begin().await;
    D::run(&mut tx, "INSERT INTO old_note (id, word) VALUES (100, 'newer')").await.unwrap();
    let migration = world.migration.clone();
    let copy = tokio::spawn(async move { migration.backfill().reverse().run().await });
    if D::NAME != "sqlite" {
        has_its_say(&world, &copy).await;
    }
    let nobody_holds_it = D::sql(
        "SELECT id FROM new_note WHERE id = 100",
        "SELECT id FROM new_note WHERE id = 100 FOR UPDATE NOWAIT",
        "SELECT id FROM new_note WHERE id = 100 FOR UPDATE NOWAIT",
    );
    D::run(&mut tx, nobody_holds_it).await.unwrap();
    D::run(&mut tx, "UPDATE new_note SET word = 'newer' WHERE id = 100").await.unwrap();
    tx.commit().await.unwrap();
    assert!(copy.await.unwrap().unwrap().complete);
    let [old, new] = world.words().await;
    assert_eq!((old.last().map(String::as_str), &old), (Some("newer"), &new));
}

async fn a_delete_beside_it_leaves_nothing<D: Sql>(db: Scratch<D>) {
    beside_a_reverse_copy(complete(db, 3).await).await;
}

async fn a_delete_beside_the_repair_of_a_mark_leaves_nothing<D: Sql>(db: Scratch<D>) {
    beside_the_repair_of_a_mark(ramp_down(db, 3, there_and_back::<D>()).await).await;
}

async fn a_delete_beside_the_repair_of_a_difference_leaves_nothing<D: Sql>(db: Scratch<D>) {
    beside_the_repair_of_a_difference(ramp_down(db, 3, there_and_back::<D>()).await).await;
}

async fn a_failed_write_to_old_is_repaired<D: Sql>(db: Scratch<D>) {
    let world = ramp_down(db, 5, there_and_back::<D>()).await;
    world.old_mood.store(FAILS, SeqCst);
    world.save(2, "changed").await;
    world.save(50, "born").await;
    world.old_mood.store(WORKS, SeqCst);
    assert_eq!(world.migration.status().await.unwrap().counters.mirror_failed, 2);
    // What was marked, and is gone before anybody looks.
    world
        .db
        .execute(
            "INSERT INTO dualwrite_dirty (migration, side, key_text, marked_at) \
             VALUES ('notes', 'old', '4', 0); DELETE FROM new_note WHERE id = 4",
        )
        .await;
    world.migration.repair().await.unwrap();
    let [old, new] = world.words().await;
    assert_eq!(old, ["word 1", "changed", "word 3", "word 5", "born"]);
    assert_eq!(old, new);
    assert_eq!(world.migration.status().await.unwrap().dirty_old, 0);
    // And so do differences, whoever made them.
    world.db.execute("UPDATE old_note SET word = 'wrong' WHERE id = 1").await;
    world.db.execute("INSERT INTO old_note (id, word) VALUES (77, 'a stray')").await;
    let repaired = world.migration.verify().repair().run().await.unwrap();
    assert_eq!((repaired.copied, repaired.removed, repaired.failed), (1, 1, 0));
    let [old, new] = world.words().await;
    assert_eq!(old, new);
}

async fn a_key_that_cannot_be_copied_back_is_tried_again<D: Sql>(db: Scratch<D>) {
    let world = complete(db, 20).await;
    world.save(7, "word 8").await; // as the note 8, which old does not allow
    world.save(21, "born in new").await;
    world.migration.rollback("x").await.unwrap();
    world.db.execute("CREATE UNIQUE INDEX word_of_old ON old_note (word)").await;
    let done = world.migration.backfill().reverse().batch(8).run().await.unwrap();
    assert_eq!((done.migrated, done.failed, done.complete), (20, 1, true));
    let letters = world.migration.dead_letters().await.unwrap();
    assert_eq!((letters[0].side, &*letters[0].key), (Side::Old, "7"));
    assert_eq!(world.migration.retry_dead_letters().await.unwrap(), 0);
    world.db.execute("UPDATE new_note SET word = 'word 7 again' WHERE id = 7").await;
    assert_eq!(world.migration.retry_dead_letters().await.unwrap(), 1);
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    world.migration.rollback("x").await.unwrap();
    assert_eq!(world.migration.position().stage, Stage::Shadow);
}

/// Complete, verified on the way there.
async fn all_the_way(migration: &Migration) {
    migration.advance(Stage::DualWrite).await.unwrap();
    migration.backfill().run().await.unwrap();
    assert!(migration.verify().run().await.unwrap().is_clean());
    for stage in [Stage::Shadow, Stage::Live, Stage::RampDown, Stage::Complete] {
        migration.advance(stage).await.unwrap();
    }
}

/// And back to where old answers.
async fn and_back(migration: &Migration) {
    migration.rollback("x").await.unwrap();
    assert!(migration.backfill().reverse().batch(4).run().await.unwrap().complete);
    assert!(migration.verify().run().await.unwrap().is_clean());
    assert_eq!(migration.rollback("x").await.unwrap().stage, Stage::Shadow);
}

async fn keys_of_two_columns_may_be_named_otherwise_in_new<D: Sql>(db: Scratch<D>) {
    db.execute(
        "CREATE TABLE pair (a INTEGER NOT NULL, b VARCHAR(20) NOT NULL, word VARCHAR(20),
                            PRIMARY KEY (a, b));
         CREATE TABLE new_pair (x INTEGER NOT NULL, y VARCHAR(20) NOT NULL, word VARCHAR(20),
                                PRIMARY KEY (x, y))",
    )
    .await;
    for a in 0..4 {
        for b in ["", "B", "a", "zebra"] {
            db.execute(&format!("INSERT INTO pair VALUES ({a}, '{b}', '{a}{b}')")).await;
        }
    }
    let source = |table, [a, b]: [&str; 2]| KeySource::table(table).column(a).column(b);
    let copy = CopySql::<D::Db, (i64, String)>::new(source("pair", ["a", "b"]))
        .new_source(source("new_pair", ["x", "y"]))
        .copying(D::sql(
            "INSERT INTO new_pair SELECT r.a, r.b, r.word FROM {rows} r WHERE true \
             ON CONFLICT (x, y) DO UPDATE SET word = excluded.word",
            "INSERT INTO new_pair SELECT r.a, r.b, r.word FROM {rows} r \
             ON CONFLICT (x, y) DO UPDATE SET word = excluded.word",
            "REPLACE INTO new_pair SELECT r.a, r.b, r.word FROM {rows} r",
        ))
        .removing_back(
            "DELETE FROM pair WHERE {a, b} \
             AND NOT EXISTS (SELECT 1 FROM new_pair n WHERE n.x = pair.a AND n.y = pair.b)",
        )
        .copying_back(D::sql(
            "UPDATE pair SET word = n.word FROM {rows} n \
             WHERE n.x = pair.a AND n.y = pair.b AND {pair.a, pair.b}",
            "UPDATE pair SET word = n.word FROM {rows} n \
             WHERE n.x = pair.a AND n.y = pair.b AND {pair.a, pair.b}",
            "UPDATE pair JOIN {rows} n ON n.x = pair.a AND n.y = pair.b SET pair.word = n.word \
             WHERE {pair.a, pair.b}",
        ))
        .copying_back(D::sql(
            "INSERT OR IGNORE INTO pair SELECT n.x, n.y, n.word FROM {rows} n",
            "INSERT INTO pair SELECT n.x, n.y, n.word FROM {rows} n ON CONFLICT DO NOTHING",
            "INSERT IGNORE INTO pair SELECT n.x, n.y, n.word FROM {rows} n",
        ))
        .compared_by(|| Mapping::new().column("word", "word"));
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("pairs").backfill(copy).register().await.unwrap();
    all_the_way(&migration).await;
    db.execute("UPDATE new_pair SET word = 'changed' WHERE y = 'a'").await;
    db.execute("DELETE FROM new_pair WHERE y = 'B'").await;
    db.execute("INSERT INTO new_pair VALUES (2, 'born', 'born'), (9, '', 'born')").await;
    and_back(&migration).await;
    let [old, new] = [
        db.rows("SELECT a, b, word FROM pair ORDER BY a, b").await,
        db.rows("SELECT x, y, word FROM new_pair ORDER BY x, y").await,
    ];
    assert_eq!((old.len(), old), (14, new));
    runtime.shutdown().await.unwrap();
}

async fn old_and_new_in_one_row_go_both_ways<D: Sql>(db: Scratch<D>) {
    db.execute("CREATE TABLE person (id BIGINT PRIMARY KEY, age VARCHAR(20), age_new BIGINT)")
        .await;
    for id in 1..=10 {
        db.execute(&format!("INSERT INTO person (id, age) VALUES ({id}, '{}')", 20 + id)).await;
    }
    let source = || KeySource::table("person").column("id");
    let copy = CopySql::<D::Db, i64>::new(source())
        .new_source(source())
        .copying(D::sql(
            "UPDATE person SET age_new = CAST(age AS INTEGER) WHERE {id}",
            "UPDATE person SET age_new = CAST(age AS BIGINT) WHERE {id}",
            "UPDATE person SET age_new = CAST(age AS SIGNED) WHERE {id}",
        ))
        .copying_back(D::sql(
            "UPDATE person SET age = CAST(age_new AS TEXT) WHERE {id}",
            "UPDATE person SET age = CAST(age_new AS TEXT) WHERE {id}",
            "UPDATE person SET age = CAST(age_new AS CHAR) WHERE {id}",
        ))
        .compared_by(|| {
            Mapping::new().expression(
                "age",
                D::sql("CAST(age AS INTEGER)", "CAST(age AS BIGINT)", "CAST(age AS SIGNED)"),
                "age_new",
            )
        });
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("ages").backfill(copy).register().await.unwrap();
    all_the_way(&migration).await;
    db.execute("UPDATE person SET age_new = 99 WHERE id <= 3").await;
    db.execute("INSERT INTO person (id, age_new) VALUES (11, 1)").await;
    db.execute("DELETE FROM person WHERE id = 5").await;
    and_back(&migration).await;
    assert_eq!(db.number("SELECT count(*) FROM person WHERE age = '99'").await, 3);
    assert_eq!(db.number("SELECT count(*) FROM person WHERE age = '1' AND id = 11").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM person WHERE age IS NULL").await, 0);
    runtime.shutdown().await.unwrap();
}

/// New keeps what was there before. A view says which row counts.
async fn of_several_rows_of_new_the_one_that_counts_goes_back<D: Sql>(db: Scratch<D>) {
    db.execute(
        "CREATE TABLE goal (id BIGINT PRIMARY KEY, title VARCHAR(20) NOT NULL);
         CREATE TABLE goal_version (goal_id BIGINT NOT NULL, version INTEGER NOT NULL,
                                    title VARCHAR(20) NOT NULL, PRIMARY KEY (goal_id, version));
         CREATE VIEW goal_now AS SELECT goal_id, title FROM goal_version v WHERE NOT EXISTS (
             SELECT 1 FROM goal_version n WHERE n.goal_id = v.goal_id AND n.version > v.version)",
    )
    .await;
    for id in 1..=20 {
        db.execute(&format!("INSERT INTO goal VALUES ({id}, 'goal {id}')")).await;
    }
    let copy = CopySql::<D::Db, i64>::new(KeySource::table("goal").column("id"))
        .new_source(KeySource::table("goal_now").column("goal_id"))
        .copying(D::sql(
            "INSERT INTO goal_version SELECT r.id, 1, r.title FROM {rows} r WHERE true \
             ON CONFLICT (goal_id, version) DO UPDATE SET title = excluded.title",
            "INSERT INTO goal_version SELECT r.id, 1, r.title FROM {rows} r \
             ON CONFLICT (goal_id, version) DO UPDATE SET title = excluded.title",
            "REPLACE INTO goal_version SELECT r.id, 1, r.title FROM {rows} r",
        ))
        .removing(
            "DELETE FROM goal_version WHERE {goal_id} \
             AND NOT EXISTS (SELECT 1 FROM goal g WHERE g.id = goal_id)",
        )
        .removing_back(
            "DELETE FROM goal WHERE {id} \
             AND NOT EXISTS (SELECT 1 FROM goal_version v WHERE v.goal_id = goal.id)",
        )
        .copying_back(D::sql(
            "INSERT INTO goal SELECT r.goal_id, r.title FROM {rows} r WHERE true \
             ON CONFLICT (id) DO UPDATE SET title = excluded.title",
            "INSERT INTO goal SELECT r.goal_id, r.title FROM {rows} r \
             ON CONFLICT (id) DO UPDATE SET title = excluded.title",
            "INSERT INTO goal SELECT r.goal_id, r.title FROM {rows} r \
             ON DUPLICATE KEY UPDATE title = VALUES(title)",
        ))
        .compared_by(|| Mapping::new().column("title", "title"));
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("goals").backfill(copy).register().await.unwrap();
    all_the_way(&migration).await;
    for id in [3, 4, 18] {
        db.execute(&format!(
            "INSERT INTO goal_version VALUES ({id}, 2, 'second'), ({id}, 3, 'third')"
        ))
        .await;
    }
    db.execute("INSERT INTO goal_version VALUES (21, 1, 'born'), (21, 2, 'changed')").await;
    db.execute("DELETE FROM goal_version WHERE goal_id = 5").await;
    and_back(&migration).await;
    let shown = migration.status().await.unwrap().backfill.unwrap();
    assert_eq!((shown.side, shown.migrated, shown.failed), (Side::Old, 20, 0));
    let [old, new] = [
        db.rows("SELECT id, title FROM goal ORDER BY id").await,
        db.rows("SELECT goal_id, title FROM goal_now ORDER BY goal_id").await,
    ];
    assert_eq!((old.len(), old), (20, new));
    assert_eq!(db.number("SELECT count(*) FROM goal WHERE title = 'third'").await, 3);
    assert_eq!(db.number("SELECT count(*) FROM goal_version").await, 20 + 6 + 1);
    runtime.shutdown().await.unwrap();
}

async fn without_statements_there_is_no_way_back<D: Sql>(db: Scratch<D>) {
    let world = ramp_down(db, 3, notes::<D>()).await;
    world.migration.advance(Stage::Complete).await.unwrap();
    let refused = world.migration.rollback("x").await.unwrap_err();
    assert!(refused.to_string().contains(".copying_back("), "{refused}");
    for refused in [
        world.migration.backfill().reverse().run().await.unwrap_err(),
        world.migration.backfill().reverse().dry_run().await.unwrap_err(),
    ] {
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        assert!(refused.to_string().contains(".copying_back("), "{refused}");
    }
}

/// It copies both ways, and does not say where the keys of new are.
struct KeysOfOldAlone<D>(PhantomData<fn() -> D>);

impl<D: Sql> CopyKeys for KeysOfOldAlone<D> {
    type Database = D::Db;
    type Key = i64;

    fn source(&self) -> KeySource {
        KeySource::table("old_note").column("id")
    }

    async fn copy(&self, _: &mut Tx<'_, D::Db>, _: &[i64]) -> Result<Copied, BoxError> {
        Ok(Copied::default())
    }
}

impl<D: Sql> CopyBack for KeysOfOldAlone<D> {
    async fn copy_back(&self, _: &mut Tx<'_, D::Db>, _: &[i64]) -> Result<Copied, BoxError> {
        Ok(Copied::default())
    }
}

async fn what_is_no_way_back_is_refused_when_it_is_registered<D: Sql>(db: Scratch<D>) {
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let one_way = || {
        CopySql::<D::Db, i64>::new(KeySource::table("old_note").column("id"))
            .copying("DELETE FROM new_note WHERE {id}")
    };
    let both = || one_way().new_source(KeySource::table("new_note").column("note_id"));
    let (copy, remove) = ("DELETE FROM old_note WHERE {id}", "DELETE FROM old_note WHERE {id}");
    // On PostgreSQL `?` is an operator.
    let (place, bound) = match D::NAME {
        "postgres" => ("`$1`", "DELETE FROM old_note WHERE {id} AND a = $1"),
        _ => ("`?`", "DELETE FROM old_note WHERE {id} AND a = ?"),
    };
    for (copy, kind, named) in [
        (
            one_way().copying_back(copy).removing_back(remove),
            ErrorKind::InvalidInput,
            ".new_source(",
        ),
        (both().copying_back(copy), ErrorKind::InvalidInput, ".removing_back("),
        (both().removing_back(remove), ErrorKind::InvalidInput, ".copying_back("),
        (
            both()
                .removing_back(remove)
                .copying_back("INSERT INTO old_note SELECT * FROM new_note"),
            ErrorKind::InvalidInput,
            "whole table",
        ),
        (
            both().removing_back("DELETE FROM old_note WHERE {the id}").copying_back(copy),
            ErrorKind::InvalidInput,
            "`{the id}`",
        ),
        (both().removing_back(remove).copying_back(bound), ErrorKind::InvalidInput, place),
        (
            both().removing_back(remove).copying_back("DELETE FROM old_note WHERE {a, b}"),
            ErrorKind::WrongKey,
            "2 columns",
        ),
    ] {
        let error = runtime.migration("notes").backfill(copy).register().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
    let registration = runtime.migration("notes").backfill_both_ways(both());
    let error = registration.register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains(".copying_back("), "{error}");
    let registration =
        runtime.migration("notes").backfill_both_ways(KeysOfOldAlone::<D>(PhantomData));
    let error = registration.register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains("`new_source`"), "{error}");
    runtime.migration("notes").backfill(both()).register().await.unwrap();
    runtime.shutdown().await.unwrap();
}
