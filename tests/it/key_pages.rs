//! Pages of keys follow the index of the key, also where the column has operators or an order of its own: what is read grows
//! with the rows, and not with the rows of each page.

use dualwrite::{CopySql, Mapping, OwnedKey, Runtime, Stage, copy::KeySource};

use crate::support::db::{PostgresDb, Scratch, TestDb as _};
use crate::support::wait::until;

const ROWS: i64 = 20_000;
/// A page that reads the whole table reads as many rows as forty times the table.
const BATCH: u32 = 500;
/// Backfill, verification and their checks read each row some times.
const TIMES: i64 = 20;

async fn tables(db: &Scratch<PostgresDb>, key: &str) {
    for table in ["old_note", "new_note"] {
        db.execute(&format!("CREATE TABLE {table} (id {key} PRIMARY KEY, word text NOT NULL)"))
            .await;
    }
    db.execute(&format!(
        "INSERT INTO old_note SELECT CAST(g AS text)::{key}, 'word ' || g \
         FROM generate_series(1, {ROWS}) g; ANALYZE old_note"
    ))
    .await;
}

async fn read(db: &Scratch<PostgresDb>) -> i64 {
    let sql = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_user_tables \
               WHERE relname IN ('old_note', 'new_note')";
    db.number(sql).await
}

async fn is_copied_by_the_index<K: OwnedKey>(db: &Scratch<PostgresDb>, key: &str) {
    tables(db, key).await;
    let source = |table| KeySource::table(table).column("id");
    let copy = CopySql::<sqlx::Postgres, K>::new(source("old_note"))
        .new_source(source("new_note"))
        .copying(
            "INSERT INTO new_note SELECT * FROM {rows} n \
             ON CONFLICT (id) DO UPDATE SET word = excluded.word",
        )
        .compared_by(|| Mapping::new().column("word", "word"));
    let pool = db.another_pool(5).await;
    let runtime = Runtime::builder(pool.clone()).start().await.unwrap();
    let name = format!("m{}", uuid::Uuid::new_v4().simple());
    let migration = runtime.migration(name).backfill(copy).register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    let done = migration.backfill().batch(BATCH).run().await.unwrap();
    assert_eq!((done.migrated, done.failed), (ROWS as u64, 0), "{key}");
    assert!(migration.verify().batch(BATCH).run().await.unwrap().is_clean(), "{key}");
    runtime.shutdown().await.unwrap();
    pool.close().await;
    // A session tells what it has read when it ends.
    until("what was read is counted", async || read(db).await >= 2 * ROWS).await;
    let times = read(db).await / ROWS;
    assert!(times <= TIMES, "{key}: each row was read {times} times");
    db.execute("DROP TABLE old_note, new_note").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_page_follows_the_index_on_postgres() {
    let Some(db) = PostgresDb::fresh("key_pages").await else { return };
    db.execute(
        "CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; CREATE DOMAIN email AS ext.citext;
         CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
    )
    .await;
    for key in ["ext.citext", "email", "char(9)", "text COLLATE folded", "text", "varchar(9)"] {
        is_copied_by_the_index::<String>(&db, key).await;
    }
    for key in ["numeric", "numeric(12,2)", "int"] {
        is_copied_by_the_index::<i64>(&db, key).await;
    }
}
