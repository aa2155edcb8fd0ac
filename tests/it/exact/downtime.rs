//! Planned downtime between two databases: close, copy, verify, move, open.

use std::time::Duration;

use dualwrite::operator::{Command, CommandOptions, Operator};
use dualwrite::{Closed, Error, ErrorKind, Stage};

use super::carts::{CartDb, Fault, Pair, cart, count, find, on_pairs, save};

on_pairs!(
    calls_are_closed_while_it_is_copied_verified_and_moved,
    closing_waits_for_a_write_in_flight,
);

const HOUR: Duration = Duration::from_secs(3_600);

fn ours(error: Fault) -> Error {
    match error {
        Fault::Ours(error) => error,
        Fault::Theirs(error) => panic!("{error}"),
    }
}

async fn calls_are_closed_while_it_is_copied_verified_and_moved<O, N>(pair: Pair<O, N>)
where
    O: CartDb,
    N: CartDb,
{
    for id in 1..=20 {
        let sql = format!("INSERT INTO cart (id, text, count) VALUES ({id}, 'before', {id})");
        pair.old.execute(&sql).await;
    }
    let (carts, other) = (pair.start().await, pair.start().await);
    carts.advance(Stage::DualWrite).await.unwrap();
    carts.close(Closed::Calls, HOUR, "ada", "moving house").await.unwrap();
    for instance in [&carts, &other] {
        let refused = ours(save(instance, 1, Some(&cart("late", 0))).await.unwrap_err());
        assert_eq!(refused.kind(), ErrorKind::Maintenance);
        let said = refused.maintenance().unwrap();
        assert_eq!((&*said.actor, &*said.reason), ("ada", "moving house"));
        let refused = ours(find(instance, 1).await.unwrap_err());
        assert_eq!(refused.kind(), ErrorKind::Maintenance, "reads too");
    }
    assert_eq!(carts.copy().await.unwrap(), 20);
    let report = carts.verify().await.unwrap();
    assert!(report.is_clean() && report.compared == 20, "{report:?}");
    carts.advance(Stage::Live).await.unwrap();
    let refused = ours(save(&other, 1, Some(&cart("late", 0))).await.unwrap_err());
    assert_eq!(refused.kind(), ErrorKind::Maintenance, "the new primary is closed as well");

    carts.close(Closed::Writes, HOUR, "ada", "a last look").await.unwrap();
    assert_eq!(find(&other, 20).await.unwrap(), Some(cart("before", 20)));
    assert!(save(&other, 1, Some(&cart("late", 0))).await.is_err());
    let operator = Operator::new(pair.old.pool().clone());
    let overview = operator.migration("carts").await.unwrap();
    assert_eq!(overview.maintenance.unwrap().closed, Closed::Writes);
    let open = CommandOptions::new("ada", "done");
    let opened = operator.command("carts", &Command::Open, &open).await.unwrap();
    assert!(opened.text.contains("all calls are open"), "{opened:?}");
    for instance in [&carts, &other] {
        count(instance, 7).await.unwrap();
    }
    assert_eq!(find(&carts, 7).await.unwrap(), Some(cart("before", 9)));
    assert_eq!(carts.rollback().await.unwrap(), Stage::DualWrite);
    assert_eq!(find(&carts, 7).await.unwrap(), Some(cart("before", 9)));
    for carts in [carts, other] {
        carts.shutdown().await;
    }
}

async fn closing_waits_for_a_write_in_flight<O: CartDb, N: CartDb>(pair: Pair<O, N>) {
    use dualwrite::exact::ExactSide as _;
    let carts = pair.at(Stage::DualWrite).await;
    let (entered, has_entered) = tokio::sync::oneshot::channel();
    let (go_on, may_go_on) = tokio::sync::oneshot::channel::<()>();
    let writing = tokio::spawn({
        let carts = carts.clone();
        async move {
            carts
                .write(&1)
                .old(|mut tx| {
                    Box::pin(async move {
                        O::SIDE.put(&mut *tx, &1, Some(&cart("in flight", 1))).await?;
                        entered.send(()).unwrap();
                        may_go_on.await.unwrap();
                        Ok::<(), Fault>(())
                    })
                })
                .new(|_| Box::pin(async { Ok(()) }))
                .run()
                .await
        }
    });
    has_entered.await.unwrap();
    let closing = tokio::spawn({
        let carts = carts.clone();
        async move { carts.close(Closed::Writes, HOUR, "ada", "disks").await }
    });
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert!(!closing.is_finished(), "it waits for the write");
    go_on.send(()).unwrap();
    writing.await.unwrap().unwrap();
    closing.await.unwrap().unwrap();
    assert_eq!(find(&carts, 1).await.unwrap(), Some(cart("in flight", 1)));
    assert!(save(&carts, 1, None).await.is_err());
    let refused = carts.close(Closed::Nothing, HOUR, "ada", "x").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    carts.open("ada", "done").await.unwrap();
    save(&carts, 1, None).await.unwrap();
    carts.shutdown().await;
}
