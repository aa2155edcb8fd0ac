//! Writes of releases that do not know the library: a trigger records them, and they are copied again.

use std::marker::PhantomData;
use std::time::Duration;

use dualwrite::{BoxError, Copied, CopyKeys, Registration, Runtime, Stage, Tx, copy::KeySource};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{World, plain};
use crate::support::sql::Sql;

on_all_databases!(
    what_others_wrote_to_old_is_copied_again,
    what_goes_through_the_fence_is_not_recorded,
    complete_waits_until_nobody_writes_old_any_more,
    keys_are_recorded_as_the_library_writes_them,
    a_uuid_is_recorded_as_the_library_writes_it,
    without_the_trigger_nothing_is_recorded,
);

const BEHIND_OUR_BACK: &str = "\
    INSERT INTO old_note (id, word) VALUES (50, 'inserted');
    UPDATE old_note SET word = 'updated' WHERE id = 2;
    UPDATE old_note SET id = 60 WHERE id = 3;
    DELETE FROM old_note WHERE id = 4";

async fn copied<D: Sql>(
    db: Scratch<D>,
    options: fn(Registration<'_, D::Db>) -> Registration<'_, D::Db>,
) -> World<D> {
    let world = World::with(db, Stage::DualWrite, 10, options).await;
    world.migration.backfill().run().await.unwrap();
    world.migration.install_trigger().await.unwrap();
    world.migration.install_trigger().await.unwrap(); // again and again
    world
}

async fn recorded<D: Sql>(world: &World<D>) -> (i64, i64) {
    let dirty = world.db.number("SELECT count(*) FROM dualwrite_dirty WHERE side = 'new'").await;
    (dirty, world.db.number("SELECT count(*) FROM dualwrite_unaware WHERE minute > 0").await)
}

async fn what_others_wrote_to_old_is_copied_again<D: Sql>(db: Scratch<D>) {
    let world = copied(db, plain).await;
    let [before, _] = world.words().await;
    world.db.execute(BEHIND_OUR_BACK).await;
    // The background repair may have been quicker.
    world.migration.repair().await.unwrap();
    let [old, new] = world.words().await;
    assert_ne!(old, before);
    assert_eq!(old, new);
    assert_eq!(recorded(&world).await.0, 0);
    assert!(world.migration.verify().run().await.unwrap().is_clean());
}

async fn what_goes_through_the_fence_is_not_recorded<D: Sql>(db: Scratch<D>) {
    let world = copied(db, plain).await;
    world.save(1, "through the fence").await;
    world.save(70, "likewise").await;
    world.migration.copy(&1_i64).await.unwrap();
    assert_eq!(recorded(&world).await, (0, 0));
    // Nothing of a transaction that was rolled back, or dropped, hides what the next one does.
    let mut tx = world.begin().await;
    D::run(&mut tx, "UPDATE old_note SET word = 'never' WHERE id = 1").await.unwrap();
    tx.rollback().await.unwrap();
    drop(world.begin().await);
    world.save(1, "again").await;
    assert_eq!(recorded(&world).await, (0, 0));
    world.runtime.shutdown().await.unwrap(); // nobody repairs
    for _ in 0..10 {
        world.db.execute("UPDATE old_note SET word = 'behind' WHERE id = 1").await;
    }
    assert_eq!(world.db.number("SELECT count(*) FROM dualwrite_dirty").await, 1);
    assert!(world.db.number("SELECT count(*) FROM dualwrite_unaware WHERE minute > 0").await >= 1);
}

fn patient<DB: dualwrite::Backend>(registration: Registration<'_, DB>) -> Registration<'_, DB> {
    registration.unaware_window(Duration::from_secs(3_600))
}

async fn complete_waits_until_nobody_writes_old_any_more<D: Sql>(db: Scratch<D>) {
    let world = copied(db, patient).await;
    world.db.execute("UPDATE old_note SET word = 'behind' WHERE id = 1").await;
    world.migration.repair().await.unwrap();
    world.migration.verify().run().await.unwrap();
    for stage in [Stage::Shadow, Stage::Live, Stage::RampDown] {
        world.migration.advance(stage).await.unwrap();
    }
    let refused = world.migration.advance(Stage::Complete).await.unwrap_err();
    assert!(refused.to_string().contains("[released] the old table was written"), "{refused}");
    let hours = "UPDATE dualwrite_unaware SET minute = minute - 70 WHERE minute > 0";
    world.db.execute(hours).await;
    world.migration.advance(Stage::Complete).await.unwrap();
}

struct CopyPairs<D: Sql>(PhantomData<D>);

impl<D: Sql> CopyKeys for CopyPairs<D> {
    type Database = D::Db;
    type Key = (i64, String);

    fn source(&self) -> KeySource {
        KeySource::table("pair").column("a").column("b")
    }

    async fn copy(&self, _: &mut Tx<'_, D::Db>, _: &[(i64, String)]) -> Result<Copied, BoxError> {
        Ok(Copied::default())
    }
}

async fn keys_are_recorded_as_the_library_writes_them<D: Sql>(db: Scratch<D>) {
    db.execute(
        "CREATE TABLE pair (a INTEGER NOT NULL, b VARCHAR(40) NOT NULL, PRIMARY KEY (a, b))",
    )
    .await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let copy = CopyPairs::<D>(PhantomData);
    let migration = runtime.migration("pairs").backfill(copy).register().await.unwrap();
    migration.install_trigger().await.unwrap();
    let texts = ["", "plain", "with \"quotes\"", "äpfel"];
    for (number, text) in texts.iter().enumerate() {
        db.execute(&format!("INSERT INTO pair VALUES ({number}, '{text}')")).await;
    }
    let rows = db.rows("SELECT key_text FROM dualwrite_dirty ORDER BY key_text").await;
    let found: Vec<String> = rows.into_iter().flatten().flatten().collect();
    let expected: Vec<String> = texts
        .iter()
        .enumerate()
        .map(|(number, text)| serde_json::to_string(&(number, text)).unwrap())
        .collect();
    assert_eq!(found, expected);
}

async fn without_the_trigger_nothing_is_recorded<D: Sql>(db: Scratch<D>) {
    let world = copied(db, plain).await;
    world.migration.remove_trigger().await.unwrap();
    world.migration.remove_trigger().await.unwrap();
    world.db.execute(BEHIND_OUR_BACK).await;
    assert_eq!(recorded(&world).await, (0, 0));
    assert!(world.migration.trigger_sql().await.unwrap().len() >= 3);
}

struct CopyTokens<D: Sql>(PhantomData<D>);

impl<D: Sql> CopyKeys for CopyTokens<D> {
    type Database = D::Db;
    type Key = uuid::Uuid;

    fn source(&self) -> KeySource {
        KeySource::table("token").column("id")
    }

    async fn copy(&self, _: &mut Tx<'_, D::Db>, _: &[uuid::Uuid]) -> Result<Copied, BoxError> {
        Ok(Copied::default())
    }
}

async fn a_uuid_is_recorded_as_the_library_writes_it<D: Sql>(db: Scratch<D>) {
    let kind = D::sql("BLOB", "UUID", "BINARY(16)");
    db.execute(&format!("CREATE TABLE token (id {kind} PRIMARY KEY)")).await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let copy = CopyTokens::<D>(PhantomData);
    let migration = runtime.migration("tokens").backfill(copy).register().await.unwrap();
    migration.install_trigger().await.unwrap();
    let id = uuid::Uuid::from_u128(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210);
    let literal = match D::sql("", "uuid", "") {
        "" => format!("x'{}'", id.simple()),
        _ => format!("'{id}'"),
    };
    db.execute(&format!("INSERT INTO token VALUES ({literal})")).await;
    let rows = db.rows("SELECT key_text FROM dualwrite_dirty").await;
    assert_eq!(rows, [[Some(serde_json::to_string(&id.to_string()).unwrap())]]);
}
