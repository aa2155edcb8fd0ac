//! `dualwrite schema check --trace`: what statements lock and rewrite is seen in a scratch database.

use std::fs;

use serde_json::Value;

use crate::support::db::{MySqlDb, PostgresDb, Scratch, SqliteDb, TestDb};
use crate::support::dump::can_be_dumped;

async fn check(url: &str, folder: &str, more: &[&str]) -> (u8, String, String) {
    let arguments = ["dualwrite", "schema", "check", "--database", url, "--trace", folder];
    let arguments = [&arguments[..], more].concat();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = dualwrite_cli::run(arguments, &mut out, &mut err).await;
    let [out, err] = [out, err].map(|text| String::from_utf8(text).unwrap());
    (code, out, err)
}

async fn customers(test: &str) -> Option<Scratch<PostgresDb>> {
    let db = PostgresDb::fresh(test).await?;
    if !can_be_dumped(&db).await {
        return None;
    }
    db.execute(
        "CREATE TABLE customer (id BIGINT PRIMARY KEY, name VARCHAR(20));
         CREATE TABLE invoice (id BIGINT PRIMARY KEY, customer_id BIGINT);
         INSERT INTO customer VALUES (1, 'a')",
    )
    .await;
    Some(db)
}

/// The traces, one for each statement, as they stand in the JSON.
async fn traces(db: &Scratch<PostgresDb>, files: &[(&str, &str)]) -> (u8, Vec<Value>) {
    let folder = tempfile::tempdir().unwrap();
    for (name, sql) in files {
        fs::write(folder.path().join(name), sql).unwrap();
    }
    let path = folder.path().to_str().unwrap();
    let more = ["--format", "json", "--fail-on", "unknown"];
    let (code, out, err) = check(&db.url(), path, &more).await;
    assert_eq!(err, "");
    let found: Vec<Value> = serde_json::from_str(&out).unwrap();
    (code, found.into_iter().map(|one| one["trace"].clone()).collect())
}

/// `mode on relation` of each lock that the statement itself took on a table or index.
fn taken(trace: &Value, statement: usize) -> Vec<String> {
    let locks = trace["locks"].as_array().unwrap().iter();
    let own = locks.filter(|lock| lock["since"] == statement);
    let mut found: Vec<String> = own
        .map(|lock| format!("{} on {}", lock["mode"], lock["relation"]).replace('"', ""))
        .collect();
    found.sort();
    found
}

fn has(trace: &Value, statement: usize, lock: &str) -> bool {
    taken(trace, statement).iter().any(|one| one == lock)
}

#[tokio::test]
async fn each_statement_names_its_locks_and_what_it_rewrites() {
    let Some(db) = customers("each_statement_names_its_locks").await else { return };
    let (code, found) = traces(
        &db,
        &[
            ("1_a.sql", "ALTER TABLE customer ADD COLUMN a text; ALTER TABLE customer ALTER COLUMN id TYPE numeric; SELECT 1"),
            ("2_b.sql", "CREATE INDEX by_a ON customer (a); UPDATE customer SET a = 'x'"),
            ("3_c.sql", "ALTER TABLE invoice ADD FOREIGN KEY (customer_id) REFERENCES invoice (id) NOT VALID"),
            ("4_d.sql", "CREATE TABLE other (id int); ALTER TABLE other ALTER COLUMN id TYPE text"),
            ("5_e.sql", "-- no-transaction\nCREATE INDEX CONCURRENTLY by_name ON customer (name)"),
        ],
    )
    .await;
    assert_eq!(found.len(), 9);
    let exclusive = "AccessExclusiveLock on public.customer";
    assert!(
        has(&found[0], 0, exclusive) && found[0]["rewrites"] == serde_json::json!([]),
        "{}",
        found[0]
    );
    assert_eq!(found[1]["rewrites"], serde_json::json!(["public.customer"]), "{}", found[1]);
    let kept = found[2]["locks"].as_array().unwrap();
    assert!(
        kept.iter().any(|lock| lock["since"] == 0 && lock["blocks"] == "reads and writes"),
        "{kept:?}"
    );
    assert!(has(&found[3], 0, "ShareLock on public.customer"), "{}", found[3]);
    assert!(has(&found[4], 1, "RowExclusiveLock on public.customer"), "{}", found[4]);
    assert!(has(&found[5], 0, "ShareRowExclusiveLock on public.invoice"), "{}", found[5]);
    for own in &found[6..8] {
        // What the file itself has made keeps nobody out.
        assert_eq!(
            (&own["locks"], &own["rewrites"]),
            (&serde_json::json!([]), &serde_json::json!([]))
        );
    }
    let weak = ["ShareUpdateExclusiveLock on public.customer", "ShareLock on public.customer"];
    assert!(!has(&found[8], 0, weak[1]) && !has(&found[8], 0, exclusive), "{}", found[8]);
    assert_eq!(code, 0);
    // The database itself was left alone, and the other one is gone.
    let columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'customer'";
    assert_eq!(db.number(columns).await, 2);
}

#[tokio::test]
async fn a_statement_that_fails_ends_the_trace_and_the_check() {
    let Some(db) = customers("a_statement_that_fails").await else { return };
    let files = [
        (
            "1_a.sql",
            "ALTER TABLE customer ADD COLUMN a text; ALTER TABLE nothing ADD COLUMN a text",
        ),
        ("2_b.sql", "ALTER TABLE customer ADD COLUMN b text"),
    ];
    let (code, found) = traces(&db, &files).await;
    assert_eq!(code, 1);
    assert!(found[0].get("failed").is_none());
    assert!(found[1]["failed"].as_str().unwrap().contains("nothing"), "{found:?}");
    assert!(found[2].is_null(), "what comes after it builds on it");
    let role = [("1_a.sql", "CREATE ROLE dualwrite_trace_role")];
    let (code, found) = traces(&db, &role).await;
    assert!(code == 1 && found[0]["failed"].as_str().unwrap().contains("beyond the database"));
    let roles = "SELECT count(*) FROM pg_roles WHERE rolname = 'dualwrite_trace_role'";
    assert_eq!(db.number(roles).await, 0);
}

#[tokio::test]
async fn what_is_applied_is_not_run_again() {
    let Some(db) = customers("what_is_applied").await else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, sql: &str| fs::write(folder.path().join(name), sql).unwrap();
    file("1_a.sql", "ALTER TABLE customer ADD COLUMN a text");
    let migrator = sqlx::migrate::Migrator::new(folder.path().to_owned()).await.unwrap();
    migrator.run(db.pool()).await.unwrap();
    file("2_b.sql", "ALTER TABLE customer ADD COLUMN b text");
    let path = folder.path().to_str().unwrap();
    let (code, out, err) = check(&db.url(), path, &[]).await;
    assert_eq!((code, &*err), (0, ""), "{out}");
    let lines: Vec<&str> = out.lines().filter(|line| line.ends_with(": traced")).collect();
    assert!(lines.len() == 1 && lines[0].contains("2_b.sql:1"), "{out}");
    let lock = "lock: AccessExclusiveLock on public.customer; keeps out reads and writes";
    assert!(out.contains(lock), "{out}");
}

#[tokio::test]
async fn other_databases_cannot_be_traced() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("1_a.sql"), "SELECT 1").unwrap();
    let path = folder.path().to_str().unwrap();
    let mut urls = Vec::new();
    let sqlite = SqliteDb::fresh("other_databases_cannot_be_traced").await;
    urls.extend(sqlite.as_ref().map(Scratch::url));
    let mysql = MySqlDb::fresh("other_databases_cannot_be_traced").await;
    urls.extend(mysql.as_ref().map(Scratch::url));
    for url in urls {
        let (code, _, err) = check(&url, path, &[]).await;
        assert!(code == dualwrite_cli::WRONG_USE && err.contains("PostgreSQL"), "{err}");
    }
}
