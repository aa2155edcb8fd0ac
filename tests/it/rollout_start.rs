//! Starting a rollout from a file: by the page, its JSON and the command-line tool, each the same.

use axum::http::StatusCode;
use dualwrite::{
    ErrorKind, Stage,
    operator::{Command, CommandOptions, Operator},
    rollout::{RolloutPlan, RolloutState},
};
use serde_json::Value;

use crate::one_list::PLAN;
use crate::page::Browser;
use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{World, plain};
use crate::support::sql::Sql;
use crate::support::wait::until;
use crate::tool::{prints, run_on};

on_all_databases!(
    a_plan_is_sent_to_the_page_as_a_file_or_as_json,
    the_tool_reads_the_plan_from_a_file,
    the_same_plan_once_more_changes_nothing_and_another_is_refused,
    mistakes_name_line_and_field_and_start_nothing,
    a_plan_that_nobody_can_follow_is_refused,
    a_plan_decided_on_another_position_is_refused,
);

const START: &str = "/migrations/notes/commands/rollout-start";

/// A form with a file, as browsers send it.
fn upload(fields: &[(&str, &str)], file: &str) -> (String, String) {
    let mut body = String::new();
    for (name, value) in fields {
        body +=
            &format!("--cut\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    // The text field beside the file is empty, as it is unless somebody writes into it.
    body += "--cut\r\nContent-Disposition: form-data; name=\"plan\"\r\n\r\n\r\n";
    body += &format!(
        "--cut\r\nContent-Disposition: form-data; name=\"plan\"; filename=\"plan.toml\"\r\n\
         Content-Type: application/toml\r\n\r\n{file}\r\n--cut--\r\n"
    );
    ("multipart/form-data; boundary=cut".to_owned(), body)
}

async fn orders<D: Sql>(db: &Scratch<D>) -> Vec<(String, String, String)> {
    let audit = Operator::new(db.pool().clone()).audit("notes").await.unwrap();
    audit.into_iter().map(|one| (one.kind.to_string(), one.actor, one.reason)).collect()
}

async fn a_plan_is_sent_to_the_page_as_a_file_or_as_json<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Off, 3, plain).await;
    let browser = Browser::of(&world.db);
    let page = browser.shows("/view/notes").await;
    assert!(page.contains("type=\"file\" name=\"plan\""), "{page}");
    let (kind, body) =
        upload(&[("because", "as planned"), ("expect-epoch", "1"), ("dry-run", "true")], PLAN);
    let dry = browser.send(START, &kind, &body).await;
    assert!(
        dry.text.contains("would start the rollout; step 1 of 1 is next: dual_write"),
        "{}",
        dry.text
    );
    assert!(dry.text.contains("`rollout-abort`"), "{}", dry.text);
    assert_eq!(orders(&world.db).await, []);
    let (kind, body) = upload(&[("because", "as planned")], PLAN);
    let started = browser.send(START, &kind, &body).await;
    assert_eq!(started.status, StatusCode::SEE_OTHER, "{}", started.text);
    let expected = ("start".to_owned(), "ada".to_owned(), "as planned".to_owned());
    assert_eq!(orders(&world.db).await, [expected]);
    until("an instance follows it", async || {
        world.migration.refresh().await.unwrap().stage == Stage::DualWrite
    })
    .await;

    browser.post("/migrations/notes/commands/rollout-abort", "because=x").await;
    let plan = "[[step]]\nstage = \"shadow\"\n";
    let body = serde_json::json!({ "plan": plan, "because": "go on", "dry-run": false });
    let started = browser.send(START, "application/json", &body.to_string()).await;
    assert_eq!(started.status, StatusCode::OK, "{}", started.text);
    let stored = world.migration.rollout().plan().await.unwrap().unwrap();
    assert_eq!(stored, RolloutPlan::from_toml(plan).unwrap());
    world.runtime.shutdown().await.unwrap();
}

async fn the_tool_reads_the_plan_from_a_file<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Off, 3, plain).await;
    let url = &*world.db.url();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), PLAN).unwrap();
    let path = file.path().to_str().unwrap();
    let common = ["--by", "ada", "--because", "as planned"];
    let start = |path| [&["rollout-start", "notes", "--plan", path], &common[..]].concat();
    let dry = [&start(path)[..], &["--dry-run"]].concat();
    assert!(prints(url, &dry).await.contains("would start the rollout"));
    let done = prints(url, &start(path)).await;
    assert!(done.contains("the rollout is started; step 1 of 1 is next: dual_write"), "{done}");
    assert_eq!(orders(&world.db).await.len(), 1);
    let again = prints(url, &[&start(path)[..], &["--output", "json"]].concat()).await;
    let again: Value = serde_json::from_str(&again).unwrap();
    assert!(again["text"].as_str().unwrap().contains("followed already"), "{again}");
    let (code, _, told) = run_on(url, &start("/nowhere/plan.toml")).await;
    assert_eq!(code, dualwrite_cli::UNREADABLE, "{told}");
    assert!(told.contains("cannot read `/nowhere/plan.toml`"), "{told}");
    std::fs::write(file.path(), "\n[[step]]\nstag = \"shadow\"").unwrap();
    let (code, _, told) = run_on(url, &start(path)).await;
    assert_eq!(code, dualwrite_cli::WRONG_USE, "{told}");
    assert!(told.contains("line 3: unknown key `stag`; did you mean `stage`?"), "{told}");
    world.runtime.shutdown().await.unwrap();
}

fn start(plan: &str) -> Command {
    Command::RolloutStart(Box::new(RolloutPlan::from_toml(plan).unwrap()))
}

async fn the_same_plan_once_more_changes_nothing_and_another_is_refused<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Off, 3, plain).await;
    let operator = Operator::new(world.db.pool().clone());
    let by = CommandOptions::new("ada", "x");
    // At the same moment, too.
    let command = start(PLAN);
    let give = || operator.command("notes", &command, &by);
    let (one, other, third) = tokio::join!(give(), give(), give());
    let texts = [one, other, third].map(|done| done.unwrap().text);
    let again = texts.iter().filter(|text| text.contains("followed already")).count();
    assert_eq!(again, 2, "{texts:?}");
    assert_eq!(orders(&world.db).await.len(), 1);
    let other = start("[[step]]\nstage = \"dual_write\"");
    for options in [by.clone(), by.clone().dry_run(true)] {
        let refused = operator.command("notes", &other, &options).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
        assert!(refused.to_string().contains("abort"), "{refused}");
    }
    assert_eq!(orders(&world.db).await.len(), 1);
    world.runtime.shutdown().await.unwrap();
}

async fn mistakes_name_line_and_field_and_start_nothing<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Off, 3, plain).await;
    let browser = Browser::of(&world.db);
    for (plan, told) in [
        ("[[step]]\nstage = \"alive\"", "line 2: `stage`: `alive` is no stage"),
        (
            "[[step]]\nstage = \"dual_write\"\n[[step]]\nstage = \"live\"",
            "line 4: `stage`: step 2 of the plan",
        ),
        (
            "[[step]]\nstage = \"off\"",
            "line 2: `stage`: step 1 of the plan: a migration starts at off",
        ),
        (
            "backfill.rate = 0\n[[step]]\nstage = \"dual_write\"",
            "line 1: `backfill`: the backfill's rate",
        ),
        ("hours = [3, 3]\n[[step]]\nstage = \"dual_write\"", "line 1: `hours`: the plan's hours"),
        ("[[step]]\nstage = \"dual_write\"\nhours = [3, 3]", "line 3: `hours`: step 1 of the plan"),
        ("", "the field `plan` is missing"),
    ] {
        let body = serde_json::json!({ "plan": plan, "because": "x" }).to_string();
        let answer = browser.send(START, "application/json", &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{plan}: {}", answer.text);
        assert!(answer.text.contains(told), "{plan}: {}", answer.text);
    }
    for (kind, body, told) in [
        ("application/json", "{", "JSON"),
        ("application/json", "[]", "one JSON object"),
        ("application/json", "{\"plan\": {}, \"because\": \"x\"}", "the field `plan`"),
        ("multipart/form-data", "x", "boundary"),
        ("text/plain", "because=x", "Content-Type"),
    ] {
        let answer = browser.send(START, kind, body).await;
        assert!(answer.status.is_client_error(), "{kind} {body}: {}", answer.status);
        assert!(answer.text.contains(told), "{kind} {body}: {}", answer.text);
    }
    assert_eq!(orders(&world.db).await, []);
    assert_eq!(world.migration.rollout().status().await.unwrap(), None);
    world.runtime.shutdown().await.unwrap();
}

async fn a_plan_that_nobody_can_follow_is_refused<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Off, 3, plain).await;
    let bare = world.runtime.migration("bare").register().await.unwrap();
    let operator = Operator::new(world.db.pool().clone());
    let by = CommandOptions::new("ada", "x");
    let plan = start("backfill = true\n[[step]]\nstage = \"dual_write\"");
    let refused = operator.command(bare.name(), &plan, &by).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
    assert!(refused.to_string().contains("none of the live instances"), "{refused}");
    let far = start("[[step]]\nstage = \"shadow\"");
    let refused = operator.command("notes", &far, &by).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::IllegalMove, "{refused}");
    world.runtime.shutdown().await.unwrap();
    let refused = operator.command("notes", &plan, &by).await.unwrap_err();
    assert!(refused.to_string().contains("start the service"), "{refused}");
    assert_eq!(orders(&world.db).await, []);
}

async fn a_plan_decided_on_another_position_is_refused<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    let operator = Operator::new(world.db.pool().clone());
    let epoch = operator.migration("notes").await.unwrap().epoch;
    world.migration.advance(Stage::Shadow).await.unwrap();
    let stale = CommandOptions::new("ada", "x").expecting(epoch);
    let refused = operator.command("notes", &start(PLAN), &stale).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    assert_eq!(world.migration.rollout().status().await.unwrap(), None);
    // What is over is no hindrance.
    let by = CommandOptions::new("ada", "x");
    operator.command("notes", &start(PLAN), &by).await.unwrap();
    until("no step is left", async || {
        let status = world.migration.rollout().status().await.unwrap().unwrap();
        status.state == RolloutState::Running
    })
    .await;
    operator.command("notes", &Command::RolloutAbort, &by).await.unwrap();
    operator.command("notes", &start(PLAN), &by).await.unwrap();
    world.runtime.shutdown().await.unwrap();
}
