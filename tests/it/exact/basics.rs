//! What exact mode does where nothing goes wrong, and what it refuses.

use std::time::Duration;

use dualwrite::{
    ErrorKind, Side, Stage,
    exact::{Exact, ExactSide},
};

use super::carts::{CartDb, Fault, NAME, Pair, cart, count, find, on_pairs, quiet, save};
use crate::support::db::{PostgresDb, TestDb};

async fn records_go_over_and_back<O: CartDb, N: CartDb>(pair: Pair<O, N>) {
    pair.old
        .execute("INSERT INTO cart (id, text, count) VALUES (1, 'before', 1), (2, 'gone soon', 0)")
        .await;
    pair.new.execute("INSERT INTO cart (id, text, count) VALUES (9, 'orphan', 9)").await;
    let carts = pair.start().await;
    assert_eq!(carts.status().await.unwrap().stage, Stage::Off);
    save(&carts, 3, Some(&cart("off", 3))).await.unwrap();
    assert_eq!(pair.old.number("SELECT count(*) FROM dualwrite_outbox").await, 0);

    carts.advance(Stage::DualWrite).await.unwrap();
    let refused = carts.advance(Stage::Live).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Blocked);
    assert!(refused.to_string().contains("`copy`"), "{refused}");
    assert_eq!(carts.copy().await.unwrap(), 3);
    save(&carts, 2, None).await.unwrap();
    count(&carts, 1).await.unwrap();
    quiet(&carts).await;
    let [old, new] = pair.all().await;
    assert_eq!(old, new);
    assert_eq!(old.keys().copied().collect::<Vec<_>>(), [1, 3]);

    carts.advance(Stage::Live).await.unwrap();
    let status = carts.status().await.unwrap();
    assert_eq!((status.stage, status.primary, status.open), (Stage::Live, Side::New, true));
    count(&carts, 1).await.unwrap();
    save(&carts, 2, Some(&cart("again", 5))).await.unwrap();
    assert_eq!(find(&carts, 1).await.unwrap().unwrap().count, 3);
    assert!(carts.verify().await.unwrap().is_clean());

    assert_eq!(carts.rollback().await.unwrap(), Stage::DualWrite);
    assert_eq!(find(&carts, 2).await.unwrap(), Some(cart("again", 5)));
    count(&carts, 1).await.unwrap();
    quiet(&carts).await;
    let [old, new] = pair.all().await;
    assert_eq!(old, new);
    assert_eq!(old[&1].count, 4);
    carts.shutdown().await;
}

async fn the_last_stages_are_left_alone_and_come_back<O: CartDb, N: CartDb>(pair: Pair<O, N>) {
    let carts = pair.at(Stage::Live).await;
    save(&carts, 1, Some(&cart("live", 1))).await.unwrap();
    carts.advance(Stage::Complete).await.unwrap();
    save(&carts, 1, Some(&cart("complete", 2))).await.unwrap();
    save(&carts, 2, Some(&cart("complete", 2))).await.unwrap();
    assert_eq!(pair.new.number("SELECT count(*) FROM dualwrite_outbox").await, 0);
    assert_eq!(carts.rollback().await.unwrap(), Stage::Live);
    assert_eq!(
        carts.rollback().await.unwrap_err().kind(),
        ErrorKind::Blocked,
        "nothing was copied"
    );
    carts.copy().await.unwrap();
    assert_eq!(carts.rollback().await.unwrap(), Stage::DualWrite);
    let [old, new] = pair.all().await;
    assert_eq!(old, new);
    assert_eq!(find(&carts, 1).await.unwrap(), Some(cart("complete", 2)));
    assert_eq!(carts.rollback().await.unwrap(), Stage::Off);
    assert_eq!(carts.rollback().await.unwrap_err().kind(), ErrorKind::IllegalMove);
    for stage in [Stage::Shadow, Stage::RampDown] {
        assert_eq!(carts.advance(stage).await.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    assert_eq!(carts.advance(Stage::Live).await.unwrap_err().kind(), ErrorKind::IllegalMove);
    carts.shutdown().await;
    assert_eq!(carts.status().await.unwrap_err().kind(), ErrorKind::ShuttingDown);
}

async fn a_write_that_fails_leaves_nothing<O: CartDb, N: CartDb>(pair: Pair<O, N>) {
    let carts = pair.at(Stage::DualWrite).await;
    let written = carts
        .write(&7)
        .old(|mut tx| {
            Box::pin(async move {
                O::SIDE.put(&mut *tx, &7, Some(&cart("half", 0))).await?;
                Err::<(), Fault>(Fault::Theirs("refused".into()))
            })
        })
        .new(|_| Box::pin(async { Ok(()) }))
        .run()
        .await;
    assert!(matches!(written, Err(Fault::Theirs(_))), "{written:?}");
    assert_eq!(find(&carts, 7).await.unwrap(), None);
    assert_eq!(pair.old.number("SELECT count(*) FROM dualwrite_outbox").await, 0);
    let wrong = carts
        .write("a text")
        .old(|_| Box::pin(async { Ok(()) }))
        .new(|_| Box::pin(async { Ok(()) }));
    let wrong: Result<(), Fault> = wrong.run().await;
    assert_eq!(wrong.unwrap_err().kind(), Some(ErrorKind::WrongKey));
    let none: Result<(), Fault> = carts
        .write_all::<i64>(&[])
        .old(|_| Box::pin(async { Ok(()) }))
        .new(|_| Box::pin(async { Ok(()) }))
        .run()
        .await;
    assert_eq!(none.unwrap_err().kind(), Some(ErrorKind::InvalidInput));
    carts.shutdown().await;
}

async fn a_caller_can_wait_for_the_mirror<O: CartDb, N: CartDb>(pair: Pair<O, N>) {
    let carts = pair.at(Stage::DualWrite).await;
    let wait = Duration::from_secs(20);
    let both = [cart("one", 1), cart("two", 2)];
    let both = &both;
    carts
        .write_all(&[2, 1])
        .old(|mut tx| {
            Box::pin(async move {
                O::SIDE.put(&mut *tx, &1, Some(&both[0])).await?;
                Ok::<(), Fault>(O::SIDE.put(&mut *tx, &2, Some(&both[1])).await?)
            })
        })
        .new(|_| Box::pin(async { Ok(()) }))
        .wait_for_mirror(wait)
        .run()
        .await
        .unwrap();
    let [old, new] = pair.all().await;
    assert_eq!(old, new);
    assert_eq!(new.len(), 2);
    carts.shutdown().await;
}

async fn verification_finds_and_repair_mends_what_somebody_else_wrote<O: CartDb, N: CartDb>(
    pair: Pair<O, N>,
) {
    let carts = pair.at(Stage::DualWrite).await;
    for id in 1..=5 {
        save(&carts, id, Some(&cart("both", id))).await.unwrap();
    }
    quiet(&carts).await;
    pair.new.execute("UPDATE cart SET count = 77 WHERE id = 2").await;
    pair.new.execute("DELETE FROM cart WHERE id = 3").await;
    pair.new.execute("INSERT INTO cart (id, text, count) VALUES (8, 'orphan', 0)").await;
    let report = carts.verify().await.unwrap();
    assert_eq!((report.compared, report.different), (6, 3));
    let mut differing = report.differing.clone();
    differing.sort();
    assert_eq!(differing, ["2", "3", "8"]);
    assert_eq!(carts.repair().await.unwrap().different, 3);
    quiet(&carts).await;
    assert!(carts.verify().await.unwrap().is_clean());
    let [old, new] = pair.all().await;
    assert_eq!(old, new);
    carts.shutdown().await;
}

async fn the_outbox_has_the_shape_that_debezium_reads<O: CartDb, N: CartDb>(pair: Pair<O, N>) {
    let carts = pair.start_with(|one| one.poll(Duration::from_secs(600))).await;
    // The relay has just looked, and does not look again by itself.
    carts.advance(Stage::DualWrite).await.unwrap();
    pair.old
        .execute(
            "UPDATE dualwrite_relay SET owner = 'somebody else', leased_until = 9000000000000000",
        )
        .await;
    save(&carts, 7, Some(&cart("seven", 7))).await.unwrap();
    save(&carts, 7, None).await.unwrap();
    let sql = "SELECT id, aggregatetype, aggregateid, type, payload, version FROM dualwrite_outbox ORDER BY seq";
    let rows = pair.old.rows(sql).await;
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0][0].as_ref().unwrap().len(), 36, "a UUID");
    assert_ne!(rows[0][0], rows[1][0]);
    let text = |row: usize| {
        rows[row][1..].iter().map(|cell| cell.as_deref().unwrap_or("NULL")).collect::<Vec<_>>()
    };
    assert_eq!(text(0), [NAME, "7", "put", r#"{"text":"seven","count":7}"#, "1"]);
    assert_eq!(text(1), [NAME, "7", "delete", "NULL", "2"]);
    assert_eq!(
        pair.old.number("SELECT gone FROM dualwrite_version").await,
        1,
        "it outlives the delete"
    );
    carts.shutdown().await;
}

on_pairs!(
    records_go_over_and_back,
    the_last_stages_are_left_alone_and_come_back,
    a_write_that_fails_leaves_nothing,
    a_caller_can_wait_for_the_mirror,
    verification_finds_and_repair_mends_what_somebody_else_wrote,
    the_outbox_has_the_shape_that_debezium_reads,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_right_is_refused_at_the_start() {
    let Some(pair) = Pair::<PostgresDb, PostgresDb>::fresh("exact::basics::refused").await else {
        return;
    };
    let side = PostgresDb::SIDE;
    let same = (pair.old.another_pool(2).await, pair.old.another_pool(2).await);
    let same = Exact::between("same", (same.0, side), (same.1, side)).start().await.unwrap_err();
    assert_eq!(same.kind(), ErrorKind::InvalidInput);
    assert!(same.to_string().contains("one database"), "{same}");
    let left = "SELECT count(*) FROM dualwrite_authority";
    assert_eq!(pair.old.number(left).await, 0, "nothing is left of it");
    let named = (pair.old.another_pool(1).await, pair.new.another_pool(1).await);
    let named =
        Exact::between("No Name", (named.0, side), (named.1, side)).start().await.unwrap_err();
    assert_eq!(named.kind(), ErrorKind::InvalidInput);

    pair.at(Stage::DualWrite).await.shutdown().await;
    let swapped = (pair.new.another_pool(2).await, pair.old.another_pool(2).await);
    let swapped =
        Exact::between(NAME, (swapped.0, side), (swapped.1, side)).start().await.unwrap_err();
    assert_eq!(swapped.kind(), ErrorKind::InvalidInput);
    pair.new.execute("DELETE FROM dualwrite_authority").await;
    let lost = pair.builder().await.start().await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::UnknownMigration);
    assert!(lost.to_string().contains("the new database has no row"), "{lost}");
    assert_eq!(<PostgresDb as TestDb>::NAME, "postgres");
}
