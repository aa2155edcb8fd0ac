//! Writes that overlap, instances that die, marks that are lost: forced, one by one.

use std::sync::Arc;
use std::time::Duration;

use dualwrite::{Backend, Side, Stage, converging::MirrorFailure};
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use super::stores::{Carts, Fault, Service, quick, quiet, rows, save};
use crate::support::db::{Scratch, TestDb, on_all_databases};
use crate::support::wait::{ends, until};

use MirrorFailure::{AnswerNow, Report};

on_all_databases!(
    two_instances_that_cross_each_other_converge,
    writes_of_one_instance_follow_each_other,
    a_write_that_ends_while_its_key_is_copied_has_it_copied_again,
    a_copy_that_ends_while_its_key_is_written_is_made_again,
    a_write_of_an_instance_that_died_is_taken_over,
    a_write_whose_mark_is_gone_has_its_key_copied_again,
    an_instance_that_was_taken_for_dead_does_not_write_the_mirror,
);

/// Where a side waits, and how it is let go.
#[derive(Clone, Default)]
struct Gate {
    reached: Arc<Notify>,
    go: Arc<Notify>,
}

impl Gate {
    async fn pass(&self) {
        self.reached.notify_one();
        self.go.notified().await;
    }
}

type Call = Box<dyn FnOnce() -> BoxFuture<'static, Result<(), Fault>> + Send>;

/// Writes a side, behind a gate if there is one.
fn side(carts: &Carts, side: Side, text: &'static str, gate: Option<&Gate>) -> Call {
    let (carts, gate) = (carts.clone(), gate.cloned());
    Box::new(move || {
        Box::pin(async move {
            if let Some(gate) = gate {
                gate.pass().await;
            }
            carts.put(side, 1, Some(text.to_owned())).await
        })
    })
}

fn slow(carts: &Carts) -> dualwrite::converging::Converging<Carts> {
    let long = Duration::from_secs(30);
    quick(carts).primary_limit(long).mirror_limit(long).copy_limit(long)
}

async fn start<DB: Backend>(pool: &sqlx::Pool<DB>, carts: &Carts) -> Service<DB> {
    let service = Service::with(pool, carts, slow(carts)).await;
    service.go_to(Stage::DualWrite).await;
    service
}

async fn two_instances_that_cross_each_other_converge<D: TestDb>(db: Scratch<D>) {
    let carts = Carts::memory();
    let one = start(db.pool(), &carts).await;
    let other = start(&db.another_pool(5).await, &carts).await;
    let gate = Gate::default();
    let first = one
        .migration
        .converging_write("first", &1_i64)
        .old(side(&carts, Side::Old, "first", None))
        .new(side(&carts, Side::New, "first", Some(&gate)))
        .run();
    let second = async {
        gate.reached.notified().await;
        other.save(1, Some("second"), Report).await.unwrap();
        gate.go.notify_one();
    };
    let (written, ()) = tokio::join!(first, second);
    written.unwrap();
    quiet(&db).await;
    assert_eq!(carts.old.get(1).await.unwrap().as_deref(), Some("second"));
    assert_eq!(carts.new.get(1).await.unwrap().as_deref(), Some("second"));
}

async fn writes_of_one_instance_follow_each_other<D: TestDb>(db: Scratch<D>) {
    let carts = Carts::memory();
    let service = start(db.pool(), &carts).await;
    let gate = Gate::default();
    let first = service
        .migration
        .converging_write("first", &1_i64)
        .old(side(&carts, Side::Old, "first", None))
        .new(side(&carts, Side::New, "first", Some(&gate)))
        .run();
    let second = async {
        gate.reached.notified().await;
        // This one is not kept waiting; its mirror is left to the repair.
        service.save(1, Some("second"), AnswerNow).await.unwrap();
        assert_eq!(carts.old.get(1).await.unwrap().as_deref(), Some("second"));
        gate.go.notify_one();
    };
    let (written, ()) = tokio::join!(first, second);
    written.unwrap();
    quiet(&db).await;
    assert_eq!(carts.old.get(1).await.unwrap().as_deref(), Some("second"));
    assert_eq!(carts.new.get(1).await.unwrap().as_deref(), Some("second"));
    service.save(1, Some("third"), Report).await.unwrap();
    assert_eq!(carts.new.get(1).await.unwrap().as_deref(), Some("third"));
}

/// The copy has read the primary, and is on its way to the mirror, while a write begins and ends.
async fn a_write_that_ends_while_its_key_is_copied_has_it_copied_again<D: TestDb>(db: Scratch<D>) {
    let carts = Carts::memory();
    let one = start(db.pool(), &carts).await;
    // It looks so seldom that it copies nothing.
    let (pool, seldom) = (db.another_pool(5).await, Duration::from_secs(450));
    let other = Service::with_lease(&pool, &carts, slow(&carts), seldom).await;
    carts.copy_gate.set(true);
    carts.new_faults.strike_next(super::stores::Strike::Fail);
    one.save(1, Some("first"), AnswerNow).await.unwrap();
    ends("a copy has read", carts.copy_gate.reached()).await;
    let (copies, saves) = (&carts.copy_gate, other.save(1, Some("second"), Report));
    ends("the write", saves).await.unwrap();
    until("no write is in flight", async || rows(&db, "mark").await == 0).await;
    copies.set(false);
    quiet(&db).await;
    assert_eq!(carts.old.get(1).await.unwrap().as_deref(), Some("second"));
    assert_eq!(carts.new.get(1).await.unwrap().as_deref(), Some("second"));
}

/// The copy has read the primary before the write, and reaches the mirror after it; the write ends last.
async fn a_copy_that_ends_while_its_key_is_written_is_made_again<D: TestDb>(db: Scratch<D>) {
    let carts = Carts::memory();
    let one = start(db.pool(), &carts).await;
    let (pool, seldom) = (db.another_pool(5).await, Duration::from_secs(450));
    let other = Service::with_lease(&pool, &carts, slow(&carts), seldom).await;
    carts.copy_gate.set(true);
    carts.new_faults.strike_next(super::stores::Strike::Fail);
    one.save(1, Some("first"), AnswerNow).await.unwrap();
    ends("a copy has read", carts.copy_gate.reached()).await;
    let gate = Gate::default();
    let (too, held) = (carts.clone(), gate.clone());
    let write = other
        .migration
        .converging_write("second", &1_i64)
        .old(side(&carts, Side::Old, "second", None))
        .new(move || async move {
            too.put(Side::New, 1, Some("second".to_owned())).await?;
            held.pass().await;
            Ok(())
        })
        .run();
    let copied = async {
        gate.reached.notified().await;
        carts.copy_gate.set(false);
        until("the stale copy arrives", async || {
            carts.new.get(1).await.unwrap().as_deref() == Some("first")
        })
        .await;
        until("the copy has ended", async || {
            db.number("SELECT count(*) FROM dualwrite_unsettled WHERE claimed_until > 0").await == 0
        })
        .await;
        gate.go.notify_one();
    };
    let (written, ()) = tokio::join!(write, copied);
    written.unwrap();
    quiet(&db).await;
    assert_eq!(carts.old.get(1).await.unwrap().as_deref(), Some("second"));
    assert_eq!(carts.new.get(1).await.unwrap().as_deref(), Some("second"));
}

async fn a_write_of_an_instance_that_died_is_taken_over<D: TestDb>(db: Scratch<D>) {
    let carts = Carts::memory();
    let survivor = Service::at(db.pool(), &carts, Stage::DualWrite).await;
    let pool = db.another_pool(5).await;
    let too = carts.clone();
    // The process that dies: its tokio ends in the middle of a write.
    let dying = std::thread::spawn(move || {
        let tokio = tokio::runtime::Runtime::new().unwrap();
        tokio.block_on(async {
            let service = Service::with(&pool, &too, slow(&too)).await;
            let gate = Gate::default();
            let write = service
                .migration
                .converging_write("dies", &1_i64)
                .old(side(&too, Side::Old, "kept", None))
                .new(side(&too, Side::New, "never", Some(&gate)))
                .on_mirror_failure(AnswerNow)
                .run();
            write.await.unwrap();
            gate.reached.notified().await;
            std::mem::forget(service);
        });
        tokio.shutdown_background();
    });
    dying.join().unwrap();
    assert_eq!(carts.new.get(1).await.unwrap(), None);
    quiet(&db).await;
    assert_eq!(carts.new.get(1).await.unwrap().as_deref(), Some("kept"));
    assert_eq!(survivor.migration.status().await.unwrap().counters.converging_adopted, 1);
}

async fn a_write_whose_mark_is_gone_has_its_key_copied_again<D: TestDb>(db: Scratch<D>) {
    let carts = Carts::memory();
    let service = start(db.pool(), &carts).await;
    let gate = Gate::default();
    let write = service
        .migration
        .converging_write("slow", &1_i64)
        .old(side(&carts, Side::Old, "newer", None))
        .new(side(&carts, Side::New, "stale", Some(&gate)))
        .run();
    let lost = async {
        gate.reached.notified().await;
        db.execute("DELETE FROM dualwrite_mark").await;
        gate.go.notify_one();
    };
    let (written, ()) = tokio::join!(write, lost);
    written.unwrap();
    until("the key is copied", async || {
        carts.new.get(1).await.unwrap().as_deref() == Some("newer")
    })
    .await;
    quiet(&db).await;
}

/// Its lease has run out over the primary: others may have copied the key, and moved on.
async fn an_instance_that_was_taken_for_dead_does_not_write_the_mirror<D: TestDb>(db: Scratch<D>) {
    let carts = Carts::memory();
    let service = start(db.pool(), &carts).await;
    let gate = Gate::default();
    let write = service
        .migration
        .converging_write("slow", &1_i64)
        .old(side(&carts, Side::Old, "kept", Some(&gate)))
        .new(side(&carts, Side::New, "without a lease", None))
        .run();
    let lapsed = async {
        gate.reached.notified().await;
        // Heartbeats fail from here on.
        db.execute("ALTER TABLE dualwrite_instance RENAME TO hidden_instance").await;
        until("the lease has run out", async || {
            let read = service.migration.read("look", &1_i64).old(|| async { Ok::<_, Fault>(()) });
            read.new(|| async { Ok(()) }).run().await.is_err()
        })
        .await;
        gate.go.notify_one();
    };
    let (written, ()) = tokio::join!(write, lapsed);
    assert_eq!(written.unwrap_err().kind(), Some(dualwrite::ErrorKind::MirrorFailed));
    assert_eq!(carts.new.get(1).await.unwrap(), None, "the mirror was written without a lease");
    db.execute("ALTER TABLE hidden_instance RENAME TO dualwrite_instance").await;
    quiet(&db).await;
    assert_eq!(carts.new.get(1).await.unwrap().as_deref(), Some("kept"));
    save(&service.migration, &carts, 2, None, Report).await.unwrap();
}
