//! The copy of what was there before, page by page from one database to the other, and what its versions keep.

use std::time::Duration;

use dualwrite::{ErrorKind, Stage};

use super::carts::{CartDb, Pair, cart, find, on_pairs, quiet, save};

/// More than a page of the copy.
const MANY: i64 = 2_345;

async fn fill<O: CartDb, N: CartDb>(pair: &Pair<O, N>, last: i64) {
    let rows: Vec<String> = (1..=last).map(|id| format!("({id}, 'row', {id})")).collect();
    let sql = format!("INSERT INTO cart (id, text, count) VALUES {}", rows.join(", "));
    pair.old.execute(&sql).await;
}

async fn pages_go_over_with_nothing_in_the_outbox<O: CartDb, N: CartDb>(pair: Pair<O, N>) {
    fill(&pair, MANY).await;
    pair.new
        .execute("INSERT INTO cart (id, text, count) VALUES (1, 'stale', 0), (9999, 'orphan', 0)")
        .await;
    let carts = pair.start_with(|one| one.poll(Duration::from_secs(600))).await;
    carts.advance(Stage::DualWrite).await.unwrap();
    assert_eq!(carts.copy().await.unwrap(), MANY as u64);
    assert_eq!(pair.old.number("SELECT count(*) FROM dualwrite_version").await, 0);
    let [old, new] = pair.all().await;
    assert_eq!(old, new);
    let report = carts.verify().await.unwrap();
    assert!(report.is_clean() && report.compared == MANY as u64, "{report:?}");
    pair.new.execute("UPDATE cart SET count = -1 WHERE id = 2000").await;
    pair.new.execute("DELETE FROM cart WHERE id = 7").await;
    pair.new.execute("INSERT INTO cart (id, text, count) VALUES (100000, 'orphan', 0)").await;
    let mut report = carts.repair().await.unwrap();
    report.differing.sort();
    assert_eq!(report.differing, ["100000", "2000", "7"]);
    let read_all = O::NAME == "sqlite";
    assert!(read_all || report.fetched < 600, "equal rows were read: {report:?}");
    quiet(&carts).await;
    assert!(carts.verify().await.unwrap().is_clean());
    carts.shutdown().await;
}

/// What the relay brought while the copy was on its way is newer, and stays.
async fn a_page_leaves_what_has_a_higher_version<O: CartDb, N: CartDb>(pair: Pair<O, N>) {
    fill(&pair, 3).await;
    let carts = pair.start_with(|one| one.poll(Duration::from_secs(600))).await;
    carts.advance(Stage::DualWrite).await.unwrap();
    pair.new.execute("INSERT INTO cart (id, text, count) VALUES (2, 'newer', 0)").await;
    pair.new
        .execute(
            "INSERT INTO dualwrite_version (migration, key_text, version, gone) \
             VALUES ('carts', '2', 9, 0), ('carts', '3', 9, 1)",
        )
        .await;
    assert_eq!(carts.copy().await.unwrap(), 3);
    let [_, new] = pair.all().await;
    assert_eq!(new[&2], cart("newer", 0));
    assert!(!new.contains_key(&3), "the delete is newer");
    assert_eq!(new[&1], cart("row", 1));
    carts.shutdown().await;
}

/// A page that was read before the recording was stopped and begun again has versions that say nothing.
async fn a_page_of_an_earlier_copy_is_refused<O: CartDb, N: CartDb>(pair: Pair<O, N>) {
    fill(&pair, 3).await;
    let carts = pair.start().await;
    carts.advance(Stage::DualWrite).await.unwrap();
    pair.new.execute("UPDATE dualwrite_relay SET applied_epoch = 1000").await;
    let refused = carts.copy().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    assert!(pair.all().await[1].is_empty());
    carts.shutdown().await;
}

/// The new primary goes on from the versions of the old one, also of keys that were deleted, and whose records were thrown
/// away with the outbox.
async fn a_delete_that_was_never_applied_keeps_its_version<O: CartDb, N: CartDb>(pair: Pair<O, N>) {
    let carts = pair.start_with(|one| one.poll(Duration::from_secs(600))).await;
    carts.advance(Stage::DualWrite).await.unwrap();
    pair.old
        .execute(
            "UPDATE dualwrite_relay SET owner = 'somebody else', leased_until = 9000000000000000",
        )
        .await;
    save(&carts, 7, Some(&cart("first", 1))).await.unwrap();
    save(&carts, 7, None).await.unwrap();
    carts.advance(Stage::Off).await.unwrap();
    pair.old.execute("UPDATE dualwrite_relay SET leased_until = 0").await;
    carts.shutdown().await;
    let carts = pair.start().await;
    carts.advance(Stage::DualWrite).await.unwrap();
    carts.copy().await.unwrap();
    carts.advance(Stage::Live).await.unwrap();
    save(&carts, 7, Some(&cart("again", 2))).await.unwrap();
    quiet(&carts).await;
    let [old, new] = pair.all().await;
    assert_eq!(old, new, "the write on the new primary has a lower version than the delete");
    carts.rollback().await.unwrap();
    assert_eq!(find(&carts, 7).await.unwrap(), Some(cart("again", 2)));
    carts.shutdown().await;
}

async fn a_record_that_the_mirror_refuses_does_not_stop_the_copy<O: CartDb, N: CartDb>(
    pair: Pair<O, N>,
) {
    fill(&pair, 40).await;
    let checked = "CREATE TABLE cart (id BIGINT PRIMARY KEY, text VARCHAR(100) NOT NULL, count BIGINT NOT NULL, \
                   CHECK (count <> 13))";
    pair.new.execute(&format!("DROP TABLE cart; {checked}")).await;
    let carts = pair.start().await;
    carts.advance(Stage::DualWrite).await.unwrap();
    assert_eq!(carts.copy().await.unwrap(), 40);
    crate::support::wait::until("the others are there", async || pair.all().await[1].len() == 39)
        .await;
    crate::support::wait::until("one is put off", async || {
        carts.failures().await.unwrap().first().is_some_and(|failure| failure.key == "13")
    })
    .await;
    assert_eq!(carts.advance(Stage::Live).await.unwrap_err().kind(), ErrorKind::Blocked);
    carts.shutdown().await;
}

on_pairs!(
    pages_go_over_with_nothing_in_the_outbox,
    a_page_leaves_what_has_a_higher_version,
    a_page_of_an_earlier_copy_is_refused,
    a_delete_that_was_never_applied_keeps_its_version,
    a_record_that_the_mirror_refuses_does_not_stop_the_copy,
);
