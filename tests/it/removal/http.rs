//! "May I drop?", of a removal, by HTTP, and its page.

use axum::http::StatusCode;
use dualwrite::removal::RemovalPhase;

use super::{declared, table, to};
use crate::page::Browser;
use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(a_pipeline_asks_whether_a_removal_may_go_on);

async fn a_pipeline_asks_whether_a_removal_may_go_on<D: Sql>(db: Scratch<D>) {
    let (runtime, operator) = declared(&db, table()).await;
    let browser = Browser::of(&db);
    assert_eq!(browser.json("/removals").await, serde_json::json!(["old-fax"]));
    let may = async || {
        let answer = browser.json("/removals/old-fax").await;
        let fields = ["may_go_on", "may_drop"].map(|name| answer[name].as_bool().unwrap());
        (answer["phase"].as_str().unwrap().to_owned(), fields)
    };
    assert_eq!(may().await, ("in_use".to_owned(), [true, false]));
    let page = browser.shows("/view-removals/old-fax").await;
    assert!(page.contains("removal stop-writes") && page.contains("in_use"), "{page}");
    to(&db, &operator, RemovalPhase::Renamed).await;
    assert_eq!(may().await, ("renamed".to_owned(), [false, false]));
    let page = browser.shows("/view-removals/old-fax").await;
    assert!(page.contains("no backup was confirmed"), "{page}");
    let led = browser.post("/removals/old-fax/backup", "because=restored&output=2+rows").await;
    assert_eq!(led.status, StatusCode::SEE_OTHER, "{}", led.text);
    assert_eq!(led.headers["location"], "./../../view-removals/old-fax");
    assert_eq!(may().await, ("renamed".to_owned(), [true, true]));
    assert!(browser.shows("/view-removals").await.contains("view-removals/old-fax"));
    let unknown = browser.get("/removals/nothing").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND, "{}", unknown.text);
    runtime.shutdown().await.unwrap();
}
