//! "May I drop?", as a deployment pipeline asks by HTTP, and the page of a contract.

use axum::http::StatusCode;
use dualwrite::operator::Caller;

use super::world::over;
use crate::page::Browser;
use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(a_pipeline_asks_whether_old_may_be_dropped, what_cannot_be_said_is_refused);

const JSON: &str = "application/json";

async fn a_pipeline_asks_whether_old_may_be_dropped<D: Sql>(db: Scratch<D>) {
    let over = over(db).await;
    let browser = Browser::of(&over.db);
    assert_eq!(browser.json("/contracts").await, serde_json::json!(["notes"]));
    let answer = browser.json("/contracts/notes").await;
    assert_eq!(answer["may_drop"], true, "{answer}");
    assert!(answer["statements"][0].as_str().unwrap().starts_with("DROP TABLE"), "{answer}");
    assert!(browser.shows("/view/notes/contract").await.contains("Yes: all evidence is there"));

    over.execute("DELETE FROM dualwrite_approval").await;
    over.execute("DELETE FROM dualwrite_contract_event WHERE what = 'backup'").await;
    let answer = browser.json("/contracts/notes").await;
    assert_eq!((&answer["may_drop"], &answer["evidence"]), (&false.into(), &serde_json::json!([])));
    let kinds = [0, 1].map(|at| answer["missing"][at]["kind"].as_str().unwrap().to_owned());
    assert_eq!(kinds, ["backup", "approval"], "{answer}");
    let page = browser.shows("/view/notes/contract").await;
    assert!(page.contains("nobody has given the approval") && page.contains("Give the approval"));

    let said = r#"{"because": "restored beside it", "output": "5 rows"}"#;
    let answer = browser.send("/contracts/notes/backup", JSON, said).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert!(answer.text.contains(r#""may_drop":false"#), "{}", answer.text);
    let led = browser.post("/contracts/notes/approve", "because=nobody+reads+it").await;
    assert_eq!(led.status, StatusCode::SEE_OTHER, "{}", led.text);
    assert_eq!(led.headers["location"], "./../../view/notes/contract");
    assert_eq!(browser.json("/contracts/notes").await["may_drop"], true);
    over.is_untouched().await;

    let contract = over.operator.contract("notes");
    let backup = contract.events().await.unwrap().swap_remove(0);
    assert_eq!((&*backup.what, &*backup.actor, &*backup.detail), ("backup", "ada", "5 rows"));
    contract.run().by("ada").because("over").await.unwrap();
    let answer = browser.json("/contracts/notes").await;
    assert_eq!((&answer["ended"], &answer["may_drop"]), (&true.into(), &false.into()));
    assert!(browser.shows("/view/notes/contract").await.contains("It was dropped"));
}

async fn what_cannot_be_said_is_refused<D: Sql>(db: Scratch<D>) {
    let over = over(db).await;
    over.execute("DELETE FROM dualwrite_approval").await;
    let browser = Browser::of(&over.db);
    let unknown = browser.get("/contracts/nothing").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND, "{}", unknown.text);
    assert!(unknown.text.contains("nothing"), "{}", unknown.text);
    for (said, field) in [("{}", "because"), (r#"{"because":"x","by":"eve"}"#, "by")] {
        let refused = browser.send("/contracts/notes/approve", JSON, said).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.text);
        assert!(refused.text.contains(&format!("`{field}`")), "{}", refused.text);
    }
    let reader = Browser::logged_in(&over.db, Caller::reader("eve"));
    let refused = reader.send("/contracts/notes/approve", JSON, r#"{"because":"x"}"#).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text);
    let page = reader.shows("/view/notes/contract").await;
    assert!(!page.contains("Give the approval"), "{page}");
    assert_eq!(reader.json("/contracts/notes").await["may_drop"], false);
}
