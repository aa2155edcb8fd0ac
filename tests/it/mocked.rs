//! Mocks of an annotated trait: `mockall` stands below the attribute, so that it sees no route.

use dualwrite::{Runtime, Stage, Tx};
use sqlx::Sqlite;

use crate::support::db::{SqliteDb, TestDb as _};
use crate::support::notes::CopyNotes;

/// `mockall` asks for the name of a lifetime.
#[allow(clippy::needless_lifetimes, reason = "whether it is seen behind three macros is theirs")]
#[dualwrite::repository]
#[mockall::automock]
#[async_trait::async_trait]
trait Words: Send + Sync {
    #[read(key = id)]
    async fn find(&self, id: i64) -> Result<Option<String>, sqlx::Error>;
    #[write(key = id)]
    async fn save<'t>(
        &self,
        tx: &mut Tx<'t, Sqlite>,
        id: i64,
        word: String,
    ) -> Result<(), sqlx::Error>;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_are_mocks() {
    let db = SqliteDb::fresh("mocked").await.unwrap();
    db.execute(
        "CREATE TABLE old_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL);
         CREATE TABLE new_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL)",
    )
    .await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let registration = runtime.migration("words").backfill(CopyNotes::<SqliteDb>::new());
    let migration = registration.register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    let (mut old, mut new) = (MockWords::new(), MockWords::new());
    old.expect_find().times(1).returning(|id| Ok(Some(format!("old {id}"))));
    for side in [&mut old, &mut new] {
        let saved = side.expect_save().times(1);
        saved.withf(|_, id, word| (*id, word.as_str()) == (7, "seven")).returning(|_, _, _| Ok(()));
    }
    let words = DualWords::new(&migration, old, new);
    let mut tx = migration.begin(db.pool()).await.unwrap();
    words.save(&mut tx, 7, "seven".to_owned()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(words.find(7).await.unwrap().as_deref(), Some("old 7"));
    runtime.shutdown().await.unwrap();
}
