//! Exact mode where something is wrong: late relays, mirrors that refuse, restored databases.

use std::time::Duration;

use dualwrite::{
    ErrorKind, Side, Stage,
    exact::{ExactSide, ExactStep},
};

use super::carts::{CartDb, Fault, Pair, cart, find, on_pairs, quiet, save};
use crate::support::wait::until;

/// What the relay read before a delete must not raise the record again, and the version must outlive the delete on both
/// sides.
async fn a_late_record_does_not_raise_what_was_deleted<O: CartDb, N: CartDb>(pair: Pair<O, N>) {
    let carts = pair.at(Stage::DualWrite).await;
    save(&carts, 1, Some(&cart("first", 1))).await.unwrap();
    quiet(&carts).await;
    let version =
        pair.new.number("SELECT version FROM dualwrite_version WHERE key_text = '1'").await;
    save(&carts, 1, None).await.unwrap();
    quiet(&carts).await;
    // A relay that was stopped after it had read the first write, before it applied it.
    let late = format!(
        "INSERT INTO dualwrite_outbox (id, aggregatetype, aggregateid, type, payload, version, since) \
         VALUES ('late', 'carts', '1', 'put', '{{\"text\":\"first\",\"count\":1}}', {version}, 0)"
    );
    pair.old.execute(&late).await;
    quiet(&carts).await;
    assert!(pair.all().await[1].is_empty(), "the late record came after the delete");
    save(&carts, 1, Some(&cart("again", 2))).await.unwrap();
    quiet(&carts).await;
    assert_eq!(
        pair.all().await[1][&1],
        cart("again", 2),
        "its version is higher than that of the delete"
    );
    carts.shutdown().await;
}

async fn a_record_that_the_mirror_refuses_keeps_none_of_the_others<O: CartDb, N: CartDb>(
    pair: Pair<O, N>,
) {
    let carts = pair.at(Stage::DualWrite).await;
    let checked = "CREATE TABLE cart (id BIGINT PRIMARY KEY, text VARCHAR(100) NOT NULL, count BIGINT NOT NULL, \
                   CHECK (count <> 13))";
    pair.new.execute(&format!("DROP TABLE cart; {checked}")).await;
    save(&carts, 2, Some(&cart("secret", 13))).await.unwrap();
    save(&carts, 3, Some(&cart("other", 3))).await.unwrap();
    until("the third is there", async || pair.all().await[1].contains_key(&3)).await;
    until("the second is put off", async || !carts.failures().await.unwrap().is_empty()).await;
    let failures = carts.failures().await.unwrap();
    assert_eq!(failures[0].key, "2");
    assert!(!failures[0].error.contains("secret"), "no values: {}", failures[0].error);
    let refused = carts.advance(Stage::Live).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Blocked);
    assert!(refused.to_string().contains("does not take some records"), "{refused}");
    let status = carts.status().await.unwrap();
    assert_eq!((status.primary, status.open), (Side::Old, true), "nothing was closed");
    save(&carts, 2, Some(&cart("another", 14))).await.unwrap();
    until("none is put off", async || carts.failures().await.unwrap().is_empty()).await;
    carts.advance(Stage::Live).await.unwrap();
    assert!(carts.failures().await.unwrap().is_empty());
    let [old, new] = pair.all().await;
    assert_eq!(old, new);
    carts.shutdown().await;
}

/// A hand-over whose outbox cannot be drained gives the authority back.
async fn a_hand_over_that_cannot_drain_opens_the_primary_again<O: CartDb, N: CartDb>(
    pair: Pair<O, N>,
) {
    let carts = pair.at(Stage::DualWrite).await;
    quiet(&carts).await;
    let mover = pair.start_with(|one| one.drain_wait(Duration::from_millis(300))).await;
    // Dies when the primary is closed; the key below can then not be applied.
    mover.die_at(ExactStep::Closed, 0);
    assert_eq!(mover.advance(Stage::Live).await.unwrap_err().kind(), ErrorKind::ShuttingDown);
    pair.old
        .execute(
            "INSERT INTO dualwrite_outbox (id, aggregatetype, aggregateid, type, payload, version, since) \
             VALUES ('bad', 'carts', '5', 'put', 'no JSON', 99, 0)",
        )
        .await;
    let status = carts.status().await.unwrap();
    assert_eq!((status.primary, status.open), (Side::Old, false));
    assert_eq!(
        find(&carts, 5).await.unwrap(),
        None,
        "the side of record answers while it is closed"
    );
    let other = pair.start_with(|one| one.drain_wait(Duration::from_millis(300))).await;
    let refused = other.advance(Stage::Live).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Blocked, "{refused}");
    save(&carts, 6, Some(&cart("goes on", 6))).await.unwrap();
    let status = carts.status().await.unwrap();
    assert_eq!((status.primary, status.stage), (Side::Old, Stage::DualWrite));
    for one in [carts, mover, other] {
        one.shutdown().await;
    }
}

/// A database that was restored from before a hand-over says that it is the primary: nobody believes it.
async fn a_restored_primary_takes_no_write<O: CartDb, N: CartDb>(pair: Pair<O, N>) {
    let carts = pair.at(Stage::DualWrite).await;
    save(&carts, 1, Some(&cart("one", 1))).await.unwrap();
    let row = pair.old.rows("SELECT epoch, token FROM dualwrite_authority").await;
    let [epoch, token] = [0, 1].map(|column| row[0][column].clone().unwrap());
    carts.advance(Stage::Live).await.unwrap();
    save(&carts, 1, Some(&cart("two", 2))).await.unwrap();
    quiet(&carts).await;
    let restore = format!(
        "UPDATE dualwrite_authority SET is_primary = 1, is_open = 1, recording = 1, epoch = {epoch}, token = {token}"
    );
    pair.old.execute(&restore).await;
    // Reads and writes go on where the authority is.
    save(&carts, 1, Some(&cart("three", 3))).await.unwrap();
    assert_eq!(find(&carts, 1).await.unwrap(), Some(cart("three", 3)));
    assert_eq!(pair.all().await[0][&1], cart("two", 2));
    let refused = carts.rollback().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::StageUnknown);
    assert!(refused.to_string().contains("both databases say"), "{refused}");
    let started = pair.builder().await.start().await.unwrap_err();
    assert_eq!(started.kind(), ErrorKind::StageUnknown, "a new instance does not choose");
    // Where the newer one is gone, too, nobody writes.
    pair.new.execute("UPDATE dualwrite_authority SET is_primary = 0, is_open = 0").await;
    let impatient = carts.clone();
    let written =
        tokio::time::timeout(Duration::from_secs(20), save(&impatient, 1, Some(&cart("lost", 0))))
            .await;
    assert_eq!(written.unwrap().unwrap_err().kind(), Some(ErrorKind::StageUnknown));
    carts.shutdown().await;
}

/// An instance that has not heard of a hand-over asks the database that it believes in, which sends it to the other one.
async fn who_has_not_heard_of_a_hand_over_reads_nothing_stale<O: CartDb, N: CartDb>(
    pair: Pair<O, N>,
) {
    let carts = pair.at(Stage::DualWrite).await;
    save(&carts, 1, Some(&cart("before", 1))).await.unwrap();
    let deaf = pair.start_with(|one| one.poll(Duration::from_secs(600))).await;
    assert_eq!(find(&deaf, 1).await.unwrap(), Some(cart("before", 1)));
    carts.advance(Stage::Live).await.unwrap();
    // Nobody applies what is written from now on.
    let leased =
        "UPDATE dualwrite_relay SET owner = 'somebody else', leased_until = 9000000000000000";
    pair.new.execute(leased).await;
    save(&carts, 1, Some(&cart("after", 2))).await.unwrap();
    assert_eq!(pair.all().await[0][&1], cart("before", 1), "the mirror is behind");
    assert_eq!(find(&deaf, 1).await.unwrap(), Some(cart("after", 2)));
    let deaf_too = pair.start_with(|one| one.poll(Duration::from_secs(600))).await;
    save(&deaf_too, 2, Some(&cart("two", 2))).await.unwrap();
    assert_eq!(pair.all().await[1].len(), 2);
    for one in [carts, deaf, deaf_too] {
        one.shutdown().await;
    }
}

/// A write that is in flight when the primary is closed is on the new one when that opens.
async fn a_hand_over_waits_for_writes_in_flight<O: CartDb, N: CartDb>(pair: Pair<O, N>) {
    let carts = pair.at(Stage::DualWrite).await;
    quiet(&carts).await;
    let mover = pair.start().await;
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let (release, released) = tokio::sync::oneshot::channel::<()>();
    let writer = carts.clone();
    let writing = tokio::spawn(async move {
        let written: Result<(), Fault> = writer
            .write(&1)
            .old(|mut tx| {
                Box::pin(async move {
                    O::SIDE.put(&mut *tx, &1, Some(&cart("in flight", 1))).await?;
                    begun.send(()).unwrap();
                    released.await.unwrap();
                    Ok(())
                })
            })
            .new(|_| Box::pin(async { Ok(()) }))
            .run()
            .await;
        written
    });
    has_begun.await.unwrap();
    let mut moving = {
        let mover = mover.clone();
        tokio::spawn(async move { mover.advance(Stage::Live).await })
    };
    let early = tokio::time::timeout(Duration::from_millis(300), &mut moving).await;
    assert!(early.is_err(), "it does not wait");
    release.send(()).unwrap();
    writing.await.unwrap().unwrap();
    moving.await.unwrap().unwrap();
    assert_eq!(find(&carts, 1).await.unwrap(), Some(cart("in flight", 1)));
    for one in [carts, mover] {
        one.shutdown().await;
    }
}

/// Whatever a closure has ended, nothing is recorded that is not written, and nobody is told that it is.
async fn a_closure_that_ends_its_transaction_is_found_out<O: CartDb, N: CartDb>(pair: Pair<O, N>) {
    let carts = pair.at(Stage::DualWrite).await;
    let written: Result<(), Fault> = carts
        .write(&1)
        .old(|mut tx| {
            Box::pin(async move {
                O::SIDE.put(&mut *tx, &1, Some(&cart("half", 1))).await?;
                O::end(&mut *tx).await?;
                Ok(())
            })
        })
        .new(|_| Box::pin(async { Ok(()) }))
        .run()
        .await;
    assert!(written.is_err(), "its record would not be there");
    let sql = "SELECT count(*) FROM dualwrite_outbox WHERE aggregateid = '1'";
    assert_eq!(pair.old.number(sql).await, 0);
    save(&carts, 1, Some(&cart("whole", 2))).await.unwrap();
    quiet(&carts).await;
    let [old, new] = pair.all().await;
    assert_eq!(old, new);
    carts.shutdown().await;
}

on_pairs!(
    who_has_not_heard_of_a_hand_over_reads_nothing_stale,
    a_hand_over_waits_for_writes_in_flight,
    a_closure_that_ends_its_transaction_is_found_out,
    a_late_record_does_not_raise_what_was_deleted,
    a_record_that_the_mirror_refuses_keeps_none_of_the_others,
    a_hand_over_that_cannot_drain_opens_the_primary_again,
    a_restored_primary_takes_no_write,
);
