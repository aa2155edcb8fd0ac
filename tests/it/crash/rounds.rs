//! Killed at random, many times.

use std::collections::BTreeSet;

use dualwrite::{Stage, defaults::LEASE};

use super::model::Model;
use super::writers::{Draw, POISON_EVERY};
use crate::processes::Operator;
use crate::support::customers::{BACKFILL, CopyCustomers, Customer, POISON, customers, join};
use crate::support::db::{Scratch, on_all_databases};
use crate::support::process::Child;
use crate::support::sql::Sql;

on_all_databases!(
    at_dual_write,
    at_shadow,
    at_live_before_all_is_copied,
    at_live_when_all_is_copied
);

const ROUNDS: u64 = 2;
const SEED: u64 = 1;
/// So many lines are read from a process, at most, before it is killed.
const LINES: u64 = 300;
/// Keys for each round: somewhat more than the backfill copies in one.
const KEYS: i64 = 90;

/// The backfill runs; the ramp to the next stage goes up and down.
async fn at_dual_write<D: Sql>(db: Scratch<D>) {
    survives::<D>(db, Case { stage: Stage::DualWrite, lazy: false, moves: true, copied: false })
        .await;
}

/// The backfill runs.
async fn at_shadow<D: Sql>(db: Scratch<D>) {
    survives::<D>(db, Case { stage: Stage::Shadow, lazy: false, moves: false, copied: false })
        .await;
}

/// The backfill runs, and what is read before its turn is copied for the reader.
async fn at_live_before_all_is_copied<D: Sql>(db: Scratch<D>) {
    survives::<D>(db, Case { stage: Stage::Live, lazy: true, moves: false, copied: false }).await;
}

/// Old is the side that may miss a write, and is copied back.
async fn at_live_when_all_is_copied<D: Sql>(db: Scratch<D>) {
    survives::<D>(db, Case { stage: Stage::Live, lazy: false, moves: false, copied: true }).await;
}

#[derive(Clone, Copy, Debug)]
struct Case {
    stage: Stage,
    lazy: bool,
    moves: bool,
    /// The backfill is complete before the first process is killed.
    copied: bool,
}

pub(super) fn setting(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
        Err(_) => default,
    }
}

async fn survives<D: Sql>(db: Scratch<D>, case: Case) {
    let rounds = setting("DUALWRITE_CRASH_ROUNDS", ROUNDS);
    let seed = setting("DUALWRITE_CRASH_SEED", SEED);
    println!("{} {case:?}: DUALWRITE_CRASH_ROUNDS={rounds} DUALWRITE_CRASH_SEED={seed}", D::NAME);
    let operator = Operator::with(db, case.lazy).await;
    let last = KEYS * (rounds as i64 + 1);
    let before = begin_with(&operator.db, last, case).await;
    if case.copied {
        operator.go_to(Stage::DualWrite).await;
        BACKFILL.scope((), operator.migration.backfill().run()).await.unwrap();
        assert!(operator.migration.verify().run().await.unwrap().is_clean());
    }
    operator.go_to(case.stage).await;

    let mut model = Model::new(&before);
    let mut draw = Draw(seed ^ (case.stage.code() as u64) << 32);
    for _ in 0..rounds {
        let child = start(&operator, &mut draw, last, case);
        kill(&operator, child, draw.below(LINES), &mut model).await;
    }
    // It completes the backfill at last, goes on for a while, and is killed once more.
    let mut child = start(&operator, &mut draw, last, case);
    until(&mut child, "complete true", &mut model).await;
    kill(&operator, child, draw.below(LINES), &mut model).await;
    let mut child = start(&operator, &mut draw, last, case);
    until(&mut child, "complete true", &mut model).await;
    child.tell("stop").await;
    until(&mut child, "clean", &mut model).await;
    child.end().await;
    let Model { acknowledged, refused, conflicts, .. } = &model;
    println!("{acknowledged} writes acknowledged, {refused} refused, {conflicts} in conflict");
    assert!(*conflicts <= 1 + acknowledged / 100, "{conflicts} conflicts");
    is_whole(&operator.db).await;
    is_complete(&operator, &model, &before).await;
    is_equal(&operator, &model).await;
}

/// The customers at the start; some cannot be copied.
async fn begin_with<D: Sql>(db: &Scratch<D>, last: i64, case: Case) -> Vec<Customer> {
    let customer = |id: i64| {
        let poison = id % POISON_EVERY == 0 && !case.copied;
        let name = if poison { POISON.to_owned() } else { format!("first.{id}") };
        Customer { id, name, visits: 0 }
    };
    let before: Vec<Customer> = (1..=last).map(customer).collect();
    for some in before.chunks(500) {
        let row = |customer: &Customer| format!("({}, '{}', 0)", customer.id, customer.name);
        let rows: Vec<String> = some.iter().map(row).collect();
        db.execute(&format!("INSERT INTO customer VALUES {}", rows.join(", "))).await;
    }
    before
}

fn start<D: Sql>(operator: &Operator<D>, draw: &mut Draw, last: i64, case: Case) -> Child {
    let Case { moves, lazy, .. } = case;
    Child::start(&operator.db, &format!("crash {} {last} {moves} {lazy}", draw.below(1 << 30)))
}

/// Kills the child after so many lines.
async fn kill<D: Sql>(operator: &Operator<D>, mut child: Child, lines: u64, model: &mut Model) {
    for _ in 0..lines {
        model.hear(&child.line().await.expect("it runs until it is killed"));
    }
    for line in child.kill().await {
        model.hear(&line);
    }
    model.killed();
    is_whole(&operator.db).await;
}

/// Listens until the child says this.
async fn until(child: &mut Child, end: &str, model: &mut Model) {
    loop {
        let line = child.line().await.expect("it runs until it is told to end");
        if line == end {
            return;
        }
        model.hear(&line);
    }
}

/// What holds at every moment, so also right after a kill. Each is one statement, so that it sees one
/// moment: a commit may still be on its way.
async fn is_whole<D: Sql>(db: &Scratch<D>) {
    let text = D::sql("TEXT", "TEXT", "CHAR");
    let undone = format!(
        "SELECT count(*) FROM customer_new n LEFT JOIN customer o ON o.id = n.id \
         WHERE (o.id IS NULL OR o.name <> n.full_name OR o.visits <> n.visits) \
         AND NOT EXISTS (SELECT 1 FROM dualwrite_dirty WHERE key_text = CAST(n.id AS {text}))"
    );
    assert_eq!(db.number(&undone).await, 0, "rows of new that are neither as in old nor dirty");
    let counted = "SELECT (SELECT coalesce(sum(migrated + skipped), 0) FROM dualwrite_backfill) \
                   - (SELECT count(*) FROM handled)";
    assert_eq!(db.number(counted).await, 0, "keys counted but not copied, or the reverse");
    let migrated = "SELECT (SELECT coalesce(sum(migrated), 0) FROM dualwrite_backfill) \
                    - (SELECT coalesce(sum(migrated), 0) FROM handled)";
    assert_eq!(
        db.number(migrated).await,
        0,
        "rows counted as changed that were not, or the reverse"
    );
    let unaccounted = "SELECT (SELECT coalesce(sum(failed), 0) FROM dualwrite_backfill) \
                  - (SELECT count(*) FROM dualwrite_failure)";
    assert_eq!(db.number(unaccounted).await, 0, "keys counted as failed that nobody remembers");
}

/// The backfill: complete, every key once, and nothing of the dead is left.
async fn is_complete<D: Sql>(operator: &Operator<D>, model: &Model, before: &[Customer]) {
    let progress = operator.migration.status().await.unwrap().backfill.unwrap();
    assert!(progress.complete);
    assert_eq!(progress.total, before.len() as u64);
    let (poison, healthy): (Vec<&Customer>, Vec<&Customer>) =
        before.iter().partition(|customer| customer.name == POISON);
    assert_eq!(progress.failed, poison.len() as u64);

    let handled: Vec<i64> = numbers(&operator.db, "SELECT id FROM handled").await;
    let once: BTreeSet<i64> = handled.iter().copied().collect();
    assert_eq!(once.len(), handled.len(), "a key was handled twice");
    assert_eq!(progress.migrated + progress.skipped, handled.len() as u64);
    for customer in healthy.into_iter().filter(|customer| model.was_always_there(customer.id)) {
        assert!(once.contains(&customer.id), "key {} was passed over", customer.id);
    }
    let last = before.iter().map(|customer| customer.id).max();
    assert!(once.last().copied() <= last, "{once:?}");

    let letters = numbers(&operator.db, "SELECT key_text FROM dualwrite_failure").await;
    let letters: BTreeSet<i64> = letters.into_iter().collect();
    assert_eq!(letters, poison.iter().map(|customer| customer.id).collect());
    assert_eq!(operator.db.number("SELECT count(*) FROM dualwrite_batch").await, 0);
    assert_eq!(operator.db.number("SELECT count(*) FROM dualwrite_dirty").await, 0);
    // Every change of the position is in the audit, and the audit has no other.
    let epoch = operator.db.number("SELECT epoch FROM dualwrite_migration").await;
    let events: Vec<i64> =
        numbers(&operator.db, "SELECT epoch FROM dualwrite_event ORDER BY id").await;
    assert_eq!(events, (2..=epoch).collect::<Vec<i64>>());
}

async fn is_equal<D: Sql>(operator: &Operator<D>, model: &Model) {
    // What could not be copied can be, now.
    let copy = CopyCustomers::<D>::new(&Default::default()).immune();
    let (_runtime, migration) = join(operator.db.pool(), LEASE, true, copy).await.unwrap();
    // The operator's instance may be trying one by itself, after half a minute, and fail; then once more.
    for _ in 0..10 {
        migration.retry_dead_letters().await.unwrap();
        if migration.dead_letters().await.unwrap().is_empty() {
            break;
        }
    }
    assert!(migration.dead_letters().await.unwrap().is_empty());
    let old =
        customers(operator.db.rows("SELECT id, name, visits FROM customer ORDER BY id").await);
    let new = "SELECT id, full_name, visits FROM customer_new ORDER BY id";
    let new = customers(operator.db.rows(new).await);
    model.check(&old);
    assert_eq!(old, new);
    assert!(operator.migration.verify().run().await.unwrap().is_clean());
}

pub(super) async fn numbers<D: Sql>(db: &Scratch<D>, sql: &str) -> Vec<i64> {
    let rows = db.rows(sql).await.into_iter().flatten().flatten();
    rows.map(|text| text.parse().unwrap()).collect()
}
