//! `dualwrite schema check --database URL`: judged by the tables that there are.

use std::fs;

use serde_json::Value;

use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(a_rewrite_is_judged_by_the_size_of_its_table);

async fn check(url: &str, folder: &str, dialect: &str) -> (u8, Vec<Value>, String) {
    let arguments =
        ["dualwrite", "schema", "check", "--format", "json", "--dialect", dialect, folder];
    let arguments = match url {
        "" => arguments.to_vec(),
        url => [&arguments[..], &["--database", url]].concat(),
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = dualwrite_cli::run(arguments, &mut out, &mut err).await;
    let found = if out.is_empty() { Vec::new() } else { serde_json::from_slice(&out).unwrap() };
    (code, found, String::from_utf8(err).unwrap())
}

async fn a_rewrite_is_judged_by_the_size_of_its_table<D: Sql>(db: Scratch<D>) {
    db.execute(
        "CREATE TABLE customer (id BIGINT PRIMARY KEY, word VARCHAR(60));
         CREATE TABLE invoice (id BIGINT PRIMARY KEY, customer_id BIGINT, FOREIGN KEY (customer_id) REFERENCES customer (id));
         INSERT INTO customer VALUES (1, 'a'), (2, 'b')",
    )
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, sql: &str| fs::write(folder.path().join(name), sql).unwrap();
    // What blocks on each database; a table that is not there; and what breaks whatever the size is.
    file(
        "1_a.sql",
        D::sql(
            "UPDATE customer SET word = 'x'",
            "CREATE INDEX i ON customer (word)",
            "ALTER TABLE customer ADD CONSTRAINT c CHECK (word <> '')",
        ),
    );
    file(
        "2_b.sql",
        D::sql(
            "UPDATE elsewhere SET word = 'x'",
            "CREATE INDEX i ON elsewhere (word)",
            "ALTER TABLE elsewhere ADD CONSTRAINT c CHECK (word <> '')",
        ),
    );
    file("3_c.sql", "DROP TABLE customer");
    let (path, url) = (folder.path().to_str().unwrap(), &*db.url());
    let levels = |found: &[Value]| -> Vec<String> {
        found.iter().map(|one| one["level"].as_str().unwrap().to_owned()).collect()
    };
    let rows = db.rows("SELECT count(*) FROM customer").await;
    let (_, found, err) = check("", path, D::NAME).await;
    let blind = levels(&found);
    assert_eq!(blind[0], "blocking", "{found:?}{err}");
    let (code, found, err) = check(url, path, D::NAME).await;
    assert_eq!(levels(&found), ["safe", "blocking", "breaking"], "{found:?}{err}");
    assert_eq!(code, 1);
    let reason = found[0]["reason"].as_str().unwrap();
    assert!(reason.contains("customer has 2 rows") && reason.contains("10,000 rows"), "{reason}");
    let reason = found[2]["reason"].as_str().unwrap();
    assert!(reason.contains("customer has 2 rows") && reason.contains("invoice"), "{reason}");
    assert_eq!(db.rows("SELECT count(*) FROM customer").await, rows, "it only looks");

    let many = D::sql(
        "WITH RECURSIVE n (i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM n WHERE i < 10001) \
         INSERT INTO customer SELECT i, 'x' FROM n",
        "INSERT INTO customer SELECT i, 'x' FROM generate_series(3, 10001) i",
        "INSERT INTO customer SELECT seq, 'x' FROM seq_3_to_10001",
    );
    db.execute(many).await;
    let (_, found, _) = check(url, path, D::NAME).await;
    assert_eq!(levels(&found)[0], "blocking", "{found:?}");
    let reason = found[0]["reason"].as_str().unwrap();
    let told = if D::NAME == "sqlite" { "more than 10,000 rows" } else { "rows (" };
    assert!(reason.contains(told) && reason.contains("foreign keys of"), "{reason}");
    let nowhere = match D::NAME {
        "sqlite" => "sqlite:///nowhere/at/all.db",
        "postgres" => "postgres://postgres@127.0.0.1:1/x",
        _ => "mysql://root@127.0.0.1:1/x",
    };
    assert_eq!(check(nowhere, path, D::NAME).await.0, dualwrite_cli::UNREACHABLE);
}
