//! How soon the other processes see a change.

use std::time::{Duration, Instant};

use dualwrite::{Percent, Stage, defaults::LEASE};

use super::Operator;
use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;

on_all_databases!(every_process_sees_a_change_within_a_second);

const PROCESSES: usize = 3;
const CHANGES: u16 = 9;
const LIMIT: Duration = Duration::from_secs(1);

/// The time runs in this process, because clocks of several processes cannot be compared: from before
/// the change was asked for until this process has read from the last child that it knows. That is more
/// than the time in question by the change itself and by the way of the message, so the bound is kept
/// if it is kept here.
///
/// On a busy machine any of these processes may be set aside for longer than the library takes. That
/// would have to happen in most of the changes to move their median, whereas a library that is too slow
/// (a notification that is not sent, a pause that is too long) is so in all of them.
async fn every_process_sees_a_change_within_a_second<D: Sql>(db: Scratch<D>) {
    let operator = Operator::new(db).await;
    operator.go_to(Stage::DualWrite).await;
    let mut children = Vec::new();
    for _ in 0..PROCESSES {
        children.push(operator.another(LEASE).await.0);
    }
    for child in &mut children {
        child.tell("watch").await;
        child.says("watching").await;
    }
    let mut took = Vec::new();
    for change in 1..=CHANGES {
        let start = Instant::now();
        let position = if change < CHANGES {
            operator.migration.ramp_to(Percent::new(change).unwrap()).await.unwrap()
        } else {
            operator.migration.rollback("latency").await.unwrap()
        };
        for child in &mut children {
            assert_eq!(child.says("sees").await, position.epoch.to_string());
        }
        took.push(start.elapsed());
    }
    took.sort_unstable();
    println!("{}: {took:?}", D::NAME);
    assert!(took[took.len() / 2] < LIMIT, "{took:?}");
    for child in children {
        child.end().await;
    }
}
