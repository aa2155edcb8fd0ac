//! What one process does to a key while another has it in hand.

use std::time::Duration;

use dualwrite::{Side, Stage, defaults::LEASE};

use super::Operator;
use crate::support::customers::{Customer, Customers, FAILING, both};
use crate::support::db::{Scratch, on_all_databases};
use crate::support::process::PATIENCE;
use crate::support::sql::Sql;

on_all_databases!(
    a_lazy_read_beside_a_backfill_finds_what_that_copied,
    a_repair_beside_the_birth_of_its_row_keeps_it,
    what_old_has_missed_is_not_copied_over_new,
    before_all_is_copied_old_may_miss_nothing,
    a_repair_and_a_write_do_not_wait_for_each_other,
    a_repair_that_has_to_wait_costs_no_lease,
);

/// The read misses the key in new and goes to copy it; by then the backfill has.
async fn a_lazy_read_beside_a_backfill_finds_what_that_copied<D: Sql>(db: Scratch<D>) {
    let operator = Operator::new(db).await;
    operator.db.execute("INSERT INTO customer VALUES (1, 'Ada', 0)").await;
    operator.go_to(Stage::Live).await;
    let (mut child, _) = operator.another(LEASE).await;
    child.tell("hold copy").await;
    child.tell("backfill 10 1000").await;
    child.says("at copy").await;
    let customers = both::<D>(&operator.migration, operator.db.pool(), &Default::default());
    let reading = tokio::spawn(async move { customers.find(1).await.unwrap() });
    operator.until_somebody_waits().await;
    child.tell("go").await;
    child.says("backfill").await;
    assert_eq!(reading.await.unwrap().map(|customer| customer.name).as_deref(), Some("Ada"));
    child.end().await;
}

/// New has a row that old has not: a delete that new missed. The repair is about to delete it there too,
/// while another process brings the customer back on both sides. A row that is not there cannot be
/// locked, so neither knows of the other.
async fn a_repair_beside_the_birth_of_its_row_keeps_it<D: Sql>(db: Scratch<D>) {
    let operator = Operator::new(db).await;
    operator.go_to(Stage::DualWrite).await;
    let (mut child, _) = operator.another(LEASE).await;
    operator.db.execute("INSERT INTO customer_new VALUES (1, 'Ada', 0)").await;
    let marker = operator.db.another_pool(1).await;
    let mark = "INSERT INTO dualwrite_dirty VALUES ('customers', 'new', '1', 1)";
    if has_one_lock_for_all::<D>() {
        D::execute(&marker, mark).await.unwrap(); // only one transaction at a time can write
        child.tell("open 1 Eve").await;
        child.says("open").await;
    } else {
        child.tell("open 1 Eve").await;
        child.says("open").await;
        D::execute(&marker, mark).await.unwrap();
    }
    let repairer = operator.migration.clone();
    let repairing = tokio::spawn(async move { repairer.repair().await.unwrap() });
    operator.until_somebody_waits().await;
    child.tell("commit").await;
    child.says("committed").await;
    repairing.await.unwrap();
    // Whoever repaired it, this process or the other one.
    while operator.db.number("SELECT count(*) FROM dualwrite_dirty").await > 0 {
        operator.migration.repair().await.unwrap();
    }
    assert_eq!(operator.names().await, [["Eve"], ["Eve"]]);
    child.end().await;
}

/// At Live a write that old misses is forgiven and copied back, unless the stale row in old could be
/// copied over the newer one in new before.
async fn what_old_has_missed_is_not_copied_over_new<D: Sql>(db: Scratch<D>) {
    let operator = Operator::with(db, false).await;
    operator.db.execute("INSERT INTO customer VALUES (1, 'Ada', 0)").await;
    operator.go_to(Stage::Shadow).await;
    operator.migration.backfill().run().await.unwrap();
    assert!(operator.migration.verify().run().await.unwrap().is_clean());
    operator.go_to(Stage::Live).await;
    save_in_new_alone(&operator).await.unwrap();
    // The background may have repaired it already. Whichever way it is copied now, new wins.
    operator.migration.copy(&1_i64).await.unwrap();
    operator.migration.repair().await.unwrap();
    assert_eq!(operator.names().await, [["Eve"], ["Eve"]]);
}

/// A lazy migration is live while old is still copied to new.
async fn before_all_is_copied_old_may_miss_nothing<D: Sql>(db: Scratch<D>) {
    let operator = Operator::new(db).await;
    operator.db.execute("INSERT INTO customer VALUES (1, 'Ada', 0)").await;
    operator.go_to(Stage::Live).await;
    save_in_new_alone(&operator).await.unwrap_err();
    operator.migration.backfill().run().await.unwrap();
    assert_eq!(operator.names().await, [["Ada"], ["Ada"]]);
}

async fn save_in_new_alone<D: Sql>(operator: &Operator<D>) -> Result<(), sqlx::Error> {
    let (migration, pool) = (&operator.migration, operator.db.pool());
    let customers = both::<D>(migration, pool, &Default::default());
    let mut tx = migration.begin(pool).await?;
    let eve = Customer { id: 1, name: "Eve".to_owned(), visits: 0 };
    FAILING.scope(Side::Old, customers.save(&mut tx, &eve)).await?;
    Ok(tx.commit().await?)
}

/// A write has changed old and goes on to new, while old is repaired from new.
async fn a_repair_and_a_write_do_not_wait_for_each_other<D: Sql>(db: Scratch<D>) {
    if has_one_lock_for_all::<D>() {
        return;
    }
    let operator = Operator::new(db).await;
    operator.db.execute("INSERT INTO customer VALUES (1, 'Ada', 0)").await;
    operator.go_to(Stage::Live).await;
    operator.migration.backfill().run().await.unwrap();
    let (mut child, _) = operator.another(LEASE).await;
    child.tell("hold save new").await;
    child.tell("save 1 Eve").await;
    child.says("at save new").await;
    operator.db.execute("INSERT INTO dualwrite_dirty VALUES ('customers', 'old', '1', 1)").await;
    let repairer = operator.migration.clone();
    let repairing = tokio::spawn(async move { repairer.repair().await });
    operator.until_somebody_waits().await;
    child.tell("go").await;
    assert_eq!(child.says("saved").await, "live");
    repairing.await.unwrap().unwrap();
    assert_eq!(operator.names().await, [["Eve"], ["Eve"]]);
    child.end().await;
}

/// In SQLite nobody can lock a row and leave the rest.
fn has_one_lock_for_all<D: Sql>() -> bool {
    D::sql("sqlite", "", "") == "sqlite"
}

/// The row of a dirty key is locked for longer than the lease of every process.
async fn a_repair_that_has_to_wait_costs_no_lease<D: Sql>(db: Scratch<D>) {
    if has_one_lock_for_all::<D>() {
        return;
    }
    let operator = Operator::new(db).await;
    operator.db.execute("INSERT INTO customer VALUES (1, 'Ada', 0)").await;
    operator.go_to(Stage::DualWrite).await;
    let (mut child, instance) = operator.another(Duration::from_secs(1)).await;
    let locker = operator.db.another_pool(1).await;
    D::execute(&locker, "BEGIN; UPDATE customer SET visits = 1 WHERE id = 1").await.unwrap();
    operator.db.execute("INSERT INTO dualwrite_dirty VALUES ('customers', 'new', '1', 1)").await;
    operator.until_somebody_waits().await;
    // A second later than it would have ended, its lease has been extended.
    let expiry = format!("SELECT expires_at FROM dualwrite_instance WHERE id = '{instance}'");
    let deadline = operator.db.number(&expiry).await + 1_000_000;
    let extended = async { while operator.db.number(&expiry).await < deadline {} };
    tokio::time::timeout(PATIENCE, extended).await.expect("the lease is extended");
    child.tell("find 1").await;
    assert_eq!(child.says("found 1").await, "Ada");
    D::execute(&locker, "ROLLBACK").await.unwrap();
    child.end().await;
}
