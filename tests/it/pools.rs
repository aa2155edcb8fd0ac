//! Pools whose hooks set a role or a `search_path`: the connections of the runtime are made the same way, or it does
//! not start.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use dualwrite::{ErrorKind, Runtime, Stage};
use sqlx::postgres::{PgConnection, PgPoolOptions};
use sqlx::{Executor, PgPool};

use crate::support::db::{MySqlDb, PostgresDb, Scratch, TestDb};

/// A pool each of whose connections runs this first, once for each of the texts.
async fn pool(db: &Scratch<PostgresDb>, first: &'static [&'static str]) -> PgPool {
    let made = Arc::<AtomicUsize>::default();
    PgPoolOptions::new()
        .max_connections(8)
        .after_connect(move |conn: &mut PgConnection, _| {
            let at = made.fetch_add(1, SeqCst) % first.len();
            Box::pin(async move { conn.execute(first[at]).await.map(drop) })
        })
        .connect(&db.url())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_path_and_a_role_of_the_pools_hook_hold_for_the_runtime_too() {
    let Some(db) = PostgresDb::fresh("pools::hook").await else { return };
    let role = crate::support::db::database_name("role");
    db.execute(&format!(
        "CREATE SCHEMA app; CREATE ROLE {role}; GRANT ALL ON SCHEMA app TO {role}"
    ))
    .await;
    let hook = format!("SET search_path = app; SET ROLE {role}");
    let hook: &'static [&'static str] = Box::leak(Box::new([&*Box::leak(hook.into_boxed_str())]));
    let pool = pool(&db, hook).await;
    let runtime = Runtime::builder(pool.clone()).start().await.unwrap();
    let migration = runtime.migration("hooked").register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    let tx = migration.begin(&pool).await.unwrap();
    tx.commit().await.unwrap();
    let tables = "SELECT count(*) FROM pg_tables WHERE tablename = 'dualwrite_migration'";
    assert_eq!(db.number(&format!("{tables} AND schemaname = 'app'")).await, 1);
    assert_eq!(db.number(tables).await, 1);
    assert_eq!(db.number(&format!("{tables} AND tableowner = '{role}'")).await, 1);
    runtime.shutdown().await.unwrap();
    pool.close().await;
    db.execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_find_other_control_tables_are_refused_at_the_start() {
    let Some(db) = PostgresDb::fresh("pools::two_schemas").await else { return };
    db.execute("CREATE SCHEMA one; CREATE SCHEMA two").await;
    let both = ["SET search_path = one", "SET search_path = two"];
    for first in &both {
        let first: &'static [&'static str] = Box::leak(Box::new([*first]));
        let pool = pool(&db, first).await;
        Runtime::builder(pool).start().await.unwrap().shutdown().await.unwrap();
    }
    let alternating: &'static [&'static str] = Box::leak(Box::new(both));
    let pool = pool(&db, alternating).await;
    let refused = Runtime::builder(pool).start().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
    let text = refused.to_string();
    assert!(text.contains("schema one") && text.contains("schema two"), "{text}");
    assert!(text.contains("search_path"), "{text}");
}

/// The same on MySQL and MariaDB, where a hook may choose another database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_the_pools_hook_holds_for_the_runtime_too_on_mysql() {
    let Some(db) = MySqlDb::fresh("pools::hook_mysql").await else { return };
    let other = MySqlDb::fresh("pools::hook_mysql_other").await.unwrap();
    let name = other.rows("SELECT DATABASE()").await[0][0].clone().unwrap();
    let hook: &'static str = Box::leak(format!("USE `{name}`").into_boxed_str());
    let pool = sqlx::mysql::MySqlPoolOptions::new()
        .max_connections(8)
        .after_connect(move |conn, _| Box::pin(async move { conn.execute(hook).await.map(drop) }))
        .connect(&db.url())
        .await
        .unwrap();
    let runtime = Runtime::builder(pool.clone()).start().await.unwrap();
    let migration = runtime.migration("hooked").register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    migration.begin(&pool).await.unwrap().commit().await.unwrap();
    let tables = "SELECT count(*) FROM information_schema.tables \
                  WHERE table_schema = DATABASE() AND table_name = 'dualwrite_migration'";
    assert_eq!((other.number(tables).await, db.number(tables).await), (1, 0));
    runtime.shutdown().await.unwrap();
    pool.close().await;
}
