//! A store that is in the database of the control tables: the mark of a key and the primary's write are one transaction.

use dualwrite::{ErrorKind, Side, Stage};
use sqlx::PgPool;

use super::fault::Fault;
use super::stores::{Carts, Service, Store, quiet, rows};
use crate::support::db::{PostgresDb, SqliteDb, TestDb};

/// The old store is the database of the control tables.
async fn save(
    service: &Service<sqlx::Postgres>,
    pool: &PgPool,
    id: i64,
    (text, fails): (&'static str, bool),
) -> Result<(), Fault> {
    let carts = service.carts.clone();
    service
        .migration
        .converging_write("save", &id)
        .old_in(pool, move |mut tx| {
            Box::pin(async move {
                let sql = "INSERT INTO cart (id, text) VALUES ($1, $2) \
                           ON CONFLICT (id) DO UPDATE SET text = excluded.text";
                let done = sqlx::query(sql).bind(id).bind(text).execute(&mut *tx).await;
                done.map_err(|error| Fault::Store(error.to_string()))?;
                if fails { Err(Fault::Store("refused".to_owned())) } else { Ok(()) }
            })
        })
        .new(move || async move { carts.put(Side::New, id, Some(text.to_owned())).await })
        .run()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mark_and_primary_are_one_transaction() {
    let name = "converging::own_store::one_transaction";
    let Some(old) = PostgresDb::fresh(name).await else { return };
    let Some(new) = SqliteDb::fresh(name).await else { return };
    let carts = Carts::new(Store::postgres(old.pool()).await, Store::sqlite(new.pool()).await);
    let service = Service::at(old.pool(), &carts, Stage::DualWrite).await;
    save(&service, old.pool(), 1, ("one", false)).await.unwrap();
    quiet(&old).await;
    assert_eq!(carts.old.all().await, carts.new.all().await);

    // What fails leaves no mark: nothing is copied, though nobody said which errors are refusals.
    let refused = save(&service, old.pool(), 2, ("two", true)).await.unwrap_err();
    assert_eq!(refused.kind(), None, "{refused}");
    assert_eq!((rows(&old, "mark").await, rows(&old, "unsettled").await), (0, 0));
    assert!(!carts.old.all().await.contains_key(&2) && !carts.new.all().await.contains_key(&2));

    // As the mirror it is written in a transaction of its own.
    service.go_to(Stage::Live).await;
    save(&service, old.pool(), 3, ("three", false)).await.unwrap();
    quiet(&old).await;
    assert_eq!(carts.old.get(3).await.unwrap().as_deref(), Some("three"));
    assert_eq!(carts.old.all().await, carts.new.all().await);

    // Another database has no position of the migration, and no fence.
    let Some(strange) = PostgresDb::fresh("converging::own_store::strange").await else { return };
    let lost = save(&service, strange.pool(), 4, ("four", false)).await.unwrap_err();
    assert!(lost.kind().is_some_and(|kind| kind != ErrorKind::MirrorFailed), "{lost}");
    assert!(!carts.new.all().await.contains_key(&4));
    service.runtime.shutdown().await.unwrap();
}
