//! Samples of mismatches: the first few of each field, with key and redacted values, across restarts.

use std::time::{Duration, SystemTime};

use dualwrite::{
    Runtime, Stage,
    compare::Shown,
    defaults::{KEY_BYTES_MAX, SAMPLES_PER_FIELD_MAX},
    shadow::ShadowRules,
};

use super::{Row, Rows as _, World, row};
use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{self, Notes as _, lazy};
use crate::support::sql::Sql;

#[tokio::test(start_paused = true)]
async fn the_first_of_each_field_are_kept_with_their_keys() {
    let world = World::at(Stage::Shadow, ShadowRules::default()).await;
    let migration = world.test.migration();
    world.new.answers(|_| Ok(Row { email: "other".into(), country: "FR".into(), ..row() }));
    for id in 1..=20 {
        world.rows.find(id).await.unwrap();
        world.test.settle().await;
    }
    let found = migration.mismatches().await.unwrap();
    assert_eq!(found.len() as u32, 2 * SAMPLES_PER_FIELD_MAX);
    let (email, country) = (&found[0], &found[1]);
    assert_eq!((&*email.method, &*email.field), ("Rows::find", "email"));
    assert_eq!(email.key.as_deref(), Some("1"));
    assert_eq!((&email.old, &email.new), (&Some(Shown::Redacted), &Some(Shown::Redacted)));
    assert_eq!(country.old.as_ref().and_then(Shown::text), Some("\"CH\""));
    assert_eq!(country.new.as_ref().and_then(Shown::text), Some("\"FR\""));
    let status = migration.status().await.unwrap();
    assert_eq!(status.mismatches, found);
    assert_eq!(status.counters.samples_dropped, 2 * (20 - u64::from(SAMPLES_PER_FIELD_MAX)));
    let page = serde_json::to_string(&status).unwrap();
    assert!(!page.contains("example.org") && !page.contains("other"), "{page}");

    assert_eq!(migration.forget_mismatches().await.unwrap(), 10);
    assert!(migration.mismatches().await.unwrap().is_empty());
    world.rows.find(21).await.unwrap();
    world.test.settle().await;
    assert_eq!(migration.mismatches().await.unwrap()[0].key.as_deref(), Some("21"));
}

#[tokio::test(start_paused = true)]
async fn scans_have_no_key_and_lists_their_lengths() {
    let world = World::at(Stage::Shadow, ShadowRules::default()).await;
    world.new.answers(|_| Ok(Row { id: 2, ..row() }));
    world.rows.all().await.unwrap();
    world.test.settle().await;
    let found = world.test.migration().mismatches().await.unwrap();
    assert_eq!((&*found[0].method, &*found[0].field), ("Rows::all", "[].id"));
    assert_eq!(found[0].key, None);
}

#[dualwrite::repository]
trait Texts {
    #[read(key = name)]
    async fn find(&self, name: &str) -> Result<u64, sqlx::Error>;
}

struct Number(u64);

impl Texts for Number {
    async fn find(&self, _: &str) -> Result<u64, sqlx::Error> {
        Ok(self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_too_long_is_left_out_and_the_caller_served() {
    let world = World::at(Stage::Shadow, ShadowRules::default()).await;
    let texts = DualTexts::new(world.test.migration(), Number(1), Number(2));
    assert_eq!(texts.find(&"x".repeat(KEY_BYTES_MAX + 1)).await.unwrap(), 1);
    world.test.settle().await;
    let found = world.test.migration().mismatches().await.unwrap();
    assert_eq!((&*found[0].field, &found[0].key), ("*", &None));
}

on_all_databases!(samples_survive_a_restart);

async fn samples_survive_a_restart<D: Sql>(db: Scratch<D>) {
    let world = notes::World::with(db, Stage::Shadow, 3, lazy).await;
    world.migration.backfill().run().await.unwrap();
    world.db.execute("UPDATE new_note SET word = 'another' WHERE id >= 2").await;
    for id in 1..=3 {
        world.notes.find(id).await.unwrap();
    }
    while world.migration.mismatches().await.unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    world.runtime.shutdown().await.unwrap();
    let runtime = Runtime::builder(world.db.pool().clone()).start().await.unwrap();
    let migration = runtime.migration("notes").register().await.unwrap();
    let mut found = migration.mismatches().await.unwrap();
    found.sort_by_key(|found| found.key.clone());
    let keys: Vec<&str> = found.iter().filter_map(|found| found.key.as_deref()).collect();
    assert_eq!(keys, ["2", "3"]);
    assert!(found.iter().all(|found| found.method == "Notes::find" && found.field == "*"));
    let recent = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    assert!(found.iter().all(|found| found.at > recent));
    assert_eq!(migration.forget_mismatches().await.unwrap(), 2);
    runtime.shutdown().await.unwrap();
}
