//! A process that stands still for longer than its lease: a debugger, a machine that was suspended, a
//! collector of garbage next door.

use std::time::Duration;

use dualwrite::{ErrorKind, Gate, Stage};

use super::Operator;
use crate::support::customers::{Customer, Customers, both};
use crate::support::db::{Scratch, on_all_databases};
use crate::support::process::PATIENCE;
use crate::support::sql::Sql;

on_all_databases!(a_paused_process_holds_nothing_up_and_answers_from_no_stage_that_has_passed);

/// Long enough that two statements after the pause are well within it.
const LEASE: Duration = Duration::from_secs(2);
const READS: usize = 20;

async fn a_paused_process_holds_nothing_up_and_answers_from_no_stage_that_has_passed<D: Sql>(
    db: Scratch<D>,
) {
    let operator = Operator::new(db).await;
    operator.db.execute("INSERT INTO customer VALUES (1, 'Ada', 0)").await;
    let (mut child, instance) = operator.another(LEASE).await;
    child.tell("hold find old").await;
    child.tell("find 1").await;
    child.says("at find old").await;
    child.pause();

    // While its lease lasts, its read of old is waited for; then no longer.
    let migration = &operator.migration;
    migration.advance(Stage::DualWrite).await.unwrap();
    let blocked = migration.advance(Stage::Shadow).within(Duration::ZERO).await.unwrap_err();
    assert_eq!(blocked.kind(), ErrorKind::Blocked);
    assert_eq!(blocked.blockers()[0].gate, Gate::Drained);
    migration.advance(Stage::Shadow).within(PATIENCE).await.unwrap();
    let live = migration.status().await.unwrap().instances;
    assert!(live.iter().all(|report| report.id != instance), "{live:?}");

    // On to where old is not written any more.
    migration.backfill().run().await.unwrap();
    assert!(migration.verify().run().await.unwrap().is_clean());
    operator.go_to(Stage::Complete).await;
    let customers = both::<D>(migration, operator.db.pool(), &Default::default());
    let mut tx = migration.begin(operator.db.pool()).await.unwrap();
    let eve = Customer { id: 1, name: "Eve".to_owned(), visits: 0 };
    customers.save(&mut tx, &eve).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(operator.names().await, [["Ada"], ["Eve"]]);

    // It wakes up, with reads to serve before it has looked at the control tables.
    for _ in 0..READS {
        child.tell("find 1").await;
    }
    child.resume();
    for _ in 0..READS {
        let answer = child.says("found 1").await;
        assert!(["unknown", "Eve"].contains(&answer.as_str()), "{answer}");
    }
    // Soon it knows the stage again. The read that began before the pause still must not answer.
    loop {
        child.tell("find 1").await;
        match child.says("found 1").await.as_str() {
            "unknown" => {}
            "Eve" => break,
            other => panic!("{other}"),
        }
    }
    child.tell("go").await;
    assert_eq!(child.says("found 1").await, "unknown");
    child.tell("save 2 Bob").await;
    assert_eq!(child.says("saved").await, "complete");
    assert_eq!(operator.names().await, [vec!["Ada"], vec!["Eve", "Bob"]]);
    child.end().await;
}
