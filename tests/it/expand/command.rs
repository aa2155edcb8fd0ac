//! `dualwrite expand …`.

use std::fs;

use serde_json::Value;
use sqlx::migrate::Migrate;

use super::world::{migrate, migration, old_tables};
use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(an_expand_is_checked_and_planned_from_the_terminal);

async fn run_on(url: &str, arguments: &[&str]) -> (u8, String, String) {
    let arguments = [&["dualwrite", "--database", url][..], arguments].concat();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = dualwrite_cli::run(arguments, &mut out, &mut err).await;
    let [out, err] = [out, err].map(|text| String::from_utf8(text).unwrap());
    (code, out, err)
}

/// Tries again where an instance had no time to read the catalogue.
async fn advance_on(url: &str) -> (u8, String) {
    let advance = ["advance", "customers", "--to", "dual_write", "--by", "ada", "--because", "go"];
    for _ in 0..10 {
        let (code, out, err) = run_on(url, &advance).await;
        if !err.contains("has read the catalogue within") {
            return (code, out + &err);
        }
    }
    panic!("no instance reads the catalogue")
}

async fn an_expand_is_checked_and_planned_from_the_terminal<D: Sql>(db: Scratch<D>)
where
    <D::Db as sqlx::Database>::Connection: Migrate,
{
    old_tables(&db).await;
    let (runtime, _migration) = migration(&db).await;
    let url = &*db.url();
    let (code, out, _) = run_on(url, &["expand", "check", "customers", "--json"]).await;
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["migration"]), (1, &"customers".into()));
    assert_eq!(report["findings"][0]["check"], "expand_missing");
    assert_eq!(report["findings"][0]["level"], "refuse");
    let (code, err) = advance_on(url).await;
    assert_eq!(code, dualwrite_cli::REFUSED, "{err}");
    assert!(err.contains("[expanded] table `customer`, column `email_address`"), "{err}");

    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("migrations");
    let plan = ["expand", "plan", "customers", "--version", "7", "--into", into.to_str().unwrap()];
    let (code, out, err) = run_on(url, &plan).await;
    let files = fs::read_dir(&into).unwrap().count();
    assert_eq!((code, &*err), (0, ""));
    assert_eq!(out.lines().filter(|line| line.ends_with(".sql")).count(), files, "{out}");
    assert_eq!(run_on(url, &plan).await.0, 1, "what is there is not overwritten");
    let (code, out, _) = run_on(url, &["expand", "plan", "customers", "--json"]).await;
    let planned: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, planned["statements"].as_array().unwrap().len() * 2), (0, files));
    let judged = ["schema", "check", into.to_str().unwrap()];
    let (code, out, err) = run_on(url, &judged).await;
    assert_eq!(code, 0, "{out}{err}");

    migrate(&db, &into, false).await;
    let (code, out, _) = run_on(url, &["expand", "check", "customers"]).await;
    assert!(code == 0 && out.contains("both sides can be written"), "{out}");
    let (code, said) = advance_on(url).await;
    assert_eq!(code, 0, "{said}");
    let (code, _, err) = run_on(url, &["expand", "check", "nothing"]).await;
    assert!(code == dualwrite_cli::UNKNOWN && err.contains("no migration `nothing`"), "{err}");
    runtime.shutdown().await.unwrap();
}
