//! Two workers of one backfill, in two processes, of which one after the other is killed at random moments;
//! and a verification that is.

use std::collections::BTreeSet;
use std::time::Duration;

use dualwrite::{Stage, backfill::Throttle, defaults::LEASE};

use super::rounds::{numbers, setting};
use super::writers::Draw;
use crate::processes::Operator;
use crate::support::customers::{BACKFILL, CopyCustomers, POISON, Places, join};
use crate::support::db::{Scratch, on_all_databases};
use crate::support::process::{Call, Child, say};
use crate::support::sql::Sql;

on_all_databases!(two_workers_in_two_processes, a_verification_goes_on_after_a_kill);

const KEYS: u64 = 240;
const POISON_EVERY: u64 = 60;
const KILLS: u64 = 4;
/// Lines of both workers between two kills, at most.
const LINES: u64 = 12;
const BATCH: u32 = 4;
/// Short, so that nobody waits long for what the dead have claimed.
const RANGE_LEASE: Duration = Duration::from_millis(400);

/// Arguments: what to do.
pub(crate) async fn work<D: Sql>(mut call: Call) {
    let pool = call.pool::<D>(4).await;
    let copy = CopyCustomers::<D>::new(&std::sync::Arc::<Places>::default()).telling();
    let (runtime, migration) = join(&pool, LEASE, true, copy).await.unwrap();
    say("ready");
    match call.argument::<String>(0).as_str() {
        "backfill" => {
            let work = async {
                loop {
                    let run = migration.backfill().batch(BATCH).lease(RANGE_LEASE).run();
                    match run.await {
                        Ok(progress) => return say(format_args!("complete {}", progress.complete)),
                        Err(error) => say(format_args!("trouble {error:?}")),
                    }
                }
            };
            BACKFILL.scope((), work).await;
        }
        _ => {
            let told = Throttle::default().when(|| {
                say("chunk");
                None
            });
            let run = migration.verify().batch(10).checkpoint(1).throttle(told).run();
            say(format_args!("verified {}", run.await.unwrap().compared));
        }
    }
    assert_eq!(call.order().await, ["end"]);
    runtime.shutdown().await.unwrap();
}

async fn worker<D: Sql>(operator: &Operator<D>, role: &str) -> Child {
    let mut child = Child::start(&operator.db, &format!("worker {role}"));
    child.says("ready").await;
    child
}

async fn begin_with<D: Sql>(operator: &Operator<D>) {
    let name = |id: u64| if id.is_multiple_of(POISON_EVERY) { POISON } else { "Ada" };
    let rows: Vec<String> = (1..=KEYS).map(|id| format!("({id}, '{}', 0)", name(id))).collect();
    operator.db.execute(&format!("INSERT INTO customer VALUES {}", rows.join(", "))).await;
    operator.go_to(Stage::DualWrite).await;
}

async fn two_workers_in_two_processes<D: Sql>(db: Scratch<D>) {
    let seed = setting("DUALWRITE_CRASH_SEED", 1);
    println!("{}: DUALWRITE_CRASH_SEED={seed}", D::NAME);
    let operator = Operator::<D>::new(db).await;
    begin_with(&operator).await;
    let mut draw = Draw(seed);
    let mut workers = [worker(&operator, "backfill").await, worker(&operator, "backfill").await];
    let mut complete = 0;
    for _ in 0..KILLS {
        for _ in 0..draw.below(LINES) {
            let [one, two] = &mut workers;
            let line = tokio::select! {
                line = one.line() => line,
                line = two.line() => line,
            };
            complete +=
                u64::from(line.expect("it works until it is killed").starts_with("complete"));
        }
        let which = draw.below(2) as usize;
        let next = worker(&operator, "backfill").await;
        std::mem::replace(&mut workers[which], next).kill().await;
        is_exact(&operator).await;
    }
    assert_eq!(complete, 0, "they are killed before the end");
    for mut worker in workers {
        loop {
            match worker.line().await.expect("it works to the end").as_str() {
                "complete true" => break worker.end().await,
                "copy" => {}
                other => assert!(other.starts_with("trouble"), "{other}"),
            }
        }
    }
    is_exact(&operator).await;
    let progress = operator.migration.status().await.unwrap().backfill.unwrap();
    let poison = KEYS / POISON_EVERY;
    assert!(progress.complete && progress.workers.is_empty());
    assert_eq!((progress.total, progress.failed), (KEYS, poison));
    assert_eq!((progress.migrated, progress.skipped), (KEYS - poison, 0));
    assert_eq!(operator.db.number("SELECT count(*) FROM dualwrite_batch").await, 0);
    let [old, new] = operator.names().await;
    assert_eq!((old.len() as u64, new.len() as u64), (KEYS, KEYS - poison));
    let letters = operator.migration.dead_letters().await.unwrap();
    let letters: BTreeSet<String> = letters.into_iter().map(|letter| letter.key).collect();
    let expected = (1..=poison).map(|number| (number * POISON_EVERY).to_string()).collect();
    assert_eq!(letters, expected);
}

/// At every moment: what is counted is copied, and nothing is twice.
async fn is_exact<D: Sql>(operator: &Operator<D>) {
    let counted = "SELECT (SELECT coalesce(sum(migrated + skipped), 0) FROM dualwrite_backfill) \
                   - (SELECT count(*) FROM handled)";
    assert_eq!(operator.db.number(counted).await, 0);
    let handled = numbers(&operator.db, "SELECT id FROM handled").await;
    let once: BTreeSet<i64> = handled.iter().copied().collect();
    assert_eq!(once.len(), handled.len(), "a key was handled twice");
    let unaccounted = "SELECT (SELECT coalesce(sum(failed), 0) FROM dualwrite_backfill) \
                  - (SELECT count(*) FROM dualwrite_failure)";
    assert_eq!(operator.db.number(unaccounted).await, 0);
}

async fn a_verification_goes_on_after_a_kill<D: Sql>(db: Scratch<D>) {
    let operator = Operator::<D>::new(db).await;
    let rows: Vec<String> = (1..=KEYS).map(|id| format!("({id}, 'Ada', 0)")).collect();
    operator.db.execute(&format!("INSERT INTO customer VALUES {}", rows.join(", "))).await;
    operator.go_to(Stage::DualWrite).await;
    BACKFILL.scope((), operator.migration.backfill().run()).await.unwrap();
    operator.db.execute("UPDATE customer_new SET visits = 1 WHERE id IN (3, 239)").await;
    let mut child = worker(&operator, "verify").await;
    for _ in 0..Draw(setting("DUALWRITE_CRASH_SEED", 1)).below(10) + 2 {
        child.says("chunk").await;
    }
    let rest = child.kill().await;
    assert!(rest.iter().all(|line| line == "chunk"), "it is killed before the end: {rest:?}");
    let half = operator.migration.status().await.unwrap().verification.unwrap();
    assert!(half.compared >= 20 && half.compared < KEYS && !half.proven, "{half:?}");

    let report = operator.migration.verify().batch(10).checkpoint(1).run().await.unwrap();
    assert!(report.resumed && !report.proven);
    assert_eq!(report.compared, KEYS, "each key once, by the dead or by us");
    assert_eq!(report.keys, ["3", "239"], "what the dead found is not forgotten");
    operator.migration.verify().repair().run().await.unwrap();
    assert!(operator.migration.verify().run().await.unwrap().proven);
}
