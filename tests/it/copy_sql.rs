//! The copy function that is SQL text: over ranges beside writers, over single keys, and what it refuses.

use std::sync::Arc;

use dualwrite::{CopySql, ErrorKind, Mapping, Runtime, Stage, copy::KeySource};

use crate::support::chinook;
use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{Notes, World, plain};
use crate::support::sql::Sql;
use crate::support::wait::{somebody_waits, until};

on_all_databases!(
    ranges_are_copied_beside_writers,
    a_statement_sees_in_new_what_it_waited_for_in_old,
    a_page_is_planned_anew_and_does_not_wait_for_the_disk,
    a_range_with_a_bad_row_is_halved_until_it_stands_alone,
    what_old_has_no_more_is_removed,
    keys_of_two_columns_are_named_in_order,
    the_playlists_of_chinook_are_copied_once,
    what_it_cannot_mean_is_refused_when_it_is_registered,
);

/// From `old_note` to `new_note`.
pub(crate) fn notes<D: Sql>() -> CopySql<D::Db, i64> {
    CopySql::new(KeySource::table("old_note").column("id"))
        .new_source(KeySource::table("new_note").column("id"))
        .copying(D::sql(
            "INSERT INTO new_note (id, word) SELECT r.id, r.word FROM {rows} r WHERE true \
             ON CONFLICT (id) DO UPDATE SET word = excluded.word",
            "INSERT INTO new_note (id, word) SELECT r.id, r.word FROM {rows} r \
             ON CONFLICT (id) DO UPDATE SET word = excluded.word",
            "INSERT INTO new_note (id, word) SELECT r.id, r.word FROM {rows} r \
             ON DUPLICATE KEY UPDATE word = VALUES(word)",
        ))
        .removing(
            "DELETE FROM new_note WHERE {id} \
             AND NOT EXISTS (SELECT 1 FROM old_note WHERE old_note.id = new_note.id)",
        )
        .compared_by(|| Mapping::new().column("word", "word"))
}

/// Rows are born, changed and deleted ahead of the cursor, in the page, and behind it. A row that is born
/// and changed within one page must not be overwritten by what it was at its birth.
async fn ranges_are_copied_beside_writers<D: Sql>(db: Scratch<D>) {
    let world = Arc::new(World::with(db, Stage::DualWrite, 300, plain).await);
    world.db.execute("DELETE FROM old_note WHERE id IN (10, 20, 30, 140, 150, 260)").await;
    let runtime = Runtime::builder(world.db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("notes").backfill(notes::<D>()).register().await.unwrap();
    let writers = (0..3_i64).map(|writer| {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            for round in 0..120_i64 {
                // The same few keys again and again, some of them unborn, and all of them once.
                let id = [10, 20, 30, 140, 150, 260][(round % 6) as usize] + writer;
                let mut tx = world.begin().await;
                match round % 5 {
                    4 => world.notes.remove(&mut tx, id).await.unwrap(),
                    _ => world.notes.save(&mut tx, id, &format!("{writer} {round}")).await.unwrap(),
                }
                tx.commit().await.unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let done = migration.backfill().batch(9).run().await.unwrap();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!((done.complete, done.failed), (true, 0));
    let [old, new] = world.words().await;
    assert_eq!(old, new);
    assert!(migration.verify().run().await.unwrap().is_clean());
    runtime.shutdown().await.unwrap();
}

/// A mapping that asks which rows new lacks, in place of overwriting row by row, while a writer holds one of them.
async fn a_statement_sees_in_new_what_it_waited_for_in_old<D: Sql>(db: Scratch<D>) {
    let world = Arc::new(World::with(db, Stage::DualWrite, 9, plain).await);
    let copy = CopySql::<D::Db, i64>::new(KeySource::table("old_note").column("id"))
        .copying(D::sql(
            "INSERT INTO new_note (id, word) SELECT r.id, r.word FROM {rows} r \
             WHERE NOT EXISTS (SELECT 1 FROM new_note n WHERE n.id = r.id)",
            // What was tried cannot be rolled back.
            "INSERT INTO new_note (id, word) SELECT r.id, r.word FROM {rows} r, nextval('tries') \
             WHERE NOT EXISTS (SELECT 1 FROM new_note n WHERE n.id = r.id)",
            "INSERT INTO new_note (id, word) SELECT r.id, r.word FROM {rows} r \
             WHERE NOT EXISTS (SELECT 1 FROM new_note n WHERE n.id = r.id)",
        ))
        .copying(D::sql(
            "UPDATE new_note SET word = (SELECT o.word FROM old_note o WHERE o.id = new_note.id) WHERE {id}",
            "UPDATE new_note n SET word = r.word FROM {rows} r WHERE r.id = n.id AND {n.id}",
            "UPDATE new_note n JOIN {rows} r ON r.id = n.id SET n.word = r.word WHERE {n.id}",
        ));
    if D::NAME == "postgres" {
        world.db.execute("CREATE SEQUENCE tries").await;
    }
    let runtime = Runtime::builder(world.db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("notes").backfill(copy).register().await.unwrap();

    let mut tx = world.begin().await;
    D::run(&mut tx, "UPDATE old_note SET word = 'newer' WHERE id = 5").await.unwrap();
    let copied = migration.clone();
    let backfill = tokio::spawn(async move { copied.backfill().batch(100).run().await });
    if D::NAME != "sqlite" {
        until("the backfill waits", async || somebody_waits(&world.db).await).await;
    }
    D::run(&mut tx, "INSERT INTO new_note (id, word) VALUES (5, 'newer')").await.unwrap();
    tx.commit().await.unwrap();
    let done = backfill.await.unwrap().unwrap();
    assert_eq!((done.complete, done.failed), (true, 0));
    if D::NAME == "postgres" {
        assert_eq!(world.db.number("SELECT last_value FROM tries").await, 1, "no batch failed");
    }
    let [old, new] = world.words().await;
    assert_eq!(old, new);
    assert!(new.contains(&"newer".to_owned()));
    runtime.shutdown().await.unwrap();
}

/// A plan that is kept from when new was empty takes 30 times as long, or worse, when it has filled.
async fn a_page_is_planned_anew_and_does_not_wait_for_the_disk<D: Sql>(db: Scratch<D>) {
    if D::NAME != "postgres" {
        return; // there neither can be had for one transaction
    }
    let world = World::with(db, Stage::DualWrite, 40, plain).await;
    world
        .db
        .execute("CREATE TABLE found (planned TEXT, waits TEXT, UNIQUE (planned, waits))")
        .await;
    let copy = CopySql::<D::Db, i64>::new(KeySource::table("old_note").column("id")).copying(
        "INSERT INTO found SELECT current_setting('plan_cache_mode'), \
         current_setting('synchronous_commit') FROM {rows} r ON CONFLICT DO NOTHING",
    );
    let runtime = Runtime::builder(world.db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("notes").backfill(copy).register().await.unwrap();
    migration.backfill().batch(10).run().await.unwrap();
    let found = world.db.rows("SELECT planned, waits FROM found").await;
    assert_eq!(found, [["force_custom_plan", "off"].map(|text| Some(text.to_owned()))]);
    // Of the service's own transactions nothing is changed.
    let mut tx = world.begin().await;
    let settings =
        "SELECT current_setting('plan_cache_mode') || current_setting('synchronous_commit')";
    assert_eq!(D::texts(&mut tx, settings).await.unwrap(), ["autoon"]);
    runtime.shutdown().await.unwrap();
}

/// Two tables, of which the new one refuses a word.
async fn two_tables<D: Sql>(db: &Scratch<D>) {
    db.execute(
        "CREATE TABLE old_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL);
         CREATE TABLE new_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL CHECK (word <> 'poison'))",
    )
    .await;
    for id in 1..=40 {
        db.execute(&format!("INSERT INTO old_note (id, word) VALUES ({id}, 'word {id}')")).await;
    }
}

async fn a_range_with_a_bad_row_is_halved_until_it_stands_alone<D: Sql>(db: Scratch<D>) {
    two_tables(&db).await;
    db.execute("UPDATE old_note SET word = 'poison' WHERE id = 23").await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("notes").backfill(notes::<D>()).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    let done = migration.backfill().batch(16).run().await.unwrap();
    assert_eq!((done.total, done.migrated, done.failed, done.complete), (40, 39, 1, true));
    assert_eq!(migration.dead_letters().await.unwrap()[0].key, "23");
    assert_eq!(db.number("SELECT count(*) FROM new_note").await, 39);
    db.execute("UPDATE old_note SET word = 'corrected' WHERE id = 23").await;
    assert_eq!(migration.retry_dead_letters().await.unwrap(), 1);
    assert_eq!(db.number("SELECT count(*) FROM new_note WHERE word = 'corrected'").await, 1);
    runtime.shutdown().await.unwrap();
}

async fn what_old_has_no_more_is_removed<D: Sql>(db: Scratch<D>) {
    two_tables(&db).await;
    db.execute("INSERT INTO new_note (id, word) VALUES (7, 'stale'), (99, 'a stray')").await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("notes").backfill(notes::<D>()).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    migration.backfill().run().await.unwrap();
    let same = "SELECT count(*) FROM old_note o JOIN new_note n ON n.id = o.id AND n.word = o.word";
    assert_eq!(db.number(same).await, 40);
    assert_eq!(db.number("SELECT count(*) FROM new_note").await, 40);
    db.execute("DELETE FROM old_note WHERE id = 5").await; // behind our back
    migration.copy(&5_i64).await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM new_note WHERE id = 5").await, 0);
    runtime.shutdown().await.unwrap();
}

async fn keys_of_two_columns_are_named_in_order<D: Sql>(db: Scratch<D>) {
    db.execute(
        "CREATE TABLE pair (a INTEGER NOT NULL, b VARCHAR(20) NOT NULL, copies INTEGER NOT NULL,
                            PRIMARY KEY (a, b))",
    )
    .await;
    for a in 0..5 {
        for b in ["", "B", "a", "zebra", "äpfel", "y quoted"] {
            db.execute(&format!("INSERT INTO pair VALUES ({a}, '{b}', 0)")).await;
        }
    }
    let copy =
        CopySql::<D::Db, (i64, String)>::new(KeySource::table("pair").column("a").column("b"))
            .copying("UPDATE pair SET copies = copies + 1 WHERE {a, b}");
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("pairs").backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    let done = migration.backfill().batch(4).run().await.unwrap();
    assert_eq!((done.total, done.migrated), (30, 30));
    assert_eq!(db.number("SELECT count(*) FROM pair WHERE copies = 1").await, 30);
    migration.copy(&(3_i64, "a".to_owned())).await.unwrap();
    assert_eq!(db.number("SELECT copies FROM pair WHERE a = 3 AND b = 'a'").await, 2);
    runtime.shutdown().await.unwrap();
}

async fn the_playlists_of_chinook_are_copied_once<D: Sql>(db: Scratch<D>) {
    let Some(()) = chinook::load(&db).await else {
        return;
    };
    db.execute(
        "CREATE TABLE playlist_entry (list INTEGER NOT NULL, track INTEGER NOT NULL, \
         PRIMARY KEY (list, track))",
    )
    .await;
    let table = D::sql("PlaylistTrack", "playlist_track", "PlaylistTrack");
    let list = D::sql("PlaylistId", "playlist_id", "PlaylistId");
    let track = D::sql("TrackId", "track_id", "TrackId");
    // It would fail where a key came a second time.
    let copying: &'static str = D::sql(
        "INSERT INTO playlist_entry SELECT r.PlaylistId, r.TrackId FROM {rows} r",
        "INSERT INTO playlist_entry SELECT r.playlist_id, r.track_id FROM {rows} r",
        "INSERT INTO playlist_entry SELECT r.PlaylistId, r.TrackId FROM {rows} r",
    );
    let source = KeySource::table(table).column(list).column(track);
    let copy = CopySql::<D::Db, (i64, i64)>::new(source).copying(copying);
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("playlists").backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    let done = migration.backfill().batch(100).workers(2).exact_total().run().await.unwrap();
    assert_eq!((done.total, done.migrated, done.failed), (8_715, 8_715, 0));
    let same = format!(
        "SELECT count(*) FROM {table} o JOIN playlist_entry n ON n.list = o.{list} AND n.track = o.{track}"
    );
    assert_eq!(db.number(&same).await, 8_715);
    runtime.shutdown().await.unwrap();
}

async fn what_it_cannot_mean_is_refused_when_it_is_registered<D: Sql>(db: Scratch<D>) {
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let copy = || CopySql::<D::Db, i64>::new(KeySource::table("old_note").column("id"));
    let good = "DELETE FROM new_note WHERE {id}";
    // On PostgreSQL `?` is an operator.
    let (place, bound) = match D::NAME {
        "postgres" => ("`$1`", "DELETE FROM n WHERE {id} AND x = $1"),
        _ => ("`?`", "DELETE FROM n WHERE {id} AND x = ?"),
    };
    for (copy, kind, named) in [
        (copy(), ErrorKind::InvalidInput, "`.copying("),
        (copy().copying("DELETE FROM new_note"), ErrorKind::InvalidInput, "whole table"),
        (
            copy().copying(good).removing("DELETE FROM n WHERE {the id}"),
            ErrorKind::InvalidInput,
            "`{the id}`",
        ),
        (copy().copying(bound), ErrorKind::InvalidInput, place),
        (copy().copying("DELETE FROM n WHERE {id, b}"), ErrorKind::WrongKey, "2 columns"),
    ] {
        let error = runtime.migration("notes").backfill(copy).register().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
    runtime.shutdown().await.unwrap();
}
