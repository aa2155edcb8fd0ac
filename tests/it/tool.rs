//! The command `dualwrite`: what it shows, which orders it gives, and what it says when it cannot.

use std::time::Duration;

use dualwrite::{Runtime, Stage};
use serde_json::Value;

use crate::page::Browser;
use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::World;
use crate::support::operated::{halted, off};
use crate::support::sql::Sql;

on_all_databases!(
    a_backfill_is_shown_and_takes_orders,
    a_backfill_is_started,
    an_unknown_migration_is_told,
    a_database_without_tables_is_told_and_left_alone,
    control_characters_do_not_reach_the_terminal,
    control_tables_of_another_release_are_refused,
    what_nobody_takes_says_why,
    exit_codes_tell_what_a_caller_can_do,
    one_waits_for_a_stage,
    what_is_denied_is_not_to_be_tried_again,
    a_pause_is_no_work_and_what_does_not_run_has_no_time_left,
    the_speed_is_that_of_the_last_minutes_of_work,
    dead_letters_of_a_reverse_copy_are_counted,
);

/// Runs the command on the database of this URL: its exit code, and what it prints.
pub(crate) async fn run_on(url: &str, arguments: &[&str]) -> (u8, String, String) {
    let arguments = [&["dualwrite", "--database", url][..], arguments].concat();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = dualwrite_cli::run(arguments, &mut out, &mut err).await;
    let [out, err] = [out, err].map(|text| String::from_utf8(text).unwrap());
    assert!(!out.contains(url) && !err.contains(url), "{out}{err}");
    (code, out, err)
}

/// The command succeeds, and prints this.
pub(crate) async fn prints(url: &str, arguments: &[&str]) -> String {
    let (code, out, err) = run_on(url, arguments).await;
    assert_eq!((code, &*err), (dualwrite_cli::DONE, ""), "{arguments:?}: {out}");
    out
}

/// The command fails with one line.
pub(crate) async fn fails(url: &str, arguments: &[&str]) -> String {
    let (code, out, err) = run_on(url, arguments).await;
    assert!(code != dualwrite_cli::DONE && out.is_empty(), "{arguments:?}: {code} {out}{err}");
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
        "1 to new, 0 to old",
    ] {
        assert!(shown.contains(told), "{told}: {shown}");
    }
    let all: Value = serde_json::from_str(&prints(url, &["status", "--json"]).await).unwrap();
    assert_eq!((&all[0]["name"], &all[0]["dead_letters"]), (&"notes".into(), &1.into()));

    prints(url, &["backfill-pause", "notes", "--by", "ada", "--because", "x"]).await;
    let paused = json(url).await["backfill"].clone();
    assert_eq!((&paused["paused"], &paused["percent"]), (&true.into(), &99.9.into()));
    prints(url, &["backfill-rate", "notes", "--rate", "500", "--by", "ada", "--because", "x"])
        .await;
    assert_eq!(json(url).await["backfill"]["rate"], 500);
    prints(url, &["backfill-rate", "notes", "--rate", "none", "--by", "ada", "--because", "x"])
        .await;
    assert_eq!(json(url).await["backfill"]["rate"], Value::Null);
    prints(url, &["backfill-resume", "notes", "--by", "ada", "--because", "x"]).await;
    assert_eq!(json(url).await["backfill"]["paused"], false);
    prints(url, &["backfill-cancel", "notes", "--by", "ada", "--because", "x"]).await;
    assert_eq!(json(url).await["backfill"]["cancelled"], true);

    let nothing =
        fails(url, &["backfill-cancel", "notes", "--reverse", "--by", "ada", "--because", "x"])
            .await;
    assert!(nothing.contains("toward that side is not under way"), "{nothing}");
    world.runtime.shutdown().await.unwrap();
}

async fn a_backfill_is_started<D: Sql>(db: Scratch<D>) {
    let world = off(db).await;
    let url = &*world.db.url();
    let start = ["backfill-start", "notes", "--by", "ada", "--because", "columns are there"];
    let paced = [&start[..], &["--workers", "2", "--rate", "700"]].concat();
    prints(url, &paced).await;
    let shown = prints(url, &["status"]).await;
    for told in ["2 workers, at most 700 keys/s", "ada", "columns are there"] {
        assert!(shown.contains(told), "{told}: {shown}");
    }
    let again = fails(url, &start).await;
    assert!(again.contains("was started already") && again.contains("cancel it"), "{again}");
    prints(url, &["backfill-cancel", "notes", "--by", "ada", "--because", "x"]).await;
    assert_eq!(json(url).await["started"], Value::Array(Vec::new()));
    let long = "a".repeat(101);
    let refused = fails(url, &["backfill-start", "notes", "--by", &long, "--because", "x"]).await;
    assert!(refused.contains("1 to 100 bytes"), "{refused}");
    world.runtime.shutdown().await.unwrap();
}

async fn an_unknown_migration_is_told<D: Sql>(db: Scratch<D>) {
    let world = off(db).await;
    let url = &*world.db.url();
    for arguments in [
        &["status", "nobody"][..],
        &["status", "nobody", "--json"],
        &["backfill-pause", "nobody", "--by", "ada", "--because", "x"],
        &["backfill-resume", "nobody", "--by", "ada", "--because", "x"],
        &["backfill-cancel", "nobody", "--reverse", "--by", "ada", "--because", "x"],
        &["backfill-rate", "nobody", "--rate", "5", "--by", "ada", "--because", "x"],
        &["backfill-start", "nobody", "--by", "ada", "--because", "x"],
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
        &["backfill-pause", "notes", "--by", "ada", "--because", "x"],
        &["backfill-start", "notes", "--by", "ada", "--because", "x"],
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
    let start = ["backfill-start", "notes", "--by", "ada", "--because", "x"];
    prints(url, &start).await;
    let evil = "red \u{1b}[31m\nposition: complete \u{202e}";
    world.db.execute(&format!("UPDATE dualwrite_task SET reason = '{evil}'")).await;
    let shown = prints(url, &["status"]).await;
    assert!(shown.contains("red \u{fffd}[31m\u{fffd}position: complete \u{fffd}"), "{shown}");
    for evil in ["a\nb", "a\u{1b}[31m", "a\u{202e}b"] {
        let by = ["backfill-start", "notes", "--by", evil, "--because", "x"];
        assert!(fails(url, &by).await.contains("the actor has control characters"), "{evil:?}");
        let because = ["backfill-start", "notes", "--by", "ada", "--because", evil];
        assert!(
            fails(url, &because).await.contains("the reason has control characters"),
            "{evil:?}"
        );
        let approve = ["contract", "approve", "notes", "--by", "ada", "--because", evil];
        assert!(fails(url, &approve).await.contains("the reason has control"), "{evil:?}");
    }
    world.runtime.shutdown().await.unwrap();
}

async fn control_tables_of_another_release_are_refused<D: Sql>(db: Scratch<D>) {
    let world = off(db).await;
    let url = &*world.db.url();
    let start = ["backfill-start", "notes", "--by", "ada", "--because", "x"];
    let approve = ["contract", "approve", "notes", "--by", "ada", "--because", "x"];
    let all = [
        &["status"][..],
        &["status", "notes"],
        &["backfill-pause", "notes", "--by", "ada", "--because", "x"],
        &["contract", "check", "notes"],
        &["contract", "events", "notes"],
        &approve,
        &start,
    ];
    for (change, told) in [
        ("UPDATE _dualwrite_migrations SET version = 99", "at version 99"),
        ("UPDATE _dualwrite_migrations SET version = 1, checksum = 'x'", "by another build"),
        ("DELETE FROM _dualwrite_migrations", "lack version 1"),
    ] {
        world.db.execute(change).await;
        for arguments in all {
            let refused = fails(url, arguments).await;
            assert!(refused.contains(told), "{arguments:?}: {refused}");
        }
    }
    assert_eq!(world.db.number("SELECT count(*) FROM dualwrite_task").await, 0);
}

async fn what_nobody_takes_says_why<D: Sql>(db: Scratch<D>) {
    let World { db, runtime, .. } = off(db).await;
    let url = &*db.url();
    prints(url, &["backfill-start", "notes", "--by", "ada", "--because", "x", "--reverse"]).await;
    let shown = prints(url, &["status", "notes"]).await;
    assert!(shown.contains("none of the live instances can copy to the old side"), "{shown}");
    runtime.shutdown().await.unwrap();
    let shown = prints(url, &["status", "notes"]).await;
    assert!(shown.contains("no instance of the service is alive"), "{shown}");
    // A job as well as a backfill, in each view.
    prints(url, &["verify", "notes", "--by", "ada", "--because", "x"]).await;
    let waits = "waits for an instance, by ada: no instance of the service is alive";
    for view in [&["status", "notes"][..], &["jobs", "notes"]] {
        let shown = prints(url, view).await;
        assert!(shown.contains(waits), "{view:?}: {shown}");
    }
    let found: Value = serde_json::from_str(&prints(url, &["status", "--json"]).await).unwrap();
    let why = found[0]["jobs"][0]["waiting"].as_str().unwrap();
    assert!(why.contains("start one"), "{found}");
    let page = Browser::of(&db).shows("/view/notes").await;
    assert!(page.contains("no instance of the service is alive"), "{page}");

    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    let bare = runtime.migration("bare").register().await.unwrap();
    prints(url, &["backfill-start", bare.name(), "--by", "ada", "--because", "x"]).await;
    let shown = prints(url, &["status", "bare"]).await;
    assert!(shown.contains("none of the live instances has a copy function"), "{shown}");
    runtime.shutdown().await.unwrap();
}

async fn a_pause_is_no_work_and_what_does_not_run_has_no_time_left<D: Sql>(db: Scratch<D>) {
    let world = halted(db).await;
    let url = &*world.db.url();
    let before = json(url).await["backfill"].clone();
    assert_eq!((&before["done"], &before["eta_s"]), (&4.into(), &Value::Null), "{before}");
    assert!(before["worked_us"].as_u64().unwrap() > 0, "{before}");
    let shown = prints(url, &["status", "notes"]).await;
    assert!(shown.contains(" on average, no limit"), "it is halted: {shown}");
    // An hour passes, paused.
    prints(url, &["backfill-pause", "notes", "--by", "ada", "--because", "x"]).await;
    let hour = "UPDATE dualwrite_backfill SET started_at = started_at - 3600000000, \
                progressed_at = progressed_at - 3600000000";
    world.db.execute(hour).await;
    prints(url, &["backfill-resume", "notes", "--by", "ada", "--because", "x"]).await;
    world.db.execute("UPDATE old_note SET word = 'well' WHERE word = 'poison'").await;
    let done = world.migration.backfill().run().await.unwrap();
    assert!(done.elapsed > Duration::from_secs(3_600), "{done:?}");
    assert!(done.worked < Duration::from_secs(60), "the hour is no work: {done:?}");
    assert!(done.keys_per_second() > 0.05, "{done:?}");
    world.runtime.shutdown().await.unwrap();
}

async fn the_speed_is_that_of_the_last_minutes_of_work<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 40, |one| one).await;
    let url = &*world.db.url();
    // Between two batches, three minutes of work pass or more.
    let minutes = async || loop {
        world.db.execute("UPDATE dualwrite_backfill SET worked_us = worked_us + 180000000").await;
    };
    let run = async { world.migration.backfill().batch(1).rate(80).run().await.unwrap() };
    let done = tokio::select! { done = run => done, () = minutes() => unreachable!() };
    assert_eq!((done.migrated, done.batch), (40, 1), "{done:?}");
    let two_minutes = Duration::from_secs(120);
    assert!(done.recent < done.worked && done.recent >= two_minutes, "{done:?}");
    assert!(done.recent_keys > 0 && done.recent_keys < 40, "{done:?}");
    let said = prints(url, &["status", "notes"]).await;
    for told in ["keys/s in the last minutes of work, ", " on average", "1 keys"] {
        assert!(said.contains(told), "{told}: {said}");
    }
    let page = Browser::of(&world.db).shows("/view/notes").await;
    assert!(page.contains("in the last minutes of work") && page.contains("1 keys"), "{page}");
    let json = json(url).await["backfill"].clone();
    assert_eq!((&json["batch"], &json["recent_keys"]), (&1.into(), &done.recent_keys.into()));
    let seconds = json["recent_us"].as_f64().unwrap() / 1_000_000.0;
    let speed = json["recent_keys_per_second"].as_f64().unwrap();
    assert!((speed * seconds - done.recent_keys as f64).abs() < 0.001, "{json}");
    world.runtime.shutdown().await.unwrap();
}

async fn dead_letters_of_a_reverse_copy_are_counted<D: Sql>(db: Scratch<D>) {
    let world = halted(db).await;
    let url = &*world.db.url();
    world
        .db
        .execute(
            "INSERT INTO dualwrite_failure (migration, side, key_text, generation, error, attempts, failed_at, \
             next_attempt_at) SELECT migration, 'old', key_text, generation, error, attempts, failed_at, \
             next_attempt_at FROM dualwrite_failure",
        )
        .await;
    let found = json(url).await;
    assert_eq!((&found["dead_letters"], &found["dead_letters_to_old"]), (&1.into(), &1.into()));
    let shown = prints(url, &["status", "notes"]).await;
    assert!(shown.contains("1 to new, 1 to old"), "{shown}");
    world.runtime.shutdown().await.unwrap();
}

async fn exit_codes_tell_what_a_caller_can_do<D: Sql>(db: Scratch<D>) {
    let world = off(db).await;
    let url = &*world.db.url();
    let audited = ["--by", "ada", "--because", "x"];
    let with = |own: &[&'static str]| [own, &audited[..]].concat();
    for (arguments, code) in [
        (with(&["advance", "notes", "--to", "dual_write"]), dualwrite_cli::DONE),
        (with(&["advance", "notes", "--to", "live"]), dualwrite_cli::REFUSED),
        (with(&["verify", "notes", "--expect-epoch", "1"]), dualwrite_cli::REFUSED),
        (with(&["kill-off", "notes"]), dualwrite_cli::DONE),
        (with(&["rollback", "nobody"]), dualwrite_cli::UNKNOWN),
        (with(&["ramp", "notes", "--percent", "101"]), dualwrite_cli::WRONG_USE),
        (with(&["advance", "notes"]), dualwrite_cli::WRONG_USE),
        (with(&["close", "notes", "--what", "all", "--for", "1h"]), dualwrite_cli::WRONG_USE),
        (with(&["close", "notes", "--what", "writes", "--for", "1s"]), dualwrite_cli::WRONG_USE),
        (vec!["rollback", "notes"], dualwrite_cli::WRONG_USE),
        (vec!["readiness", "nobody"], dualwrite_cli::UNKNOWN),
        (vec!["list"], dualwrite_cli::DONE),
        (vec!["events", "notes"], dualwrite_cli::DONE),
        (vec!["audit", "notes"], dualwrite_cli::DONE),
        (vec!["instances", "notes"], dualwrite_cli::DONE),
        (vec!["dead-letters", "notes"], dualwrite_cli::DONE),
        (vec!["mismatches", "notes"], dualwrite_cli::DONE),
        (vec!["hazards", "notes"], dualwrite_cli::DONE),
        (vec!["jobs", "notes"], dualwrite_cli::DONE),
    ] {
        let (found, out, err) = run_on(url, &arguments).await;
        assert_eq!(found, code, "{arguments:?}: {out}{err}");
        let json = [&arguments[..], &["--output", "json"]].concat();
        let (_, out, err) = run_on(url, &json).await;
        if code != dualwrite_cli::WRONG_USE {
            let text = if out.is_empty() { &err } else { &out };
            serde_json::from_str::<Value>(text).unwrap_or_else(|_| panic!("{json:?}: {text}"));
        }
    }
    let nowhere = "postgres://ada:s3cret@127.0.0.1:1/shop";
    let (code, _, err) = run_on(nowhere, &["list", "--output", "json"]).await;
    assert_eq!(code, dualwrite_cli::UNREACHABLE);
    let error: Value = serde_json::from_str(&err).unwrap();
    assert_eq!(error["error"]["kind"], "unreachable");
    world.runtime.shutdown().await.unwrap();
}

async fn one_waits_for_a_stage<D: Sql>(db: Scratch<D>) {
    let world = off(db).await;
    let url = &*world.db.url();
    prints(url, &["wait", "notes", "--for", "stage=off", "--timeout", "1s"]).await;
    let late = ["wait", "notes", "--for", "complete", "--timeout", "0s"];
    assert_eq!(run_on(url, &late).await.0, dualwrite_cli::TIMED_OUT);
    let waiting = async || {
        prints(url, &["wait", "notes", "--for", "stage=dual_write", "--timeout", "60s"]).await
    };
    let moving = async || world.migration.advance(dualwrite::Stage::DualWrite).await.unwrap();
    tokio::join!(waiting(), moving());
    world.runtime.shutdown().await.unwrap();
}

/// A URL of the same database whose user may do nothing there.
async fn without_rights<D: Sql>(world: &World<D>) -> Option<(String, String)> {
    let url = world.db.url();
    let name = url.rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    let role =
        format!("r{:x}", name.bytes().fold(7_u64, |sum, b| sum.wrapping_mul(31) + u64::from(b)));
    let (host, port) = world.db.server()?;
    let make = D::sql(
        "",
        "DROP ROLE IF EXISTS {role}; CREATE ROLE {role}",
        "DROP USER IF EXISTS {role}; CREATE USER {role} IDENTIFIED BY 'x'; \
         GRANT SELECT ON dualwrite_migration TO {role}",
    );
    world.db.execute(&make.replace("{role}", &role)).await;
    let glue = if url.contains('?') { '&' } else { '?' };
    let limited = match url.starts_with("postgres") {
        true => format!("{url}{glue}options[role]={role}"),
        false => format!("mysql://{role}:x@{host}:{port}/{name}"),
    };
    Some((limited, D::sql("", "DROP ROLE {role}", "DROP USER {role}").replace("{role}", &role)))
}

async fn what_is_denied_is_not_to_be_tried_again<D: Sql>(db: Scratch<D>) {
    let world = off(db).await;
    let pause = ["backfill-pause", "notes", "--by", "ada", "--because", "x"];
    match without_rights(&world).await {
        Some((url, remove)) => {
            for arguments in [&["status"][..], &["status", "notes"], &pause] {
                let told = fails(&url, arguments).await;
                assert!(told.contains("grant this one the rights"), "{told}");
                assert!(!told.contains("when the database answers"), "{told}");
            }
            world.db.execute(&remove).await;
        }
        None => {
            let url = format!("{}?mode=ro", world.db.url().split('?').next().unwrap());
            let told = fails(&url, &pause).await;
            assert!(told.contains("takes no writes"), "{told}");
        }
    }
    world.runtime.shutdown().await.unwrap();
}

/// Orders without who and why are no longer there, and nothing of them reaches a database.
#[tokio::test]
async fn an_older_order_to_a_backfill_is_told_the_command_that_takes_its_place() {
    for order in ["start", "pause", "resume", "cancel", "rate"] {
        let (code, out, err) =
            run_on("sqlite://nowhere.db", &["backfill", order, "notes", "--reverse"]).await;
        assert_eq!((code, &*out), (dualwrite_cli::WRONG_USE, ""), "{order}");
        let instead = format!("`dualwrite backfill-{order} MIGRATION --by WHO --because WHY`");
        assert!(err.contains(&instead) && err.contains("audit"), "{err}");
    }
    let told = fails("sqlite://nowhere.db", &["backfill"]).await;
    assert!(told.contains("backfill-start, backfill-pause, "), "{told}");
}

#[tokio::test]
async fn help_is_no_secret() {
    let url = "sqlite://nowhere.db";
    let (code, _, err) = run_on(url, &["--fields"]).await;
    assert_eq!(code, dualwrite_cli::WRONG_USE);
    let (_, help, _) = run_on(url, &["--help"]).await;
    assert!(help.contains("sqlite://…") && !err.contains(url), "{help}{err}");
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
        assert_eq!(run_on(url, &["status"]).await.0, dualwrite_cli::WRONG_USE);
    }
    let told = fails("postgres://ada:s3cret@host:port/shop", &["status"]).await;
    assert!(told.contains("how the URL is written") && !told.contains("s3cret"), "{told}");

    let url = "postgres://ada:s3cret@127.0.0.1:1/shop";
    for arguments in [
        &["status", "notes", url][..],
        &["backfill-start", "notes"],
        &["backfill-rate", "notes", "--rate", "fast", "--by", "ada", "--because", "x"],
        &["backfill-start", "notes", "--by", "ada", "--because", "x", "--workers", "99"],
        &["backfill-start", "notes", "--by", "", "--because", "x"],
    ] {
        let (code, out, err) = run_on(url, arguments).await;
        assert_eq!((code, &*out), (dualwrite_cli::WRONG_USE, ""), "{arguments:?}");
        assert!(!err.contains("s3cret") && !err.is_empty(), "{err}");
    }
    let (code, out, err) = run_on(url, &["--help"]).await;
    assert_eq!((code, &*err), (dualwrite_cli::DONE, ""));
    assert!(out.contains("DATABASE_URL") && out.contains("Exit codes"), "{out}");
}
