//! The demonstration, as `examples/service/run` starts it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use axum::http::StatusCode;
use service_example::{Database, Process, Release, get};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::support::db::{Scratch, TestDb, on_all_databases};

on_all_databases!(
    the_demonstration_loses_nothing_and_answers_rightly,
    a_process_has_a_page_metrics_and_health,
);

/// Far beyond what it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

async fn the_demonstration_loses_nothing_and_answers_rightly<D: TestDb>(db: Scratch<D>) {
    let demo = Command::new(env!("CARGO_BIN_EXE_service"))
        .args(["demo", "--pause", "50ms", "--orders", "300", "--database", &db.url()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output();
    let ended = timeout(PATIENCE, demo).await.expect("it ends").unwrap();
    let [out, err] = [&ended.stdout, &ended.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(ended.status.success(), "{out}{err}");
    assert!(out.ends_with("Nothing was lost.\n"), "{out}");
    assert!(out.contains("position      complete, epoch 9"), "{out}");
    assert_eq!(out.matches("as it must be").count(), 5, "{out}");
    // What was there, and what the load has left.
    assert!(db.number("SELECT count(*) FROM orders").await > 100, "{out}");
}

async fn a_process_has_a_page_metrics_and_health<D: TestDb>(db: Scratch<D>) {
    let url = &*db.url();
    let database = Database::open(url).await.unwrap();
    database.create(10, 1).await.unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_service"));
    let old = Process::start(program, url, Release::Before).await.unwrap();
    assert_eq!(get(old.address, "/livez").await.unwrap().0, StatusCode::NOT_FOUND);
    old.stop().await.unwrap();

    database.expand().await.unwrap();
    let new = Process::start(program, url, Release::After).await.unwrap();
    assert_eq!(get(new.address, "/orders/1").await.unwrap().0, StatusCode::OK);
    for (path, shown) in [
        ("/livez", "\"ok\":true"),
        ("/readyz", "\"ok\":true"),
        ("/admin/dualwrite/view/orders", "orders"),
    ] {
        let (status, text) = get(new.address, path).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        assert!(text.contains(shown), "{path}: {text}");
    }
    // What was counted is published once a second.
    let published = async {
        while !get(new.address, "/metrics").await.unwrap().1.contains("dualwrite_") {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, published).await.expect("metrics of the library");
    new.stop().await.unwrap();
}
