//! Moves that change where a key is written.

use std::sync::Arc;
use std::time::Duration;

use dualwrite::{Gate, Percent, Side, Stage, converging::MirrorFailure};
use tokio::sync::Notify;

use super::stores::{Carts, Fault, Service, quick, quiet};
use crate::support::db::{Scratch, TestDb, on_all_databases};
use crate::support::wait::{ends, until};

use MirrorFailure::{AnswerNow, Report};

on_all_databases!(
    a_move_waits_for_a_write_in_flight_and_names_it_when_it_gives_up,
    a_move_is_refused_while_a_key_waits_to_be_copied,
    moves_under_load_lose_nothing,
);

async fn a_move_waits_for_a_write_in_flight_and_names_it_when_it_gives_up<D: TestDb>(
    db: Scratch<D>,
) {
    let carts = Carts::memory();
    let long = Duration::from_secs(30);
    let service = Service::with(db.pool(), &carts, quick(&carts).mirror_limit(long)).await;
    service.go_to(Stage::Shadow).await;
    service.migration.backfill().run().await.unwrap();
    assert!(service.migration.verify().run().await.unwrap().proven);
    let go = Arc::new(Notify::new());
    let (old, new) = (carts.clone(), carts.clone());
    let waits = Arc::clone(&go);
    let write = service
        .migration
        .converging_write("save", &1_i64)
        .old(move || async move { old.put(Side::Old, 1, Some("kept".to_owned())).await })
        .new(move || async move {
            waits.notified().await;
            new.put(Side::New, 1, Some("kept".to_owned())).await
        })
        .on_mirror_failure(AnswerNow);
    write.run().await.unwrap();
    let error = ends("the move", async { service.migration.advance(Stage::Live).await }).await;
    let error = error.unwrap_err();
    assert!(error.blockers().iter().all(|blocker| blocker.gate == Gate::Drained), "{error}");
    let text = error.to_string();
    assert!(text.contains("1 writes are in flight"), "{text}");
    assert!(text.contains(service.runtime.instance()), "{text}");
    assert_eq!(service.migration.position().stage, Stage::Shadow);
    go.notify_one();
    ends("the move", async { service.migration.advance(Stage::Live).await }).await.unwrap();
    assert_eq!(carts.new.get(1).await.unwrap().as_deref(), Some("kept"));
    // New writes do not wait for a move that is over.
    service.save(1, Some("later"), Report).await.unwrap();
    quiet(&db).await;
    assert_eq!(carts.old.get(1).await.unwrap().as_deref(), Some("later"));
}

async fn a_move_is_refused_while_a_key_waits_to_be_copied<D: TestDb>(db: Scratch<D>) {
    let carts = Carts::memory();
    let service = Service::at(db.pool(), &carts, Stage::Live).await;
    carts.old_faults.down(true);
    service.save(1, Some("kept"), AnswerNow).await.unwrap();
    let error = service.migration.rollback("old answers again").await.unwrap_err();
    assert!(error.blockers().iter().any(|blocker| blocker.gate == Gate::Clean), "{error}");
    assert_eq!(service.migration.position().stage, Stage::Live);
    carts.old_faults.down(false);
    until("it is copied", async || service.migration.repair().await.is_ok_and(|many| many > 0))
        .await;
    service.migration.rollback("old answers again").await.unwrap();
    assert_eq!(carts.old.get(1).await.unwrap().as_deref(), Some("kept"));
}

/// Writers on a busy machine keep moves waiting.
const PATIENCE: Duration = Duration::from_secs(60);

/// Eight writers, while the migration goes there and back, also in part.
async fn moves_under_load_lose_nothing<D: TestDb>(db: Scratch<D>) {
    let carts = Carts::memory();
    let one = Service::at(db.pool(), &carts, Stage::Shadow).await;
    one.migration.backfill().run().await.unwrap();
    let other = Service::with(&db.another_pool(10).await, &carts, quick(&carts)).await;
    let over = std::sync::atomic::AtomicBool::new(false);
    let is_over = || over.load(std::sync::atomic::Ordering::Relaxed);
    let writers = (0..8_i64).map(|id| {
        let service = if id % 2 == 0 { &one } else { &other };
        async move {
            let mut number = 0;
            while !is_over() {
                number += 1;
                let policy = if number % 2 == 0 { Report } else { AnswerNow };
                let text = number.to_string();
                match service.save(id, Some(&text), policy).await {
                    Ok(()) => {}
                    Err(Fault::Ours(error)) => panic!("{id}: {error}"),
                    Err(error) => panic!("{id}: {error}"),
                }
                tokio::task::yield_now().await;
            }
            (id, number)
        }
    });
    let moves = async {
        let to = |percent| Percent::new(percent).unwrap();
        assert!(one.migration.verify().run().await.unwrap().is_clean());
        for _ in 0..2 {
            one.migration.ramp_to(to(50)).within(PATIENCE).await.unwrap();
            one.migration.ramp_to(to(20)).within(PATIENCE).await.unwrap();
            one.migration.advance(Stage::Live).within(PATIENCE).await.unwrap();
            one.migration.rollback("back").within(PATIENCE).await.unwrap();
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let (written, ()) = tokio::join!(futures_util::future::join_all(writers), moves);
    quiet(&db).await;
    let (old, new) = (carts.old.all().await, carts.new.all().await);
    assert_eq!(old, new);
    for (id, number) in written {
        assert_eq!(old[&id], number.to_string(), "the last write of {id} was acknowledged");
    }
}
