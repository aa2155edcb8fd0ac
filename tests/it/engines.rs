//! Engines that cannot hold the fence are refused at the start, as they are found on real servers: a standby, and
//! a Galera cluster of two nodes that both take writes. What other engines say is tried in the library's own tests.

use dualwrite::{ErrorKind, Runtime, Stage, preflight::HazardKind};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;

use crate::support::db::{MySqlDb, PostgresDb, Scratch, TestDb, on_all_databases};
use crate::support::notes::CopyNotes;
use crate::support::runs_all;
use crate::support::server::{Server, connected, free_port, mariadb, postgres, postgres_standby};
use crate::support::wait::{soon, until};

on_all_databases!(the_engine_is_found_and_shown);

async fn the_engine_is_found_and_shown<D: TestDb>(db: Scratch<D>) {
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let shown = runtime.engine().to_string();
    let expected = D::sql("SQLite 3.", "PostgreSQL ", "");
    assert!(shown.starts_with(expected), "{shown}");
    if D::NAME == "mysql" {
        let mariadb = db.number("SELECT version() LIKE '%MariaDB%'").await == 1;
        assert_eq!(runtime.engine().is_tested(), mariadb, "{shown}");
        assert_eq!(shown.ends_with("(not tested)"), !mariadb, "{shown}");
    }
    runtime.shutdown().await.unwrap();
}

fn postgres_at(server: &Server) -> PgConnectOptions {
    PgConnectOptions::new()
        .host("127.0.0.1")
        .port(server.port)
        .username("postgres")
        .database("postgres")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_of_postgres_is_refused() {
    if PostgresDb::fresh("a standby").await.is_none() {
        return;
    }
    let primary = postgres().await;
    let pool = connected::<sqlx::Postgres>(2, postgres_at(&primary)).await;
    let runtime = Runtime::builder(pool.clone()).start().await.unwrap();
    let standby = postgres_standby(&primary).await;
    let there = connected::<sqlx::Postgres>(2, postgres_at(&standby)).await;
    let error = Runtime::builder(there.clone()).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    let text = error.to_string();
    assert!(text.contains("standby") && text.contains("a pool to the primary"), "{text}");
    // Promoted, it is as good as any.
    let promote = "SELECT pg_promote(true, 60)::text";
    assert_eq!(PostgresDb::rows(&there, promote).await.unwrap(), [[Some("true".to_owned())]]);
    let promoted = Runtime::builder(there).start().await.unwrap();
    promoted.migration("notes").register().await.unwrap();
    promoted.shutdown().await.unwrap();
    runtime.shutdown().await.unwrap();
}

/// A pool whose transactions are read-only unless they say otherwise, as one to a replica may be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_only_reads_is_refused() {
    let Some(db) = PostgresDb::fresh("a pool that only reads").await else { return };
    let options: PgConnectOptions = db.url().parse().unwrap();
    let options = options.options([("default_transaction_read_only", "on")]);
    let pool = connected::<sqlx::Postgres>(2, options).await;
    let error = Runtime::builder(pool).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_of_mariadb_is_refused() {
    if MySqlDb::fresh("a server that only reads").await.is_none() {
        return;
    }
    let server = crate::support::server::mariadb(&["--read-only=1".into()]).await;
    let pool = connected::<sqlx::MySql>(2, mysql_at(&server)).await;
    let error = Runtime::builder(pool).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert!(error.to_string().contains("cannot hold the fence"), "{error}");
}

fn mysql_at(server: &Server) -> MySqlConnectOptions {
    MySqlConnectOptions::new()
        .host("127.0.0.1")
        .port(server.port)
        .username("root")
        .database("mysql")
}

/// What a server replays for another one fires no trigger; also where only a named connection of it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_replays_for_another_one_is_named_on_mariadb() {
    let Some(_) = MySqlDb::fresh("a replica that takes writes").await else { return };
    let server = mariadb(&["--server-id=7".into()]).await;
    let pool = connected::<sqlx::MySql>(4, mysql_at(&server)).await;
    let mariadb = MySqlDb::rows(&pool, "SELECT version()").await.unwrap();
    if !mariadb[0][0].as_deref().unwrap().contains("MariaDB") {
        return;
    }
    MySqlDb::execute(&pool, "CREATE DATABASE shop").await.unwrap();
    let pool = connected::<sqlx::MySql>(4, mysql_at(&server).database("shop")).await;
    let tables = "CREATE TABLE old_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL);
                  CREATE TABLE new_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL)";
    MySqlDb::execute(&pool, tables).await.unwrap();
    let runtime = Runtime::builder(pool.clone()).start().await.unwrap();
    let notes = runtime.migration("notes").backfill(CopyNotes::<MySqlDb>::new());
    let migration = notes.register().await.unwrap();
    let kinds = async || {
        let hazards = migration.hazards().await.unwrap();
        hazards.into_iter().map(|hazard| hazard.kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds().await, []);
    for (port, name) in [(1, ""), (2, "'feed'")] {
        let start = format!(
            "CHANGE MASTER {name} TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, MASTER_USER = 'nobody';
             START SLAVE {name} SQL_THREAD"
        );
        MySqlDb::execute(&pool, &start).await.unwrap();
        assert_eq!(kinds().await, [HazardKind::Replication], "{name}");
        MySqlDb::execute(&pool, &format!("STOP SLAVE {name}")).await.unwrap();
        assert_eq!(kinds().await, [], "{name}");
    }
    runtime.shutdown().await.unwrap();
}

/// One node of a cluster; the first one where there is no other yet.
async fn node(address: &str, cluster: &str, name: &str) -> Option<Server> {
    let library = ["/usr/lib/galera/libgalera_smm.so", "/usr/lib64/galera-4/libgalera_smm.so"];
    let library = library.into_iter().find(|path| std::path::Path::new(path).exists())?;
    let transfer = free_port();
    let state = free_port();
    Some(
        mariadb(&[
            "--wsrep-on=ON".into(),
            format!("--wsrep-provider={library}"),
            format!(
                "--wsrep-provider-options=gmcast.listen_addr=tcp://{address};\
                 ist.recv_addr=127.0.0.1:{transfer};gcache.size=16M"
            ),
            format!("--wsrep-cluster-address=gcomm://{cluster}"),
            "--wsrep-cluster-name=dualwrite".into(),
            format!("--wsrep-node-name={name}"),
            "--wsrep-node-address=127.0.0.1".into(),
            "--wsrep-sst-method=rsync".into(),
            format!("--wsrep-sst-receive-address=127.0.0.1:{state}"),
            "--binlog-format=ROW".into(),
            "--innodb-autoinc-lock-mode=2".into(),
        ])
        .await,
    )
}

/// Two servers with a whole state each take a while: `DUALWRITE_TEST_ALL=1`, or `tests/run --all`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_galera_cluster_whose_nodes_all_take_writes_is_refused() {
    if !runs_all("a Galera cluster of two nodes") {
        return;
    }
    let addresses = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let first = node(&addresses[0], "", "one")
        .await
        .expect("galera-4 is installed; tests/run --all does it");
    let pool = connected::<sqlx::MySql>(4, mysql_at(&first)).await;
    let alone = Runtime::builder(pool.clone()).start().await.unwrap();
    assert!(!alone.engine().is_tested(), "{}", alone.engine());
    alone.shutdown().await.unwrap();
    let second = node(&addresses[1], &addresses[0], "two").await.unwrap();
    let there = connected::<sqlx::MySql>(4, mysql_at(&second)).await;
    until("both nodes belong to the cluster", async || {
        let size = "SHOW GLOBAL STATUS LIKE 'wsrep_cluster_size'";
        let rows = MySqlDb::rows(&there, size).await.unwrap_or_default();
        rows.first().is_some_and(|row| row[1].as_deref() == Some("2"))
    })
    .await;
    for pool in [&pool, &there] {
        let error = Runtime::builder(pool.clone()).start().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        let text = error.to_string();
        assert!(text.contains("Galera cluster of 2 nodes"), "{text}");
        assert!(text.contains("through one node") && text.contains("accept_engine"), "{text}");
    }
    // An operator who knows that all writes go to one node goes on.
    let builder = Runtime::builder(pool.clone()).accept_engine("all writes go to node one");
    let runtime = builder.start().await.unwrap();
    let migration = runtime.migration("notes").register().await.unwrap();
    migration.advance(Stage::DualWrite).await.unwrap();
    a_commit_that_another_node_was_quicker_than(&migration, &pool, &there).await;
    runtime.shutdown().await.unwrap();
}

/// A failed certification is the caller's to begin again.
async fn a_commit_that_another_node_was_quicker_than(
    migration: &dualwrite::Migration,
    here: &sqlx::MySqlPool,
    there: &sqlx::MySqlPool,
) {
    use crate::support::sql::Sql;
    let create = "CREATE TABLE beside (id BIGINT PRIMARY KEY, word VARCHAR(50))";
    MySqlDb::execute(here, create).await.unwrap();
    MySqlDb::execute(here, "INSERT INTO beside VALUES (1, 'one'), (2, 'two')").await.unwrap();
    soon("the rows are there", async || {
        let rows = MySqlDb::rows(there, "SELECT id FROM beside").await.ok()?;
        (rows.len() == 2).then_some(())
    })
    .await;
    for round in 0..20 {
        let mut tx = migration.begin(here).await.unwrap();
        MySqlDb::run(&mut tx, &format!("UPDATE beside SET word = 'here {round}' WHERE id = 1"))
            .await
            .unwrap();
        MySqlDb::execute(there, &format!("UPDATE beside SET word = 'there {round}' WHERE id = 1"))
            .await
            .unwrap();
        let Err(error) = tx.commit().await else { continue };
        assert_eq!(error.kind(), ErrorKind::Serialization, "{error:?}");
        assert!(error.is_retryable());
        return;
    }
    panic!("one of the two must give way");
}
