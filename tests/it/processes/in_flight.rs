//! What another process has in flight holds up a move, for as long as that lasts and no longer.

use std::time::Duration;

use dualwrite::{ErrorKind, Gate, Stage, defaults::LEASE};

use super::Operator;
use crate::support::db::{Scratch, on_all_databases};
use crate::support::process::PATIENCE;
use crate::support::sql::Sql;

on_all_databases!(
    a_move_and_a_backfill_wait_for_a_read_in_another_process,
    a_rollback_waits_for_no_read,
    a_move_waits_for_a_transaction_in_another_process,
);

async fn a_move_and_a_backfill_wait_for_a_read_in_another_process<D: Sql>(db: Scratch<D>) {
    let operator = Operator::new(db).await;
    operator.db.execute("INSERT INTO customer VALUES (1, 'Ada', 0)").await;
    let (mut child, instance) = operator.another(LEASE).await;
    child.tell("hold find old").await;
    child.tell("find 1").await;
    child.says("at find old").await;

    // The read began at Off. The next stage may be entered, for old still answers there.
    let off = operator.migration.position().epoch.0;
    operator.migration.advance(Stage::DualWrite).await.unwrap();
    operator.until(&instance, |seen, drained| seen > off && drained == off).await;

    let blocked =
        operator.migration.advance(Stage::Shadow).within(Duration::ZERO).await.unwrap_err();
    assert_eq!(blocked.kind(), ErrorKind::Blocked);
    let [blocker] = blocked.blockers() else { panic!("{:?}", blocked.blockers()) };
    assert_eq!(blocker.gate, Gate::Drained);
    assert!(blocker.reason.contains(&instance), "{}", blocker.reason);

    // Both wait, and go on when the read is over.
    let (mover, copier) = (operator.migration.clone(), operator.migration.clone());
    let moving = tokio::spawn(async move { mover.advance(Stage::Shadow).within(PATIENCE).await });
    let copying = tokio::spawn(async move { copier.backfill().run().await });
    let [_, new] = operator.names().await;
    assert!(new.is_empty() && !moving.is_finished() && !copying.is_finished());
    child.tell("go").await;
    assert_eq!(child.says("found 1").await, "Ada");
    assert_eq!(moving.await.unwrap().unwrap().stage, Stage::Shadow);
    assert_eq!(copying.await.unwrap().unwrap().migrated, 1);
    child.end().await;
}

async fn a_rollback_waits_for_no_read<D: Sql>(db: Scratch<D>) {
    let operator = Operator::new(db).await;
    operator.db.execute("INSERT INTO customer VALUES (1, 'Ada', 0)").await;
    operator.go_to(Stage::Shadow).await;
    let (mut child, _) = operator.another(LEASE).await;
    child.tell("hold find old").await;
    child.tell("find 1").await;
    child.says("at find old").await;
    operator.migration.advance(Stage::Live).await.unwrap();
    let back = operator.migration.rollback("latency").within(Duration::ZERO).await.unwrap();
    assert_eq!(back.stage, Stage::Shadow);
    child.tell("hold nobody").await;
    assert_eq!(child.says("found 1").await, "Ada");
    child.end().await;
}

async fn a_move_waits_for_a_transaction_in_another_process<D: Sql>(db: Scratch<D>) {
    let operator = Operator::new(db).await;
    let (mut child, _) = operator.another(LEASE).await;
    child.tell("open 1 Ada").await;
    assert_eq!(child.says("open").await, "off");
    let mover = operator.migration.clone();
    let moving = tokio::spawn(async move { mover.advance(Stage::DualWrite).await });
    assert!(!moving.is_finished());
    child.tell("commit").await;
    child.says("committed").await;
    assert_eq!(moving.await.unwrap().unwrap().stage, Stage::DualWrite);
    child.tell("save 2 Bob").await;
    assert_eq!(child.says("saved").await, "dual_write");
    // What was begun at Off went to old alone, what was begun later to both.
    assert_eq!(operator.names().await, [vec!["Ada", "Bob"], vec!["Bob"]]);
    child.end().await;
}
