//! Killed at one particular moment, in the middle of something.

use std::time::{Duration, Instant};

use dualwrite::{Stage, defaults::LEASE};

use crate::processes::Operator;
use crate::support::customers::{BACKFILL, CopyCustomers, Customer, Customers, POISON, both, join};
use crate::support::db::{Scratch, on_all_databases};
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(
    between_the_two_writes_neither_is_made,
    inside_a_transaction_no_move_is_held_up,
    inside_a_copy_another_worker_takes_over,
    a_key_is_counted_as_failed_only_with_its_dead_letter,
);

async fn between_the_two_writes_neither_is_made<D: Sql>(db: Scratch<D>) {
    let operator = Operator::new(db).await;
    operator.go_to(Stage::DualWrite).await;
    for place in ["save new", "save old"] {
        let (mut child, _) = operator.another(LEASE).await;
        child.tell(&format!("hold {place}")).await;
        child.tell("save 1 Ada").await;
        child.says(&format!("at {place}")).await;
        assert_eq!(child.kill().await, [""; 0]);
        let nobody: [&str; 0] = [];
        assert_eq!(operator.names().await, [nobody, nobody]);
    }
    // Nothing is locked any more.
    let migration = &operator.migration;
    let customers = both::<D>(migration, operator.db.pool(), &Default::default());
    let mut tx = migration.begin(operator.db.pool()).await.unwrap();
    let ada = Customer { id: 1, name: "Ada".to_owned(), visits: 0 };
    customers.save(&mut tx, &ada).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(operator.names().await, [["Ada"], ["Ada"]]);
}

async fn inside_a_transaction_no_move_is_held_up<D: Sql>(db: Scratch<D>) {
    let operator = Operator::new(db).await;
    let (mut child, _) = operator.another(LEASE).await;
    child.tell("open 1 Ada").await;
    assert_eq!(child.says("open").await, "off");
    let mover = operator.migration.clone();
    let moving = tokio::spawn(async move { mover.advance(Stage::DualWrite).await });
    assert!(!moving.is_finished());
    child.kill().await;
    assert_eq!(moving.await.unwrap().unwrap().stage, Stage::DualWrite);
    let nobody: [&str; 0] = [];
    assert_eq!(operator.names().await, [nobody, nobody]);
}

const RANGE_LEASE: Duration = Duration::from_secs(1);

async fn inside_a_copy_another_worker_takes_over<D: Sql>(db: Scratch<D>) {
    let operator = Operator::new(db).await;
    let rows: Vec<String> = (1..=30).map(|id| format!("({id}, 'Ada', 0)")).collect();
    operator.db.execute(&format!("INSERT INTO customer VALUES {}", rows.join(", "))).await;
    operator.go_to(Stage::DualWrite).await;
    let (mut child, _) = operator.another(LEASE).await;
    child.tell("hold copy").await;
    child.tell(&format!("backfill 5 {}", RANGE_LEASE.as_millis())).await;
    let mut last_commit = Instant::now();
    for _ in 0..3 {
        child.says("at copy").await;
        last_commit = Instant::now();
        child.tell("go").await;
    }
    child.says("at copy").await;
    // On MariaDB the fourth page is copied while the commit of the third is under way.
    let handled = "SELECT count(*) FROM handled";
    until("three pages are committed", async || operator.db.number(handled).await == 15).await;
    assert_eq!(child.kill().await, [""; 0]);
    assert_eq!(operator.db.number(handled).await, 15);
    let migrated = "SELECT migrated FROM dualwrite_backfill WHERE phase = 'new'";
    assert_eq!(operator.db.number(migrated).await, 15);
    let claimed = "SELECT count(*) FROM dualwrite_batch WHERE cursor_key = '15'";
    assert_eq!(operator.db.number(claimed).await, 1);

    // The one range there is belongs to the dead, for as long as its lease lasts.
    let backfill = operator.migration.backfill().batch(5).lease(RANGE_LEASE).run();
    let progress = BACKFILL.scope((), backfill).await.unwrap();
    assert!(last_commit.elapsed() > RANGE_LEASE * 9 / 10);
    assert!(progress.complete);
    assert_eq!(
        (progress.total, progress.migrated, progress.skipped, progress.failed),
        (30, 30, 0, 0)
    );
    assert_eq!(operator.db.number(handled).await, 30);
    assert_eq!(operator.db.number("SELECT count(DISTINCT id) FROM handled").await, 30);
    assert_eq!(operator.db.number("SELECT count(*) FROM dualwrite_batch").await, 0);
    let [old, new] = operator.names().await;
    assert_eq!((old.len(), old), (30, new));
}

/// No process can be killed exactly between two statements from outside, so the second one is made to
/// fail: what it leaves behind is what a crash there would.
async fn a_key_is_counted_as_failed_only_with_its_dead_letter<D: Sql>(db: Scratch<D>) {
    let operator = Operator::new(db).await;
    let rows = format!("INSERT INTO customer VALUES (1, 'Ada', 0), (2, '{POISON}', 0)");
    operator.db.execute(&rows).await;
    operator.go_to(Stage::DualWrite).await;
    let copy = CopyCustomers::<D>::new(&Default::default());
    let (_runtime, migration) = join(operator.db.pool(), LEASE, true, copy).await.unwrap();
    let failed = "SELECT failed FROM dualwrite_backfill WHERE phase = 'new'";

    let no_letters = "ALTER TABLE dualwrite_failure ADD CONSTRAINT no_letters CHECK (attempts < 0)";
    let trigger = "CREATE TRIGGER no_letters BEFORE INSERT ON dualwrite_failure \
                   BEGIN SELECT RAISE(ABORT, 'no letters'); END";
    operator.db.execute(D::sql(trigger, no_letters, no_letters)).await;
    migration.backfill().lease(Duration::ZERO).run().await.unwrap_err();
    assert_eq!(operator.db.number(failed).await, 0);
    let letters = "ALTER TABLE dualwrite_failure DROP CONSTRAINT no_letters";
    operator.db.execute(D::sql("DROP TRIGGER no_letters", letters, letters)).await;
    let progress = migration.backfill().run().await.unwrap();
    assert_eq!((progress.migrated, progress.failed), (1, 1));
    assert_eq!(migration.dead_letters().await.unwrap().len(), 1);
}
