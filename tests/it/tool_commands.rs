//! Every command of the operators' list, given by the command-line tool, and what comes of it.

use std::time::Duration;

use dualwrite::{
    Percent, Stage,
    operator::COMMANDS,
    rollout::{RolloutPlan, RolloutState, RolloutStep},
};
use serde_json::Value;

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{World, plain};
use crate::support::operated::halted;
use crate::support::sql::Sql;
use crate::support::wait::until;
use crate::tool::{prints, run_on};

on_all_databases!(
    moves_and_approvals,
    the_kill_switch,
    backfills_and_dead_letters,
    verifications_and_repair,
    one_key_is_copied,
    rollouts,
    samples_are_forgotten,
);

const AUDITED: [&str; 4] = ["--by", "ada", "--because", "it is time"];

async fn give(url: &str, command: &str, own: &[&str]) -> String {
    assert!(COMMANDS.iter().any(|spec| spec.name == command), "{command}");
    prints(url, &[&[command, "notes"], own, &AUDITED].concat()).await
}

async fn refused(url: &str, command: &str, own: &[&str]) -> String {
    let (code, out, err) = run_on(url, &[&[command, "notes"], own, &AUDITED].concat()).await;
    assert_eq!(code, dualwrite_cli::REFUSED, "{command}: {out}{err}");
    err
}

async fn json(url: &str, query: &str) -> Value {
    serde_json::from_str(&prints(url, &[query, "notes", "--output", "json"]).await).unwrap()
}

/// The newest line of the audit: what, and about what.
async fn newest(url: &str) -> (String, Value) {
    let line = json(url, "audit").await[0].clone();
    assert_eq!((&line["actor"], &line["reason"]), (&"ada".into(), &"it is time".into()));
    (line["kind"].as_str().unwrap().to_owned(), line["detail"].clone())
}

/// Waits until a job has ended, and answers with what it came to.
async fn ended(url: &str, kind: &str) -> String {
    let find = async || {
        let jobs = json(url, "jobs").await;
        let job = jobs.as_array().unwrap().iter().find(|job| job["kind"] == kind).cloned();
        job.filter(|job| job["done"] == true)
    };
    until(kind, async || find().await.is_some()).await;
    find().await.unwrap()["answer"].as_str().unwrap().to_owned()
}

async fn moves_and_approvals<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Off, 3, |one| one.approval(Stage::Shadow, "owner")).await;
    let url = &*world.db.url();
    let stage = async || world.migration.refresh().await.unwrap().stage;
    give(url, "advance", &["--to", "dual_write"]).await;
    assert_eq!(stage().await, Stage::DualWrite);
    let closed = refused(url, "advance", &["--to", "shadow"]).await;
    assert!(closed.contains("owner"), "{closed}");
    let unknown = [&["approve", "notes", "--name", "nobody"], &AUDITED[..]].concat();
    assert_eq!(run_on(url, &unknown).await.0, dualwrite_cli::WRONG_USE);
    give(url, "approve", &["--name", "owner"]).await;
    assert_eq!(newest(url).await.0, "approve");
    let dry = give(url, "advance", &["--to", "shadow", "--dry-run"]).await;
    assert!(dry.contains("dry run") && dry.contains("way back"), "{dry}");
    assert_eq!(stage().await, Stage::DualWrite);
    give(url, "ramp", &["--percent", "5"]).await;
    assert_eq!(world.migration.refresh().await.unwrap().ramp, Percent::new(5).unwrap());
    give(url, "advance", &["--to", "shadow"]).await;
    // Once more is no error, and no other move.
    give(url, "advance", &["--to", "shadow"]).await;
    assert_eq!(stage().await, Stage::Shadow);
    let before = world.migration.refresh().await.unwrap().epoch.to_string();
    give(url, "step-back", &["--to", "dual_write", "--expect-epoch", &before]).await;
    let stale = refused(url, "step-back", &["--to", "off", "--expect-epoch", &before]).await;
    assert!(stale.contains("epoch"), "{stale}");
    assert_eq!(stage().await, Stage::DualWrite);
    let event = json(url, "events").await[0].clone();
    assert_eq!((&event["actor"], &event["reason"]), (&"ada".into(), &"it is time".into()));

    give(url, "approve", &["--name", "owner"]).await;
    give(url, "advance", &["--to", "shadow"]).await;
    give(url, "rollback", &["--expect-epoch", &before]).await;
    assert_eq!(stage().await, Stage::DualWrite, "a rollback acts from a stale page, too");
    world.runtime.shutdown().await.unwrap();
}

async fn the_kill_switch<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Shadow, 3, plain).await;
    let url = &*world.db.url();
    give(url, "kill-on", &["--expect-epoch", "1"]).await;
    assert_eq!(newest(url).await.0, "kill_on");
    assert_eq!(world.migration.refresh().await.unwrap().stage, Stage::DualWrite);
    assert!(prints(url, &["status", "notes"]).await.contains("set by ada"));
    let closed = refused(url, "advance", &["--to", "shadow"]).await;
    assert!(closed.contains("kill"), "{closed}");
    give(url, "kill-off", &[]).await;
    assert_eq!(newest(url).await.0, "kill_off");
    until("instances have seen it", async || {
        let arguments = [&["advance", "notes", "--to", "shadow"], &AUDITED[..]].concat();
        run_on(url, &arguments).await.0 == dualwrite_cli::DONE
    })
    .await;
    world.runtime.shutdown().await.unwrap();
}

async fn backfills_and_dead_letters<D: Sql>(db: Scratch<D>) {
    let world = halted(db).await;
    let url = &*world.db.url();
    let backfill = async || json(url, "status").await["backfill"].clone();
    give(url, "backfill-pause", &[]).await;
    assert_eq!(newest(url).await, ("backfill_pause".to_owned(), "to new".into()));
    assert_eq!(backfill().await["paused"], true);
    give(url, "backfill-pause", &[]).await; // once more is no error
    give(url, "backfill-rate", &["--rate", "500"]).await;
    assert_eq!(backfill().await["rate"], 500);
    give(url, "backfill-batch-time", &["--batch-time", "20ms"]).await;
    assert_eq!(
        newest(url).await,
        ("backfill_batch_time".to_owned(), "to new: batch-time 20ms".into())
    );
    give(url, "backfill-workers", &["--workers", "4"]).await;
    assert_eq!(newest(url).await, ("backfill_workers".to_owned(), "to new: workers 4".into()));
    assert_eq!(backfill().await["settings"]["workers"], 4);
    give(url, "backfill-workers", &["--workers", "default"]).await;
    assert_eq!(backfill().await["settings"]["workers"], Value::Null);
    give(url, "backfill-throttle", &["--lag", "5s", "--active", "90"]).await;
    let set = ("backfill_throttle".to_owned(), "to new: active 90, lag 5s".into());
    assert_eq!(newest(url).await, set);
    give(url, "backfill-throttle", &["--active", "default"]).await;
    let settings = backfill().await["settings"].clone();
    assert_eq!(
        (&settings["batch_time_us"], &settings["lag_us"]),
        (&20_000.into(), &5_000_000.into())
    );
    assert_eq!(settings["active"], Value::Null);
    assert!(prints(url, &["status", "notes"]).await.contains("batch-time 20ms, lag 5s"));
    for own in [&["--lag", "2days"][..], &["--active", "0"], &["--write-p99", "5"], &[]] {
        let arguments = [&["backfill-throttle", "notes"], own, &AUDITED].concat();
        let (code, _, told) = run_on(url, &arguments).await;
        assert_eq!(code, dualwrite_cli::WRONG_USE, "{own:?}: {told}");
        assert!(told.contains("the field `"), "{told}");
    }
    refused(url, "backfill-batch-time", &["--batch-time", "20ms", "--reverse"]).await;
    give(url, "backfill-resume", &[]).await;
    assert_eq!(backfill().await["paused"], false);
    give(url, "backfill-cancel", &[]).await;
    assert_eq!(
        (newest(url).await.0, backfill().await["cancelled"].clone()),
        ("backfill_cancel".to_owned(), true.into())
    );
    refused(url, "backfill-cancel", &["--reverse"]).await;

    let letters = json(url, "dead-letters").await;
    assert_eq!((&letters[0]["key"], &letters[0]["side"]), (&"4".into(), &"new".into()));
    refused(url, "dead-letters-waive", &["--key", "5"]).await;
    give(url, "dead-letters-waive", &["--key", "4"]).await;
    assert_eq!(newest(url).await, ("dead_letters_waive".to_owned(), "4 to new".into()));
    assert_eq!(json(url, "dead-letters").await[0]["waiver"]["actor"], "ada");

    give(url, "backfill-start", &["--workers", "2", "--rate", "900"]).await;
    assert_eq!(newest(url).await.0, "backfill_start");
    until("the backfill is complete", async || backfill().await["complete"] == true).await;
    world.db.execute("UPDATE old_note SET word = 'well' WHERE id = 4").await;
    give(url, "dead-letters-retry", &[]).await;
    ended(url, "dead_letters").await;
    assert_eq!(json(url, "dead-letters").await, Value::Array(Vec::new()));
    assert_eq!(world.db.number("SELECT count(*) FROM new_note WHERE id = 4").await, 1);
    world.runtime.shutdown().await.unwrap();
}

async fn verifications_and_repair<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    world.migration.backfill().run().await.unwrap();
    let url = &*world.db.url();
    refused(url, "verify-pause", &[]).await;
    give(url, "verify", &[]).await;
    assert_eq!(newest(url).await.0, "verify");
    assert!(ended(url, "verify").await.contains("clean: 3 keys compared"));
    for order in ["verify-pause", "verify-resume"] {
        give(url, order, &[]).await;
        assert_eq!(newest(url).await.0, order.replace('-', "_"));
    }
    refused(url, "verify-cancel", &[]).await; // it is complete
    world.db.execute("UPDATE new_note SET word = 'damaged' WHERE id = 2").await;
    give(url, "verify", &[]).await;
    until("it is found", async || ended(url, "verify").await.contains("1 differ")).await;
    give(url, "repair", &[]).await;
    assert!(ended(url, "repair").await.contains("1 keys copied"));
    let damaged = "SELECT count(*) FROM new_note WHERE word = 'damaged'";
    assert_eq!(world.db.number(damaged).await, 0);
    give(url, "verify", &[]).await;
    until("it is clean", async || ended(url, "verify").await.contains("clean")).await;
    assert!(world.migration.status().await.unwrap().verified.is_some());
    world.runtime.shutdown().await.unwrap();
}

async fn one_key_is_copied<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    let url = &*world.db.url();
    assert!(give(url, "copy", &["--key", "2"]).await.contains("was copied"));
    assert_eq!(newest(url).await, ("copy".to_owned(), "2".into()));
    assert_eq!(world.db.number("SELECT count(*) FROM new_note").await, 1);
    assert_eq!(world.db.number("SELECT id FROM new_note").await, 2);
    let wrong = refused(url, "copy", &["--key", "\"two\""]).await;
    assert!(!wrong.contains("two"), "no values: {wrong}");
    world.runtime.shutdown().await.unwrap();
}

async fn rollouts<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Off, 3, plain).await;
    let url = &*world.db.url();
    refused(url, "rollout-pause", &[]).await;
    let first = RolloutStep::stage(Stage::DualWrite).soak(Duration::from_secs(86_400));
    let plan =
        RolloutPlan::new().step(first).step(RolloutStep::stage(Stage::Shadow).approval("owner"));
    world.migration.rollout().start(&plan, "bob", "as planned").await.unwrap();
    let state = async || world.migration.rollout().status().await.unwrap().unwrap().state;
    for (command, then) in [
        ("rollout-pause", RolloutState::Paused),
        ("rollout-resume", RolloutState::Running),
        ("rollout-skip-soak", RolloutState::Running),
        ("rollout-abort", RolloutState::Aborted),
    ] {
        give(url, command, &[]).await;
        assert_eq!(newest(url).await.0, command.trim_start_matches("rollout-").replace('-', "_"));
        assert_eq!(state().await, then, "{command}");
    }
    give(url, "rollout-abort", &[]).await; // once more is no error
    world.runtime.shutdown().await.unwrap();
}

async fn samples_are_forgotten<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Shadow, 3, plain).await;
    let url = &*world.db.url();
    world
        .db
        .execute(
            "INSERT INTO dualwrite_mismatch (migration, method, field, key_text, at) \
             VALUES ('notes', 'Notes::find', 'word', '1', 0)",
        )
        .await;
    assert_eq!(json(url, "mismatches").await[0]["field"], "word");
    give(url, "compare", &["--percent", "2.5"]).await;
    assert_eq!(newest(url).await, ("compare".to_owned(), "2.5 % of the reads".into()));
    give(url, "compare", &["--writes"]).await; // as registered: nothing is changed or recorded
    assert_eq!(newest(url).await.1, "2.5 % of the reads");
    assert_eq!(json(url, "status").await["sample"]["writes"], Value::Null);
    give(url, "mismatches-forget", &[]).await;
    assert_eq!(newest(url).await.0, "mismatches_forget");
    assert_eq!(json(url, "mismatches").await, Value::Array(Vec::new()));
    assert!(give(url, "mismatches-forget", &[]).await.contains("no samples"));
    world.runtime.shutdown().await.unwrap();
}
