//! `dualwrite doctor`: what hurts migrations in a running database is found, and named.

use std::time::Duration;

use dualwrite::{
    Runtime,
    doctor::{DoctorFinding, DoctorLimits},
    expand::{Expand, NewTable},
    operator::Operator,
    preflight::FindingLevel,
};
use serde_json::Value;

use crate::support::db::{MySqlDb, PostgresDb, Scratch, TestDb, on_all_databases};
use crate::support::server::{Server, connected, mariadb, postgres, postgres_standby};
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(
    a_healthy_database_has_nothing_to_be_seen_to,
    a_table_without_a_unique_key_is_named,
    a_sequence_behind_the_old_table_is_named,
    who_keeps_others_waiting_is_named,
    a_transaction_that_is_open_for_long_is_named,
    statements_that_ask_for_every_column_are_named,
    settings_that_the_preflight_names_are_told,
    the_command_tells_by_its_exit_code,
);

const AT_ONCE: DoctorLimits = DoctorLimits {
    transaction: Duration::ZERO,
    wait: Duration::from_millis(300),
    lag: Duration::from_secs(10),
};

/// A customer with tags, and a migration that moves these to a table of their own, which is there.
async fn migration<D: Sql>(db: &Scratch<D>, tag: &str) -> Runtime<D::Db> {
    db.execute(
        "CREATE TABLE customer (id BIGINT PRIMARY KEY, email VARCHAR(60), tags VARCHAR(60));
         INSERT INTO customer VALUES (1, 'a@example.com', 'x'), (500, 'b@example.com', 'y')",
    )
    .await;
    db.execute(tag).await;
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let table = NewTable::of("customer", "customer_tag").key("id", "id");
    let expand = Expand::new().table(table.column(["tags"], "tag", "varchar(60)"));
    runtime.migration("tags").expand(expand).register().await.unwrap();
    runtime
}

const TAG: &str = "CREATE TABLE customer_tag (id BIGINT PRIMARY KEY, tag VARCHAR(60))";

async fn found<D: Sql>(db: &Scratch<D>) -> Vec<DoctorFinding> {
    let operator = Operator::new(db.another_pool(2).await);
    operator.doctor(None, &AT_ONCE).await.unwrap().findings
}

fn of<'f>(found: &'f [DoctorFinding], check: &str) -> Vec<&'f DoctorFinding> {
    found.iter().filter(|finding| finding.check == check).collect()
}

async fn a_healthy_database_has_nothing_to_be_seen_to<D: Sql>(db: Scratch<D>) {
    // Without control tables it is looked at, too.
    let operator = Operator::new(db.pool().clone());
    let report = operator.doctor(None, &DoctorLimits::default()).await.unwrap();
    assert!(report.is_healthy() && report.tables.is_empty(), "{report:?}");
    let runtime = migration(&db, TAG).await;
    let report = operator.doctor(Some("tags"), &DoctorLimits::default()).await.unwrap();
    assert!(report.is_healthy(), "{report:?}");
    assert_eq!(report.tables, ["customer", "customer_tag"]);
    let unknown = operator.doctor(Some("nothing"), &DoctorLimits::default()).await.unwrap_err();
    assert_eq!(unknown.kind(), dualwrite::ErrorKind::UnknownMigration);
    runtime.shutdown().await.unwrap();
}

async fn a_table_without_a_unique_key_is_named<D: Sql>(db: Scratch<D>) {
    let runtime = migration(&db, "CREATE TABLE customer_tag (id BIGINT, tag VARCHAR(60))").await;
    let all = found(&db).await;
    let [missing] = of(&all, "unique_key")[..] else { panic!("{all:?}") };
    assert_eq!((&*missing.object, missing.level), ("customer_tag", FindingLevel::Warn));
    assert_eq!(missing.migration.as_deref(), Some("tags"));
    db.execute("CREATE UNIQUE INDEX one ON customer_tag (id)").await;
    let all = found(&db).await;
    assert!(of(&all, "unique_key").is_empty(), "{all:?}");
    runtime.shutdown().await.unwrap();
}

async fn a_sequence_behind_the_old_table_is_named<D: Sql>(db: Scratch<D>) {
    let tag = D::sql(
        "DROP TABLE customer; CREATE TABLE customer (id INTEGER PRIMARY KEY AUTOINCREMENT, tags VARCHAR(60)); \
         INSERT INTO customer VALUES (500, 'x'); \
         CREATE TABLE customer_tag (id INTEGER PRIMARY KEY AUTOINCREMENT, tag VARCHAR(60))",
        "CREATE TABLE customer_tag (id BIGSERIAL PRIMARY KEY, tag VARCHAR(60))",
        "ALTER TABLE customer MODIFY id BIGINT AUTO_INCREMENT; \
         CREATE TABLE customer_tag (id BIGINT AUTO_INCREMENT PRIMARY KEY, tag VARCHAR(60))",
    );
    let runtime = migration(&db, tag).await;
    let all = found(&db).await;
    let [behind] = of(&all, "sequence")[..] else { panic!("{all:?}") };
    assert!(behind.object.contains("customer_tag"), "{behind}");
    assert!(behind.why.contains("500"), "{behind}");
    let repair = behind.action.split("or run: ").nth(1).unwrap();
    db.execute(repair).await;
    let all = found(&db).await;
    assert!(of(&all, "sequence").is_empty(), "{all:?}");
    runtime.shutdown().await.unwrap();
}

/// Holds a row of a table.
async fn hold<D: Sql>(db: &Scratch<D>) -> sqlx::pool::PoolConnection<D::Db> {
    let mut conn = db.pool().acquire().await.unwrap();
    D::run_on(&mut conn, D::sql("BEGIN IMMEDIATE", "BEGIN", "BEGIN")).await.unwrap();
    D::run_on(&mut conn, "UPDATE customer SET tags = 'held' WHERE id = 1").await.unwrap();
    conn
}

async fn who_keeps_others_waiting_is_named<D: Sql>(db: Scratch<D>) {
    let runtime = migration(&db, TAG).await;
    let operator = Operator::new(db.another_pool(2).await);
    let limits = DoctorLimits {
        wait: if D::NAME == "sqlite" { AT_ONCE.wait } else { Duration::ZERO },
        ..AT_ONCE
    };
    let report = operator.doctor(None, &limits).await.unwrap();
    assert!(of(&report.findings, "lock_queue").is_empty(), "{report:?}");
    let held = hold(&db).await;
    let waiting = tokio::spawn({
        let pool = db.pool().clone();
        async move { D::execute(&pool, "UPDATE customer SET tags = 'late' WHERE id = 1").await }
    });
    until("the queue is seen", async || {
        let report = operator.doctor(None, &limits).await.unwrap();
        let queues = of(&report.findings, "lock_queue");
        let sessions =
            queues.iter().all(|queue| queue.object.contains(D::sql("file", "session", "session")));
        let text = format!("{report:?}");
        assert!(!text.contains("'held'") && !text.contains("'late'"), "no statements: {text}");
        queues.len() == 1 && sessions
    })
    .await;
    held.close().await.unwrap();
    waiting.await.unwrap().unwrap();
    until("the queue is gone", async || {
        let report = operator.doctor(None, &limits).await.unwrap();
        of(&report.findings, "lock_queue").is_empty()
    })
    .await;
    runtime.shutdown().await.unwrap();
}

async fn a_transaction_that_is_open_for_long_is_named<D: Sql>(db: Scratch<D>) {
    let runtime = migration(&db, TAG).await;
    let operator = Operator::new(db.another_pool(2).await);
    let held = hold(&db).await;
    let report = operator.doctor(None, &AT_ONCE).await.unwrap();
    let long = of(&report.findings, "long_transaction");
    if D::NAME == "sqlite" {
        assert!(long.is_empty() && report.not_seen.iter().any(|one| one.contains("transactions")));
    } else {
        assert!(long.iter().any(|one| one.object.starts_with("session ")), "{report:?}");
    }
    let patient = DoctorLimits { transaction: Duration::from_secs(3_600), ..AT_ONCE };
    let report = operator.doctor(None, &patient).await.unwrap();
    assert!(of(&report.findings, "long_transaction").is_empty(), "{report:?}");
    held.close().await.unwrap();
    runtime.shutdown().await.unwrap();
}

async fn statements_that_ask_for_every_column_are_named<D: Sql>(db: Scratch<D>) {
    let runtime = migration(&db, TAG).await;
    let operator = Operator::new(db.another_pool(2).await);
    let caches = async || {
        let report = operator.doctor(None, &AT_ONCE).await.unwrap();
        let caches = report.findings.iter().filter(|one| one.check == "statement_cache");
        (caches.cloned().collect::<Vec<_>>(), report.not_seen)
    };
    assert!(caches().await.0.is_empty());
    // A session whose last statement this was; in SQLite a view keeps it.
    let mut conn = db.pool().acquire().await.unwrap();
    let all = "SELECT * FROM customer WHERE tags <> 'secret'";
    let view = "CREATE VIEW everybody AS SELECT * FROM customer WHERE tags <> 'secret'";
    D::run_on(&mut conn, D::sql(view, all, all)).await.unwrap();
    let (seen, not_seen) = caches().await;
    if D::NAME == "mysql" {
        assert!(not_seen.iter().any(|one| one.contains("prepared")), "{not_seen:?}");
    } else {
        let [one] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!(one.object, "customer");
        let text = one.to_string();
        assert!(text.contains(D::sql("view everybody", "session ", "")), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
    drop(conn);
    runtime.shutdown().await.unwrap();
}

async fn settings_that_the_preflight_names_are_told<D: Sql>(db: Scratch<D>) {
    let runtime = migration(&db, TAG).await;
    // The look at the catalogue finds it, whether or not an instance of the service has looked since.
    db.execute(D::sql(
        "CREATE TRIGGER touched AFTER UPDATE ON customer_tag BEGIN SELECT 1; END",
        "CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
         CREATE TRIGGER touched BEFORE UPDATE ON customer_tag FOR EACH ROW EXECUTE FUNCTION touched()",
        "CREATE TRIGGER touched BEFORE UPDATE ON customer_tag FOR EACH ROW SET NEW.tag = NEW.tag",
    ))
    .await;
    let all = found(&db).await;
    let [trigger] = of(&all, "trigger")[..] else { panic!("{all:?}") };
    assert!(trigger.why.contains("`touched`") && trigger.object == "customer_tag", "{trigger}");
    runtime.shutdown().await.unwrap();
}

async fn run(url: &str, arguments: &[&str]) -> (u8, String, String) {
    let arguments = [&["dualwrite", "--database", url, "doctor"][..], arguments].concat();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = dualwrite_cli::run(arguments, &mut out, &mut err).await;
    let [out, err] = [out, err].map(|text| String::from_utf8(text).unwrap());
    (code, out, err)
}

async fn the_command_tells_by_its_exit_code<D: Sql>(db: Scratch<D>) {
    let runtime = migration(&db, TAG).await;
    let url = &*db.url();
    let (code, out, err) = run(url, &[]).await;
    assert_eq!((code, &*err), (0, ""), "{out}");
    assert!(out.contains("nothing was found") && out.contains("customer_tag"), "{out}");
    db.execute(D::sql(
        "DROP TABLE customer_tag; CREATE TABLE customer_tag (id BIGINT)",
        "ALTER TABLE customer_tag DROP CONSTRAINT customer_tag_pkey",
        "ALTER TABLE customer_tag DROP PRIMARY KEY",
    ))
    .await;
    let (code, out, _) = run(url, &["tags"]).await;
    assert!(code == 1 && out.contains("warn unique_key: customer_tag"), "{out}");
    let (code, out, _) = run(url, &["--output", "json", "tags"]).await;
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &report["findings"][0]["check"]),
        (1, &Value::from("unique_key")),
        "{report}"
    );
    assert_eq!(run(url, &["nothing"]).await.0, dualwrite_cli::UNKNOWN);
    let (code, _, err) = run(url, &["--wait-limit", "1h"]).await;
    assert!(code == dualwrite_cli::WRONG_USE && err.contains("up to 10s"), "{err}");
    runtime.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_index_that_is_not_valid_and_a_slot_that_nobody_reads_are_named() {
    let Some(db) = PostgresDb::fresh("an_index_that_is_not_valid").await else { return };
    let runtime = migration(&db, TAG).await;
    db.execute("INSERT INTO customer_tag VALUES (1, 'x'), (2, 'x')").await;
    let unique = "CREATE UNIQUE INDEX CONCURRENTLY one_tag ON customer_tag (tag)";
    PostgresDb::execute(db.pool(), unique).await.unwrap_err();
    let all = found(&db).await;
    let [index] = of(&all, "invalid_index")[..] else { panic!("{all:?}") };
    assert_eq!(index.object, "one_tag");
    assert!(index.action.contains("DROP INDEX CONCURRENTLY one_tag;"), "{index}");
    db.execute("DROP INDEX CONCURRENTLY one_tag").await;
    let all = found(&db).await;
    assert!(of(&all, "invalid_index").is_empty(), "{all:?}");
    let slot = format!("slot_{}", std::process::id());
    db.execute(&format!("SELECT pg_create_physical_replication_slot('{slot}', true)")).await;
    let all = found(&db).await;
    db.execute(&format!("SELECT pg_drop_replication_slot('{slot}')")).await;
    let named = format!("replication slot {slot}");
    assert!(of(&all, "replication").iter().any(|one| one.object == named), "{all:?}");
    runtime.shutdown().await.unwrap();
}

fn mysql_at(server: &Server) -> sqlx::mysql::MySqlConnectOptions {
    let options = sqlx::mysql::MySqlConnectOptions::new().host("127.0.0.1").port(server.port);
    options.username("root").database("mysql")
}

/// Two servers: the primary cannot say how far its replica is behind, and the replica can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_of_mariadb_that_is_late_or_stopped_is_named() {
    if MySqlDb::fresh("a_replica_that_is_late").await.is_none() {
        return;
    }
    let primary = mariadb(&["--server-id=1".into(), "--log-bin=log".into()]).await;
    let replica = mariadb(&["--server-id=2".into()]).await;
    let there = connected::<sqlx::MySql>(2, mysql_at(&primary)).await;
    let here = connected::<sqlx::MySql>(2, mysql_at(&replica)).await;
    let follow = format!(
        "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {}, MASTER_USER = 'root', MASTER_DELAY = 3600, \
         MASTER_LOG_FILE = 'log.000001', MASTER_LOG_POS = 4",
        primary.port
    );
    MySqlDb::execute(&here, &follow).await.unwrap();
    let doctor = Operator::new(here.clone());
    let limits = DoctorLimits { lag: Duration::from_secs(1), ..DoctorLimits::default() };
    let told = async || {
        let report = doctor.doctor(None, &limits).await.unwrap();
        let told = of(&report.findings, "replication");
        let names = format!("this server, a replica of 127.0.0.1:{}", primary.port);
        assert!(told.iter().all(|one| one.object == names), "{report:?}");
        told.first().map(|one| one.why.clone())
    };
    assert!(told().await.is_some_and(|why| why.contains("takes nothing over")), "not started");
    MySqlDb::execute(&here, "START SLAVE").await.unwrap();
    MySqlDb::execute(&there, "CREATE DATABASE late").await.unwrap();
    until("it is behind", async || told().await.is_some_and(|why| why.contains(" s behind"))).await;
    let report = Operator::new(there).doctor(None, &limits).await.unwrap();
    assert!(of(&report.findings, "replication").is_empty(), "{report:?}");
    assert!(report.not_seen.iter().any(|one| one.contains("ask the replica")), "{report:?}");
    for sql in ["STOP SLAVE", "CHANGE MASTER TO MASTER_DELAY = 0", "START SLAVE"] {
        MySqlDb::execute(&here, sql).await.unwrap();
    }
    until("it has caught up", async || told().await.is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_of_postgres_that_is_late_or_stopped_is_named() {
    if PostgresDb::fresh("a_standby_that_is_late").await.is_none() {
        return;
    }
    let primary = postgres().await;
    let at = |server: &Server| {
        let options = sqlx::postgres::PgConnectOptions::new().host("127.0.0.1").port(server.port);
        options.username("postgres").database("postgres")
    };
    let there = connected::<sqlx::Postgres>(2, at(&primary)).await;
    let standby = postgres_standby(&primary).await;
    let here = connected::<sqlx::Postgres>(2, at(&standby)).await;
    let doctor = Operator::new(here.clone());
    let limits = DoctorLimits { lag: Duration::from_secs(1), ..DoctorLimits::default() };
    let told = async || {
        let report = doctor.doctor(None, &limits).await.unwrap();
        of(&report.findings, "replication").first().map(|one| one.to_string())
    };
    until("it follows", async || told().await.is_none()).await;
    PostgresDb::rows(&here, "SELECT pg_wal_replay_pause()::text").await.unwrap();
    PostgresDb::execute(&there, "CREATE TABLE late (id bigint)").await.unwrap();
    let behind = async || told().await.is_some_and(|text| text.contains("a replica of 127.0.0.1"));
    until("it is behind", behind).await;
    PostgresDb::rows(&here, "SELECT pg_wal_replay_resume()::text").await.unwrap();
    until("it has caught up", async || told().await.is_none()).await;
    drop(there);
    drop(primary);
    let stopped = async || told().await.is_some_and(|text| text.contains("takes nothing over"));
    until("it has nobody to follow", stopped).await;
}
