//! The command `dualwrite`: what it shows, which orders it gives, and what it says when it cannot.

use serde_json::Value;

use crate::support::db::{Scratch, on_all_databases};
use crate::support::operated::{halted, off};
use crate::support::sql::Sql;

on_all_databases!(
    a_backfill_is_shown_and_takes_orders,
    a_backfill_is_started,
    an_unknown_migration_is_told,
    a_database_without_tables_is_told_and_left_alone,
    control_characters_do_not_reach_the_terminal,
);

/// Runs the command on the database of this URL: its exit code, and what it prints.
async fn run_on(url: &str, arguments: &[&str]) -> (u8, String, String) {
    let arguments = [&["dualwrite", "--database", url][..], arguments].concat();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = dualwrite_cli::run(arguments, &mut out, &mut err).await;
    let [out, err] = [out, err].map(|text| String::from_utf8(text).unwrap());
    assert!(!out.contains(url) && !err.contains(url), "{out}{err}");
    (code, out, err)
}

/// The command succeeds, and prints this.
async fn prints(url: &str, arguments: &[&str]) -> String {
    let (code, out, err) = run_on(url, arguments).await;
    assert_eq!((code, &*err), (dualwrite_cli::DONE, ""), "{arguments:?}: {out}");
    out
}

/// The command fails with one line.
async fn fails(url: &str, arguments: &[&str]) -> String {
    let (code, out, err) = run_on(url, arguments).await;
    assert_eq!((code, &*out), (dualwrite_cli::FAILED, ""), "{arguments:?}: {err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.starts_with("dualwrite: "), "{err}");
    err
}

async fn json(url: &str) -> Value {
    serde_json::from_str(&prints(url, &["status", "notes", "--json"]).await).unwrap()
}

async fn a_backfill_is_shown_and_takes_orders<D: Sql>(db: Scratch<D>) {
    let world = halted(db).await;
    let url = &*world.db.url();
    let shown = prints(url, &["status"]).await;
    let alone = prints(url, &["status", "notes"]).await;
    assert_eq!(shown.lines().next(), alone.lines().next());
    for told in [
        "notes\n",
        "dual_write, epoch",
        "toward new, under way, without a worker",
        "99.9 %, 4 of 4, 1 failed",
    ] {
        assert!(shown.contains(told), "{told}: {shown}");
    }
    let all: Value = serde_json::from_str(&prints(url, &["status", "--json"]).await).unwrap();
    assert_eq!((&all[0]["name"], &all[0]["dead_letters"]), (&"notes".into(), &1.into()));

    prints(url, &["backfill", "pause", "notes"]).await;
    let paused = json(url).await["backfill"].clone();
    assert_eq!((&paused["paused"], &paused["percent"]), (&true.into(), &99.9.into()));
    prints(url, &["backfill", "rate", "notes", "500"]).await;
    assert_eq!(json(url).await["backfill"]["rate"], 500);
    prints(url, &["backfill", "rate", "notes", "none"]).await;
    assert_eq!(json(url).await["backfill"]["rate"], Value::Null);
    prints(url, &["backfill", "resume", "notes"]).await;
    assert_eq!(json(url).await["backfill"]["paused"], false);
    prints(url, &["backfill", "cancel", "notes"]).await;
    assert_eq!(json(url).await["backfill"]["cancelled"], true);

    let nothing = fails(url, &["backfill", "cancel", "notes", "--reverse"]).await;
    assert!(nothing.contains("toward old is not under way"), "{nothing}");
    world.runtime.shutdown().await.unwrap();
}

async fn a_backfill_is_started<D: Sql>(db: Scratch<D>) {
    let world = off(db).await;
    let url = &*world.db.url();
    let start = ["backfill", "start", "notes", "--by", "ada", "--because", "columns are there"];
    let paced = [&start[..], &["--workers", "2", "--rate", "700"]].concat();
    prints(url, &paced).await;
    let shown = prints(url, &["status"]).await;
    for told in ["2 workers, at most 700 keys/s", "ada", "columns are there"] {
        assert!(shown.contains(told), "{told}: {shown}");
    }
    let again = fails(url, &start).await;
    assert!(again.contains("was started already") && again.contains("cancel it"), "{again}");
    prints(url, &["backfill", "cancel", "notes"]).await;
    assert_eq!(json(url).await["started"], Value::Array(Vec::new()));
    let long = "a".repeat(101);
    let refused =
        fails(url, &["backfill", "start", "notes", "--by", &long, "--because", "x"]).await;
    assert!(refused.contains("1 to 100 bytes"), "{refused}");
    world.runtime.shutdown().await.unwrap();
}

async fn an_unknown_migration_is_told<D: Sql>(db: Scratch<D>) {
    let world = off(db).await;
    let url = &*world.db.url();
    for arguments in [
        &["status", "nobody"][..],
        &["status", "nobody", "--json"],
        &["backfill", "pause", "nobody"],
        &["backfill", "resume", "nobody"],
        &["backfill", "cancel", "nobody", "--reverse"],
        &["backfill", "rate", "nobody", "5"],
        &["backfill", "start", "nobody", "--by", "ada", "--because", "x"],
    ] {
        let told = fails(url, arguments).await;
        assert!(told.contains("no migration `nobody`"), "{told}");
        assert!(told.contains("`dualwrite status` lists"), "{told}");
    }
    world.runtime.shutdown().await.unwrap();
}

async fn a_database_without_tables_is_told_and_left_alone<D: Sql>(db: Scratch<D>) {
    let url = &*db.url();
    for arguments in [
        &["status"][..],
        &["status", "notes"],
        &["backfill", "pause", "notes"],
        &["backfill", "start", "notes", "--by", "ada", "--because", "x"],
    ] {
        let told = fails(url, arguments).await;
        assert!(told.contains("no control tables"), "{told}");
        assert!(told.contains("start the service"), "{told}");
    }
    let tables = D::sql(
        "SELECT count(*) FROM sqlite_master",
        "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'",
        "SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE()",
    );
    assert_eq!(db.number(tables).await, 0);
}

async fn control_characters_do_not_reach_the_terminal<D: Sql>(db: Scratch<D>) {
    let world = off(db).await;
    let url = &*world.db.url();
    let evil = "red \u{1b}[31m\nposition: complete";
    prints(url, &["backfill", "start", "notes", "--by", "ada", "--because", evil]).await;
    let shown = prints(url, &["status"]).await;
    assert!(shown.contains("red \u{fffd}[31m\u{fffd}position: complete"), "{shown}");
    world.runtime.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_at_once_and_without_the_password() {
    for scheme in ["postgres", "mysql", "mariadb"] {
        // Nobody listens on this port.
        let url = format!("{scheme}://ada:s3cret@127.0.0.1:1/shop");
        let told = fails(&url, &["status"]).await;
        assert!(told.contains("cannot connect") && told.contains("start that server"), "{told}");
        assert!(!told.contains("s3cret") && !told.contains("ada"), "{told}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    for suffix in ["", "?mode=rwc"] {
        let url = format!("sqlite://{}{suffix}", file.display());
        let told = fails(&url, &["status"]).await;
        assert!(told.contains("cannot connect") && told.contains("the path"), "{told}");
    }
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn wrong_urls_and_wrong_arguments_are_told_without_the_password() {
    for url in ["oracle://ada:s3cret@host/shop", "s3cret"] {
        let told = fails(url, &["status"]).await;
        assert!(told.contains("must begin with postgres:"), "{told}");
    }
    let told = fails("postgres://ada:s3cret@host:port/shop", &["status"]).await;
    assert!(told.contains("how the URL is written") && !told.contains("s3cret"), "{told}");

    let url = "postgres://ada:s3cret@127.0.0.1:1/shop";
    for arguments in [
        &["status", "notes", url][..],
        &["backfill", "start", "notes"],
        &["backfill", "rate", "notes", "fast"],
        &["backfill", "start", "notes", "--by", "ada", "--because", "x", "--workers", "99"],
        &["backfill", "start", "notes", "--by", "", "--because", "x"],
    ] {
        let (code, out, err) = run_on(url, arguments).await;
        assert_eq!((code, &*out), (dualwrite_cli::WRONG_USE, ""), "{arguments:?}");
        assert!(!err.contains("s3cret") && !err.is_empty(), "{err}");
    }
    let (code, out, err) = run_on(url, &["--help"]).await;
    assert_eq!((code, &*err), (dualwrite_cli::DONE, ""));
    assert!(out.contains("DATABASE_URL") && out.contains("Exit codes"), "{out}");
}
