//! The demonstration, as `examples/service/run` starts it.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::support::db::{Scratch, TestDb, on_all_databases};

on_all_databases!(the_demonstration_loses_nothing_and_answers_rightly);

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
