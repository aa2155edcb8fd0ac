//! `dualwrite contract …`.

use serde_json::Value;

use super::world::over;
use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(a_contract_is_checked_planned_and_run_from_the_terminal);

async fn run_on(url: &str, arguments: &[&str]) -> (u8, String, String) {
    let arguments = [&["dualwrite", "--database", url, "contract"][..], arguments].concat();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = dualwrite_cli::run(arguments, &mut out, &mut err).await;
    let [out, err] = [out, err].map(|text| String::from_utf8(text).unwrap());
    (code, out, err)
}

async fn a_contract_is_checked_planned_and_run_from_the_terminal<D: Sql>(db: Scratch<D>) {
    let over = over(db).await;
    let url = &*over.db.url();
    over.execute("DELETE FROM dualwrite_contract_event").await;
    over.execute("DELETE FROM dualwrite_approval").await;
    let said = ["notes", "--by", "ada", "--because", "over"];

    let (code, out, _) = run_on(url, &["check", "notes", "--json"]).await;
    let refused: Value = serde_json::from_str(&out).unwrap();
    let kinds: Vec<&Value> =
        refused["refused"]["missing"].as_array().unwrap().iter().map(|one| &one["kind"]).collect();
    assert_eq!((code, kinds), (1, vec![&"backup".into(), &"approval".into()]));
    let (code, out, err) = run_on(url, &[&["run"], &said[..]].concat()).await;
    assert_eq!((code, &*out), (dualwrite_cli::REFUSED, ""));
    assert!(err.contains("[backup]") && err.contains("[approval]"), "{err}");
    over.is_untouched().await;

    let failing = [&["backup"], &said[..], &["--", "sh", "-c", "echo no space; exit 3"]].concat();
    let (code, _, err) = run_on(url, &failing).await;
    assert!(code == 1 && err.contains("no space"), "{err}");
    let made = "echo 5 rows of $DUALWRITE_MIGRATION";
    let backup = [&["backup"], &said[..], &["--", "sh", "-c", made]].concat();
    let (code, _, err) = run_on(url, &backup).await;
    assert_eq!((code, &*err), (0, ""));
    let events = over.operator.contract("notes").events().await.unwrap();
    assert_eq!(events[0].detail.trim(), "5 rows of notes");
    assert_eq!(run_on(url, &[&["approve"], &said[..]].concat()).await.0, 0);

    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("migrations");
    let plan = ["plan", "notes", "--version", "7", "--into", into.to_str().unwrap()];
    let (code, out, err) = run_on(url, &plan).await;
    assert_eq!((code, out.lines().count(), &*err), (0, 2, ""));
    assert_eq!(run_on(url, &plan).await.0, 1, "what is there is not overwritten");
    let (code, out, _) = run_on(url, &[&["run", "--dry-run"], &said[..]].concat()).await;
    assert!(code == 0 && out.contains("DROP TABLE") && out.contains("may be dropped"), "{out}");
    assert_eq!(over.db.number("SELECT count(*) FROM old_note").await, 5);
    let (code, out, err) = run_on(url, &[&["run"], &said[..]].concat()).await;
    assert!(code == 0 && out.contains("the old side is dropped"), "{out}{err}");
    assert!(D::rows(over.db.pool(), "SELECT count(*) FROM old_note").await.is_err());
    let (_, out, _) = run_on(url, &["events", "notes"]).await;
    assert_eq!(out.lines().count(), 3, "{out}");
    let (code, _, err) = run_on(url, &["check", "nothing"]).await;
    assert!(code == dualwrite_cli::UNKNOWN && err.contains("no migration `nothing`"), "{err}");
}
