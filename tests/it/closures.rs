//! Calls by closures, without a repository trait.

use dualwrite::{
    AnswerPolicy, CopySql, Error, ErrorKind, Mapping, MirrorPolicy, Percent, Runtime, Side, Stage,
    copy::KeySource,
};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{CopyNotes, World, lazy, plain};
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(
    a_migration_of_closures_goes_from_off_to_complete,
    a_planted_difference_is_found_and_counted_under_the_name,
    a_key_that_new_misses_is_copied_by_a_lazy_read,
    a_mirror_that_fails_is_undone_and_its_keys_are_marked,
    a_filter_goes_to_both_sides_or_fails,
    options_of_a_call_go_before_those_of_the_registration,
    closures_that_borrow_are_called_once,
    a_write_in_a_transaction_of_another_migration_is_refused,
    columns_of_one_row_are_written_once,
);

/// The word of a note, by a side.
async fn word<D: Sql>(
    pool: sqlx::Pool<D::Db>,
    table: &str,
    id: i64,
) -> sqlx::Result<Option<String>> {
    let sql = format!("SELECT word FROM {table} WHERE id = {id}");
    let rows = D::rows(&pool, &sql).await?;
    Ok(rows.into_iter().flatten().flatten().next())
}

fn asking<D: Sql>(
    world: &World<D>,
    table: &'static str,
    id: i64,
) -> impl Fn() -> futures_util::future::BoxFuture<'static, sqlx::Result<Option<String>>>
+ Send
+ Sync
+ 'static
+ use<D> {
    let pool = world.db.pool().clone();
    move || Box::pin(word::<D>(pool.clone(), table, id))
}

async fn find<D: Sql>(world: &World<D>, id: i64) -> sqlx::Result<Option<String>> {
    let (old, new) = (asking(world, "old_note", id), asking(world, "new_note", id));
    world.migration.read("find", &id).old(old).new(new).run().await
}

fn upsert(table: &str, id: i64, word: &str) -> String {
    format!(
        "DELETE FROM {table} WHERE id = {id}; INSERT INTO {table} (id, word) VALUES ({id}, '{word}')"
    )
}

async fn save<D: Sql>(world: &World<D>, id: i64, word: &str, new_table: &str) -> sqlx::Result<()> {
    let mut tx = world.begin().await;
    world
        .migration
        .write("save", &mut tx, &id)
        .old(|mut tx| {
            Box::pin(async move { D::run_on(&mut tx, &upsert("old_note", id, word)).await })
        })
        .new(|mut tx| {
            Box::pin(async move { D::run_on(&mut tx, &upsert(new_table, id, word)).await })
        })
        .uncompared()
        .run()
        .await?;
    Ok(tx.commit().await?)
}

async fn a_migration_of_closures_goes_from_off_to_complete<D: Sql>(db: Scratch<D>) {
    let world = World::copying(db, Stage::Off, 3, plain, CopyNotes::both_ways()).await;
    for (number, stage) in Stage::ALL.into_iter().enumerate() {
        if stage != Stage::Off {
            world.migration.advance(stage).await.unwrap();
        }
        let id = 10 + i64::try_from(number).unwrap();
        save(&world, id, "saved", "new_note").await.unwrap();
        assert_eq!(find(&world, id).await.unwrap().as_deref(), Some("saved"), "{stage}");
        let [old, new] = world.words().await;
        assert_eq!(
            old.len(),
            if stage == Stage::Complete { 3 + number } else { 4 + number },
            "{stage}"
        );
        match stage {
            Stage::Off => assert_eq!(new.len(), 0),
            Stage::DualWrite => {
                world.migration.backfill().run().await.unwrap();
                assert!(world.migration.verify().run().await.unwrap().is_clean());
            }
            _ => assert_eq!(new.len(), 4 + number, "{stage}"),
        }
    }
    // As a task of its own: what a call holds can be sent.
    let ids = [20_i64, 21];
    let migration = world.migration.clone();
    let pool = world.db.pool().clone();
    let written = tokio::spawn(async move {
        let mut tx = migration.begin(&pool).await?;
        let insert = "INSERT INTO new_note (id, word) VALUES (20, 'a'), (21, 'b')";
        migration
            .write_all("insert_all", &mut tx, ids)
            .old(|_| Box::pin(async { Err(sqlx::Error::RowNotFound) }))
            .new(|mut tx| Box::pin(async move { D::run_on(&mut tx, insert).await }))
            .run()
            .await?;
        tx.commit().await?;
        Ok::<(), sqlx::Error>(())
    });
    written.await.unwrap().unwrap();
    assert_eq!(find(&world, 21).await.unwrap().as_deref(), Some("b"));
}

async fn shadowing<D: Sql>(db: Scratch<D>) -> World<D> {
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    world.migration.backfill().run().await.unwrap();
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    world.migration.advance(Stage::Shadow).await.unwrap();
    world
}

async fn a_planted_difference_is_found_and_counted_under_the_name<D: Sql>(db: Scratch<D>) {
    let world = shadowing(db).await;
    let counters = async || world.migration.status().await.unwrap().counters;
    find(&world, 1).await.unwrap();
    until("it is equal", async || counters().await.shadow_equal == 1).await;
    world.db.execute("UPDATE new_note SET word = 'planted' WHERE id = 1").await;
    assert_eq!(find(&world, 1).await.unwrap().as_deref(), Some("word 1"), "old answers");
    until("it is found", async || counters().await.shadow_different == 1).await;
    let status = world.migration.status().await.unwrap();
    let method = status
        .methods
        .iter()
        .find(|found| (&*found.repository, &*found.method) == ("call", "find"));
    let method = method.unwrap();
    assert_eq!((method.compared.equal, method.compared.different), (1, 1));
    // By a function that sees no difference there, and a scan.
    let (old, new) = (asking(&world, "old_note", 1), asking(&world, "new_note", 1));
    let scan = world.migration.scan("scan").old(old).new(new);
    scan.compared_by(|old: &Option<String>, new: &Option<String>| old.is_some() == new.is_some())
        .run()
        .await
        .unwrap();
    until("it is equal", async || counters().await.shadow_equal == 2).await;
}

async fn a_key_that_new_misses_is_copied_by_a_lazy_read<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 3, lazy).await;
    for stage in [Stage::Shadow, Stage::Live] {
        world.migration.advance(stage).await.unwrap();
    }
    let (old, new) = (asking(&world, "old_note", 2), asking(&world, "new_note", 2));
    let read = world.migration.read("find", &2_i64).old(old).new(new).lazy();
    assert_eq!(read.run().await.unwrap().as_deref(), Some("word 2"));
    assert_eq!(world.words().await[1], ["word 2"]);
    assert_eq!(world.migration.status().await.unwrap().counters.lazy_copied, 1);
}

async fn a_mirror_that_fails_is_undone_and_its_keys_are_marked<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    assert!(save(&world, 7, "seven", "nowhere").await.is_ok(), "the caller's write goes on");
    let status = world.migration.status().await.unwrap();
    assert_eq!((status.counters.mirror_failed, status.dirty_new), (1, 1));
    assert!(status.mirror.last_error.unwrap().method == "call::save");

    let mut tx = world.begin().await;
    let ids = [8_i64, 9];
    let insert = "INSERT INTO old_note (id, word) VALUES (8, 'a'), (9, 'b')";
    let write = world.migration.write_all("insert_all", &mut tx, ids);
    let write = write.old(|mut tx| Box::pin(async move { D::run_on(&mut tx, insert).await }));
    let write = write.new(|mut tx| {
        Box::pin(async move { D::run_on(&mut tx, "INSERT INTO nowhere VALUES (1)").await })
    });
    write.run().await.unwrap();
    let marks = "SELECT count(*) FROM dualwrite_dirty WHERE key_text IN ('8', '9')";
    assert_eq!(D::read(&mut tx, marks).await.unwrap()[0][0].as_deref(), Some("2"));
    tx.commit().await.unwrap();
    world.migration.repair().await.unwrap();
    let [old, new] = world.words().await;
    assert_eq!((old.len(), &old), (3, &new));
}

async fn a_filter_goes_to_both_sides_or_fails<D: Sql>(db: Scratch<D>) {
    let world = shadowing(db).await;
    for (new_table, is_written) in [("new_note", true), ("nowhere", false)] {
        let update = |table: &str| format!("UPDATE {table} SET word = 'all'");
        let (old, new) = (update("old_note"), update(new_table));
        let (old, new) = (old.as_str(), new.as_str());
        let mut tx = world.begin().await;
        let write = world.migration.write_filter("rename_all", &mut tx);
        let write = write.old(|mut tx| Box::pin(async move { D::run_on(&mut tx, old).await }));
        let written =
            write.new(|mut tx| Box::pin(async move { D::run_on(&mut tx, new).await })).run().await;
        assert_eq!(written.is_ok(), is_written);
        assert_eq!(tx.commit().await.is_ok(), is_written);
    }
    assert_eq!(world.words().await, [vec!["all"; 3], vec!["all"; 3]]);
}

async fn options_of_a_call_go_before_those_of_the_registration<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 1, plain).await;
    let mut tx = world.begin().await;
    let write =
        world.migration.write("strict", &mut tx, &1_i64).on_mirror_error(MirrorPolicy::Abort);
    let write = write.old(|_| Box::pin(async { Ok::<_, sqlx::Error>(1) }));
    let refused = write.new(|_| Box::pin(async { Err(sqlx::Error::RowNotFound) })).run().await;
    assert!(matches!(refused, Err(sqlx::Error::RowNotFound)), "{refused:?}");
    drop(tx);

    let mut tx = world.begin().await;
    let write =
        world.migration.write("numbered", &mut tx, &1_i64).on_difference(AnswerPolicy::Error);
    let write = write.old(|_| Box::pin(async { Ok::<_, sqlx::Error>(1) }));
    let error = write.new(|_| Box::pin(async { Ok(2) })).run().await.unwrap_err();
    assert_eq!(Error::find(&error).unwrap().kind(), ErrorKind::MirrorFailed);
    drop(tx);

    world.migration.backfill().run().await.unwrap();
    world.migration.verify().run().await.unwrap();
    world.migration.advance(Stage::Shadow).await.unwrap();
    let (old, new) = (asking(&world, "old_note", 1), asking(&world, "new_note", 1));
    let read = world.migration.read("find", &1_i64).old(old).new(new);
    read.sample(Percent::ZERO).run().await.unwrap();
    let counters = world.migration.status().await.unwrap().counters;
    assert_eq!((counters.shadow_equal, counters.shadow_different), (0, 0));
}

async fn closures_that_borrow_are_called_once<D: Sql>(db: Scratch<D>) {
    let world = shadowing(db).await;
    let (pool, mut calls) = (world.db.pool(), 0);
    let calling = &mut calls;
    let read = world.migration.read("find", &1_i64).uncompared();
    let read = read.old(async || {
        *calling += 1;
        word::<D>(pool.clone(), "old_note", 1).await
    });
    let answer = read.new(async || Err(sqlx::Error::RowNotFound)).run_once().await;
    assert_eq!((answer.unwrap().as_deref(), calls), (Some("word 1"), 1));
}

async fn a_write_in_a_transaction_of_another_migration_is_refused<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    let copy = CopyNotes::<D>::new();
    let other = world.runtime.migration("other").backfill(copy).register().await.unwrap();
    let mut tx = other.begin(world.db.pool()).await.unwrap();
    let write = world.migration.write("save", &mut tx, &1_i64);
    let write = write.old(|_| Box::pin(async { Ok::<(), sqlx::Error>(()) }));
    let error = write.new(|_| Box::pin(async { Ok(()) })).run().await.unwrap_err();
    assert_eq!(Error::find(&error).unwrap().kind(), ErrorKind::NotPinned);
}

async fn columns_of_one_row_are_written_once<D: Sql>(db: Scratch<D>) {
    db.execute("CREATE TABLE card (id BIGINT PRIMARY KEY, visits BIGINT NOT NULL, word VARCHAR(20), text VARCHAR(20))")
        .await;
    db.execute("INSERT INTO card (id, visits, word) VALUES (1, 0, 'a')").await;
    let copy = CopySql::<D::Db, i64>::new(KeySource::table("card").column("id"))
        .new_source(KeySource::table("card").column("id"))
        .copying("UPDATE card SET text = word WHERE {id}")
        .compared_by(|| Mapping::new().column("word", "text"));
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("cards").backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();

    let mut tx = migration.begin(db.pool()).await.unwrap();
    let write = migration.write("visit", &mut tx, &1_i64);
    let write = write.old(|_| Box::pin(async { Ok::<u64, sqlx::Error>(1) }));
    let error = write.new(|_| Box::pin(async { Ok(1) })).run().await.unwrap_err();
    let error = Error::find(&error).unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("`columns(…)`"), "{error}");
    drop(tx);

    let mut tx = migration.begin(db.pool()).await.unwrap();
    let write = migration.write("visit", &mut tx, &1_i64).columns(|columns, mut tx| {
        Box::pin(async move {
            let mut set = vec!["visits = visits + 1"];
            set.extend(columns.write(Side::Old).then_some("word = 'b'"));
            set.extend(columns.write(Side::New).then_some("text = 'b'"));
            D::run_on(&mut tx, &format!("UPDATE card SET {} WHERE id = 1", set.join(", "))).await
        })
    });
    write.run().await.unwrap();
    tx.commit().await.unwrap();
    let rows = db.rows("SELECT visits, word, text FROM card").await;
    let row: Vec<_> = rows[0].iter().map(|value| value.as_deref().unwrap()).collect();
    assert_eq!(row, ["1", "b", "b"]);
    runtime.shutdown().await.unwrap();
}
