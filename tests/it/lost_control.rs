//! The control tables cannot be reached any more: what was begun ends under the fence, writes go on being
//! judged by it, reads say that the stage is unknown, and all of it passes by itself.

use std::time::{Duration, Instant};

use dualwrite::{Error, ErrorKind, Runtime, Stage};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::hook::Hook;
use crate::support::notes::{CopyNotes, DualNotes, Notes, Store, World, plain};
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(
    past_the_deadline_reads_say_so_and_recover,
    a_deleted_control_row_is_noticed_within_the_lease,
);

const LEASE: Duration = Duration::from_millis(600);
const HIDE: &str = "ALTER TABLE dualwrite_instance RENAME TO hidden_instance";
const SHOW: &str = "ALTER TABLE hidden_instance RENAME TO dualwrite_instance";

async fn past_the_deadline_reads_say_so_and_recover<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    let pool = world.db.another_pool(4).await;
    let builder = Runtime::builder(pool.clone()).lease(LEASE).poll(LEASE / 4);
    let runtime = builder.start().await.unwrap();
    let copy = CopyNotes::<D>::new();
    let migration = runtime.migration("notes").backfill(copy).register().await.unwrap();
    let store = |table| Store {
        table,
        pool: pool.clone(),
        mood: Default::default(),
        hanging: Default::default(),
        reading: Hook::default(),
        removing: Hook::default(),
    };
    let notes =
        DualNotes::<Store<D>, Store<D>>::new(&migration, store("old_note"), store("new_note"));
    assert_eq!(notes.find(1).await.unwrap().as_deref(), Some("word 1"));

    world.db.execute(HIDE).await;
    let mut tx = migration.begin(&pool).await.unwrap();
    until("the lease runs out", async || is_unknown(&notes.find(1).await)).await;
    // What is pinned ends as it began, and a new write asks the fence, not the lease.
    notes.save(&mut tx, 1, "pinned before").await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = migration.begin(&pool).await.unwrap();
    notes.save(&mut tx, 2, "begun after").await.unwrap();
    tx.commit().await.unwrap();
    assert!(is_unknown(&notes.find(1).await), "still");
    let words = ["pinned before", "begun after"];
    assert_eq!(world.words().await[1], words);

    world.db.execute(SHOW).await;
    until("the lease is held again", async || !is_unknown(&notes.find(1).await)).await;
    assert_eq!(notes.find(1).await.unwrap().as_deref(), Some("pinned before"));
    world.migration.advance(Stage::Shadow).await.unwrap();
    runtime.shutdown().await.unwrap();
}

async fn a_deleted_control_row_is_noticed_within_the_lease<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    world.notes.find(1).await.unwrap();
    let deleted = Instant::now();
    world.db.execute("DELETE FROM dualwrite_migration WHERE name = 'notes'").await;
    until("reads say so", async || {
        let answer = world.notes.find(1).await;
        let error = answer.as_ref().err().and_then(|error| Error::find(error));
        error.is_some_and(|error| error.kind() == ErrorKind::UnknownMigration)
    })
    .await;
    assert!(deleted.elapsed() < dualwrite::defaults::LEASE, "{:?}", deleted.elapsed());
}

fn is_unknown(answer: &Result<Option<String>, sqlx::Error>) -> bool {
    let Err(error) = answer else { return false };
    let ours = Error::find(error).map(Error::kind);
    assert_eq!(ours, Some(ErrorKind::StageUnknown), "{error:?}");
    true
}
