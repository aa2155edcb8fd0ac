//! What an instance read in the catalogue, for operators who are none: findings, writers that no trigger sees and
//! sequences that are behind are stored, shown by status, page and tool, and repaired or recorded from there.

use axum::http::StatusCode;
use dualwrite::{
    Error, ErrorKind, Gate, Migration, Move, Runtime, Stage,
    operator::{Command, CommandOptions, Operator},
    preflight::HazardKind,
    rollout::RolloutCommandKind,
    verify::StaleKind,
};
use serde_json::Value;

use crate::page::Browser;
use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{CopyNotes, World, plain};
use crate::support::sql::Sql;
use crate::tool::{prints, run_on};
use crate::writers::named::{add_cascade, blockers, ramped_down, things_behind};

on_all_databases!(
    findings_are_stored_at_registration_and_shown_everywhere,
    what_changes_is_read_again_by_command,
    a_process_without_a_copy_function_has_the_findings_of_another,
    a_writer_is_recorded_as_stopped_by_the_tool_and_complete_waits_for_a_verification,
    a_writer_is_recorded_as_stopped_by_the_page,
    sequences_are_advanced_by_the_tool,
    sequences_are_advanced_by_the_page,
    a_move_of_an_operator_goes_by_what_the_catalogue_says_now,
);

const AUDITED: [&str; 4] = ["--by", "ada", "--because", "it is gone"];

async fn json(url: &str, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--output", "json"]].concat();
    serde_json::from_str(&prints(url, &arguments).await).unwrap()
}

/// The names of checks in a report as JSON.
fn checks(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap_or_else(|| panic!("{report}"));
    findings.iter().map(|one| one["check"].as_str().unwrap().to_owned()).collect()
}

async fn writer(migration: &Migration) -> String {
    let hazards = migration.hazards().await.unwrap();
    hazards.into_iter().find(|one| one.kind == HazardKind::ForeignKey).unwrap().name
}

async fn findings_are_stored_at_registration_and_shown_everywhere<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Off, 3, plain).await;
    add_cascade(&world.db).await;
    world.runtime.shutdown().await.unwrap();
    let db = world.db;
    let url = &*db.url();
    let runtime = Runtime::builder(db.pool().clone()).start().await.unwrap();
    runtime.migration("notes").backfill(CopyNotes::<D>::new()).register().await.unwrap();

    let report = json(url, &["preflight", "notes"]).await;
    assert!(checks(&report).contains(&"foreign_key".to_owned()), "{report}");
    assert_eq!((&report["complete"], &report["left_out"]), (&true.into(), &0.into()));
    assert_eq!(report["instance"], runtime.instance());
    let hazards = json(url, &["hazards", "notes"]).await;
    let name = hazards[0]["name"].as_str().unwrap();
    let status = json(url, &["status", "notes"]).await;
    assert_eq!((&status["preflight"], &status["hazards"]), (&report, &hazards));
    for shown in
        [prints(url, &["preflight", "notes"]).await, prints(url, &["status", "notes"]).await]
    {
        assert!(shown.contains("warn foreign_key: table `old_note`"), "{shown}");
        assert!(shown.contains("`writer-stopped`") && shown.contains(name), "{shown}");
    }
    let browser = Browser::of(&db);
    assert_eq!(browser.json("/migrations/notes/preflight").await, report);
    assert_eq!(browser.json("/migrations/notes/hazards").await, hazards);
    let page = browser.shows("/view/notes").await;
    for shown in [name, "Record a writer as stopped"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let found = browser.shows("/view/notes/catalogue").await;
    assert!(found.contains("Preflight") && found.contains("foreign_key"), "{found}");
    assert!(!page.contains("Sequences of the new table"), "{page}");
    runtime.shutdown().await.unwrap();
}

async fn what_changes_is_read_again_by_command<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    let url = &*world.db.url();
    assert!(!checks(&json(url, &["preflight", "notes"]).await).contains(&"foreign_key".to_owned()));
    add_cascade(&world.db).await;
    let done = prints(url, &[&["read-catalogue", "notes"], &AUDITED[..]].concat()).await;
    assert!(done.contains("findings, 0 of them refuse"), "{done}");
    assert!(checks(&json(url, &["preflight", "notes"]).await).contains(&"foreign_key".to_owned()));
    let audit = json(url, &["audit", "notes"]).await;
    let newest = (&audit[0]["kind"], &audit[0]["actor"], &audit[0]["reason"]);
    assert_eq!(newest, (&"catalogue".into(), &"ada".into(), &"it is gone".into()));
    world.runtime.shutdown().await.unwrap();
}

async fn a_process_without_a_copy_function_has_the_findings_of_another<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    add_cascade(&world.db).await;
    let found = world.migration.preflight().await.unwrap();
    let other = Runtime::builder(world.db.pool().clone()).start().await.unwrap();
    let bare = other.migration("notes").register().await.unwrap();
    let status = bare.status().await.unwrap();
    assert_eq!(status.preflight, found);
    assert_eq!(status.hazards, world.migration.hazards().await.unwrap());
    other.shutdown().await.unwrap();
    world.runtime.shutdown().await.unwrap();
}

/// At `RampDown`, verified, with a writer that no trigger sees.
async fn with_a_writer<D: Sql>(db: Scratch<D>) -> (World<D>, String) {
    let world = ramped_down(db).await;
    add_cascade(&world.db).await;
    // On MySQL that makes the table anew.
    assert!(world.migration.verify().run().await.unwrap().proven);
    let writer = writer(&world.migration).await;
    (world, writer)
}

async fn open_gates(migration: &Migration) -> Vec<Gate> {
    let blockers = blockers(migration, Move::Advance(Stage::Complete)).await;
    blockers.into_iter().map(|one| one.gate).collect()
}

async fn a_writer_is_recorded_as_stopped_by_the_tool_and_complete_waits_for_a_verification<
    D: Sql,
>(
    db: Scratch<D>,
) {
    let (world, writer) = with_a_writer(db).await;
    let (url, migration) = (&*world.db.url(), &world.migration);
    assert_eq!(open_gates(migration).await, [Gate::Released]);
    let with = |writer: &str| {
        let arguments = ["writer-stopped", "notes", "--writer", writer];
        [&arguments[..], &AUDITED[..]].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let as_refs = |arguments: &[String]| run_on_owned(url, arguments.to_vec());
    let (code, _, told) = as_refs(&with("nobody")).await;
    assert!(code == dualwrite_cli::REFUSED && told.contains("`hazards` lists them"), "{told}");
    assert_eq!(migration.status().await.unwrap().stale, [], "nothing was withdrawn");
    let mut stale = with(&writer);
    stale.extend(["--expect-epoch".to_owned(), "1".to_owned()]);
    assert_eq!(as_refs(&stale).await.0, dualwrite_cli::REFUSED);
    assert_eq!(migration.status().await.unwrap().stale, [], "nothing was withdrawn");

    let (code, done, told) = as_refs(&with(&writer)).await;
    assert!(code == dualwrite_cli::DONE && done.contains("run a verification"), "{told}");
    assert_eq!(open_gates(migration).await, [Gate::Verified]);
    migration.advance(Stage::Complete).await.unwrap_err();
    let audit = Operator::new(world.db.pool().clone()).audit("notes").await.unwrap();
    assert_eq!((audit[0].kind, &*audit[0].actor), (RolloutCommandKind::WriterStopped, "ada"));
    assert_eq!(audit[0].detail.as_deref(), Some(&*writer));
    assert!(migration.verify().run().await.unwrap().proven);

    // Said again, it withdraws nothing.
    let (code, again, _) = as_refs(&with(&writer)).await;
    assert!(code == dualwrite_cli::DONE && again.contains("already"), "{again}");
    assert_eq!(open_gates(migration).await, []);
    let advance = ["advance", "notes", "--to", "complete"];
    prints(url, &[&advance[..], &AUDITED[..]].concat()).await;
    assert_eq!(migration.refresh().await.unwrap().stage, Stage::Complete);
    world.runtime.shutdown().await.unwrap();
}

async fn run_on_owned(url: &str, arguments: Vec<String>) -> (u8, String, String) {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run_on(url, &arguments).await
}

async fn a_writer_is_recorded_as_stopped_by_the_page<D: Sql>(db: Scratch<D>) {
    let (world, writer) = with_a_writer(db).await;
    let browser = Browser::of(&world.db);
    let path = "/migrations/notes/commands/writer-stopped";
    let name = writer.replace(' ', "+");
    for (form, status, told) in [
        (format!("writer={name}&by=ada"), StatusCode::BAD_REQUEST, "`because`"),
        (format!("writer={name}&because=x&by=eve"), StatusCode::BAD_REQUEST, "`by`"),
        ("by=ada&because=x".to_owned(), StatusCode::BAD_REQUEST, "`writer`"),
        ("writer=nobody&by=ada&because=x".to_owned(), StatusCode::CONFLICT, "hazards"),
        (format!("writer={name}&by=ada&because=x&expect-epoch=1"), StatusCode::CONFLICT, "epoch"),
    ] {
        let answer = browser.post(path, &form).await;
        assert_eq!(answer.status, status, "{form}: {}", answer.text);
        assert!(answer.text.contains(told), "{}", answer.text);
    }
    assert_eq!(world.migration.status().await.unwrap().stale, []);
    let answer = browser.post(path, &format!("writer={name}&by=ada&because=dropped")).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    let status = world.migration.status().await.unwrap();
    assert_eq!(status.stale[0].kind, StaleKind::Writer);
    let stopped = status.hazards[0].stopped.as_ref().unwrap();
    assert_eq!((&*stopped.actor, &*stopped.reason), ("ada", "dropped"));
    let page = browser.shows("/view/notes").await;
    assert!(page.contains("dropped") && !page.contains("Record a writer as stopped"), "{page}");
    world.runtime.shutdown().await.unwrap();
}

async fn sequences_are_advanced_by_the_tool<D: Sql>(db: Scratch<D>) {
    let (runtime, migration) = things_behind(&db).await;
    let url = &*db.url();
    assert_eq!(open_gates(&migration).await, [Gate::Sequences]);
    let hazards = json(url, &["hazards", "things"]).await;
    let repair = hazards[0]["repair"].as_str().unwrap();
    let audited = ["--by", "ada", "--because", "before complete"];
    let dry = [&["advance-sequences", "things", "--dry-run"], &audited[..]].concat();
    assert!(prints(url, &dry).await.contains(repair));
    assert_eq!(open_gates(&migration).await, [Gate::Sequences], "nothing was done");

    let advance = [&["advance-sequences", "things"], &audited[..]].concat();
    let done = prints(url, &advance).await;
    assert!(done.contains(&format!("done: {repair}")), "{done}");
    assert!(prints(url, &advance).await.contains("no sequence was behind"));
    assert_eq!(json(url, &["hazards", "things"]).await, Value::Array(Vec::new()));
    let audit = json(url, &["audit", "things"]).await;
    let newest = (&audit[0]["kind"], &audit[0]["actor"], &audit[0]["reason"]);
    assert_eq!(newest, (&"advance_sequences".into(), &"ada".into(), &"before complete".into()));
    migration.advance(Stage::Complete).await.unwrap();
    db.execute("INSERT INTO new_thing (n) VALUES (22)").await;
    assert!(db.number("SELECT id FROM new_thing WHERE n = 22").await > 15);
    runtime.shutdown().await.unwrap();
}

async fn sequences_are_advanced_by_the_page<D: Sql>(db: Scratch<D>) {
    let (runtime, migration) = things_behind(&db).await;
    let browser = Browser::of(&db);
    assert_eq!(open_gates(&migration).await, [Gate::Sequences]);
    let page = browser.shows("/view/things").await;
    assert!(page.contains("Advance the sequences"), "{page}");
    let path = "/migrations/things/commands/advance-sequences";
    let answer = browser.post(path, "by=ada&because=before+complete").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    assert_eq!(open_gates(&migration).await, []);
    let page = browser.shows("/view/things").await;
    assert!(page.contains("sequences") && page.contains("done: "), "{page}");
    assert!(!page.contains("Advance the sequences"), "{page}");
    migration.advance(Stage::Complete).await.unwrap();
    runtime.shutdown().await.unwrap();
}

async fn a_move_of_an_operator_goes_by_what_the_catalogue_says_now<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Off, 3, plain).await;
    let operator = Operator::new(world.db.pool().clone());
    let advance = async || -> Result<(), Error> {
        let command = Command::Move(Move::Advance(Stage::DualWrite), Vec::new());
        let options = CommandOptions::new("ada", "it is time");
        operator.command("notes", &command, &options).await.map(drop)
    };
    let replace = async |key: &str| {
        let sql =
            format!("DROP TABLE new_note; CREATE TABLE new_note (id {key}, word VARCHAR(50))");
        world.db.execute(&sql).await;
    };
    replace("VARCHAR(20) NOT NULL PRIMARY KEY").await;
    let refused = advance().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Blocked, "{refused}");
    assert!(refused.blockers().iter().any(|one| one.gate == Gate::Preflight), "{refused}");
    let readiness = operator.readiness("notes", None).await.unwrap();
    assert!(readiness.iter().any(|one| one.gate == Gate::Preflight), "{readiness:?}");
    replace("BIGINT NOT NULL PRIMARY KEY").await;
    advance().await.unwrap();
    assert_eq!(world.migration.refresh().await.unwrap().stage, Stage::DualWrite);
    world.runtime.shutdown().await.unwrap();
}
