//! A server that is far away: batches are as large as the fixed cost of a transaction asks for.

use std::time::Duration;

use dualwrite::{CopySql, Runtime, Stage, copy::KeySource};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::delay::Proxy;
use crate::support::sql::Sql;

on_all_databases!(a_delay_of_each_round_trip_makes_batches_large);

const KEYS: u64 = 20_000;

async fn a_delay_of_each_round_trip_makes_batches_large<D: Sql>(db: Scratch<D>) {
    if D::NAME == "sqlite" {
        return; // it is a file
    }
    db.execute("CREATE TABLE far (id BIGINT PRIMARY KEY, copied TIMESTAMP(6) NULL)").await;
    let rows: Vec<String> = (1..=1_000).map(|id| format!("({id}, NULL)")).collect();
    db.execute(&format!("INSERT INTO far VALUES {}", rows.join(", "))).await;
    for _ in 1..KEYS / 1_000 {
        let more = "INSERT INTO far SELECT id + (SELECT max(id) FROM far), NULL FROM far \
                    WHERE id <= 1000";
        db.execute(more).await;
    }
    for delay_ms in [1, 10, 50, 200] {
        let proxy = Proxy::before(&db.url()).await;
        let pool = sqlx::Pool::<D::Db>::connect(&proxy.url(&db.url())).await.unwrap();
        let copy = CopySql::<D::Db, i64>::new(KeySource::table("far").column("id"))
            .copying("UPDATE far SET copied = CURRENT_TIMESTAMP(6) WHERE {id}");
        let runtime = Runtime::builder(pool).start().await.unwrap();
        let name = format!("far-{delay_ms}");
        let migration = runtime.migration(&*name).backfill(copy).register().await.unwrap();
        migration.advance(Stage::DualWrite).await.unwrap();
        proxy.delay(Duration::from_millis(delay_ms));
        let backfill = tokio::time::timeout(Duration::from_secs(180), migration.backfill().run());
        let done = backfill.await.expect("batches are large").unwrap();
        assert!(done.complete && done.migrated == KEYS, "{done:?}");
        // The statement of a batch has one time: seven batches at least, and some to find the size, which a machine that
        // others use makes smaller. One key a batch would be 20,000.
        let batches = db.number("SELECT count(DISTINCT copied) FROM far").await;
        assert!(batches <= 60, "{batches} batches at {delay_ms} ms");
        proxy.delay(Duration::ZERO);
        runtime.shutdown().await.unwrap();
    }
}
