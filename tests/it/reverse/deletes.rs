//! A delete that passes old before the row is there locks nothing in old. It is held between its sides while
//! the row is copied back to old: by a reverse copy, by the repair of a mark, by the repair of a difference.
//!
//! And the other way round: a copy that has seen no row in new, and removes it from old, meets a write that has
//! inserted it on both sides meanwhile.

use std::sync::Arc;

use dualwrite::{ErrorKind, Stage};
use tokio::task::JoinHandle;

use super::{complete, ramp_down};
use crate::interleavings::has_its_say;
use crate::support::db::{Scratch, on_all_databases};
use crate::support::hook::Hook;
use crate::support::notes::{CopyNotes, Notes as _, World};
use crate::support::sql::Sql;
use crate::support::wait::until;

on_all_databases!(
    a_delete_beside_a_reverse_copy_leaves_nothing,
    a_delete_beside_the_repair_of_a_mark_leaves_nothing,
    a_delete_beside_the_repair_of_a_difference_leaves_nothing,
    beside_a_transaction_held_open_a_key_stays_marked,
    an_insert_beside_the_repair_of_a_mark_stays_in_old,
    an_insert_beside_a_reverse_copy_stays_in_old,
);

/// The key that new alone has at first.
const BORN: i64 = 100;
const MARK: &str = "INSERT INTO dualwrite_dirty (migration, side, key_text, marked_at) VALUES ('notes', 'old', '100', 0)";

/// Deletes the key; held when old is done and new is not.
async fn hold_a_delete<D: Sql>(world: &Arc<World<D>>) -> JoinHandle<()> {
    world.removing.hold();
    let remover = Arc::clone(world);
    let delete = tokio::spawn(async move {
        let mut tx = remover.begin().await;
        remover.notes.remove(&mut tx, BORN).await.unwrap();
        tx.commit().await.unwrap();
    });
    world.removing.reached().await;
    delete
}

/// With one writer at a time, a copy begins when the delete has ended.
fn has_one_writer<D: Sql>() -> bool {
    D::NAME == "sqlite"
}

async fn nothing_is_left<D: Sql>(world: &World<D>) {
    world.migration.repair().await.unwrap();
    let [old, new] = world.words().await;
    assert_eq!((old.len(), old), (3, new));
    assert_eq!(world.db.number("SELECT count(*) FROM dualwrite_dirty").await, 0);
    assert!(world.migration.verify().run().await.unwrap().is_clean());
}

async fn a_delete_beside_a_reverse_copy_leaves_nothing<D: Sql>(db: Scratch<D>) {
    beside_a_reverse_copy(complete(db, 3).await).await;
}

/// Of a migration that is complete, with three notes.
pub(super) async fn beside_a_reverse_copy<D: Sql>(world: World<D>) {
    let world = Arc::new(world);
    world.save(BORN, "born in new").await;
    world.migration.rollback("x").await.unwrap();
    let delete = hold_a_delete(&world).await;
    let migration = world.migration.clone();
    let copy = tokio::spawn(async move { migration.backfill().reverse().run().await });
    if !has_one_writer::<D>() {
        let copied = "SELECT count(*) FROM dualwrite_backfill WHERE phase = 'old_back' \
                      AND state = 'complete'";
        until("all of new is in old", async || world.db.number(copied).await > 0).await;
        assert_eq!(world.db.number("SELECT count(*) FROM old_note WHERE id = 100").await, 1);
        let progress = world.migration.status().await.unwrap().backfill.unwrap();
        assert_eq!((progress.migrated, progress.complete), (4, false));
    }
    has_its_say(&world, &copy).await;
    world.removing.let_go();
    delete.await.unwrap();
    assert!(copy.await.unwrap().unwrap().complete);
    nothing_is_left(&world).await;
    world.migration.rollback("old is whole").await.unwrap();
    assert_eq!(world.migration.position().stage, Stage::Shadow);
}

/// Old answers no more, and new alone has the key.
async fn give_new_one<D: Sql>(world: World<D>) -> Arc<World<D>> {
    let world = Arc::new(world);
    world.db.execute("INSERT INTO new_note (id, word) VALUES (100, 'born in new')").await;
    world
}

async fn a_delete_beside_the_repair_of_a_mark_leaves_nothing<D: Sql>(db: Scratch<D>) {
    beside_the_repair_of_a_mark(ramp_down(db, 3, CopyNotes::<D>::both_ways()).await).await;
}

/// Where old answers no more, with three notes.
pub(super) async fn beside_the_repair_of_a_mark<D: Sql>(world: World<D>) {
    let world = give_new_one(world).await;
    if has_one_writer::<D>() {
        world.db.execute(MARK).await;
    }
    let delete = hold_a_delete(&world).await;
    if !has_one_writer::<D>() {
        world.db.execute(MARK).await;
    }
    let migration = world.migration.clone();
    let repair = tokio::spawn(async move { migration.repair().await });
    has_its_say(&world, &repair).await;
    world.removing.let_go();
    delete.await.unwrap();
    // Or it was refused the fence, and its mark stays for the next repair.
    let _ = repair.await.unwrap().map_err(|error| assert!(error.is_retryable(), "{error}"));
    nothing_is_left(&world).await;
}

async fn a_delete_beside_the_repair_of_a_difference_leaves_nothing<D: Sql>(db: Scratch<D>) {
    beside_the_repair_of_a_difference(ramp_down(db, 3, CopyNotes::<D>::both_ways()).await).await;
}

/// Where old answers no more, with three notes.
pub(super) async fn beside_the_repair_of_a_difference<D: Sql>(world: World<D>) {
    let world = give_new_one(world).await;
    let delete = hold_a_delete(&world).await;
    let migration = world.migration.clone();
    let repair = tokio::spawn(async move { migration.verify().repair().run().await });
    has_its_say(&world, &repair).await;
    world.removing.let_go();
    delete.await.unwrap();
    let _ = repair.await.unwrap().map_err(|error| assert!(error.is_retryable(), "{error}"));
    nothing_is_left(&world).await;
}

async fn beside_a_transaction_held_open_a_key_stays_marked<D: Sql>(db: Scratch<D>) {
    let world = give_new_one(ramp_down(db, 3, CopyNotes::<D>::both_ways()).await).await;
    let in_old = "SELECT count(*) FROM old_note WHERE id = 100";
    if !has_one_writer::<D>() {
        let held = world.begin().await;
        world.db.execute(MARK).await;
        let refused = world.migration.repair().await.unwrap_err();
        assert_eq!((refused.kind(), refused.is_retryable()), (ErrorKind::Timeout, true));
        assert_eq!(world.db.number(in_old).await, 0);
        assert_eq!(world.db.number("SELECT count(*) FROM dualwrite_dirty").await, 1);
        held.rollback().await.unwrap();
    } else {
        world.db.execute(MARK).await;
    }
    world.migration.repair().await.unwrap();
    assert_eq!(world.db.number(in_old).await, 1);
    assert_eq!(world.db.number("SELECT count(*) FROM dualwrite_dirty").await, 0);
}

/// Writes the key while a copy is held that has not seen it in new; then lets both end.
async fn insert_beside<D: Sql, T>(world: &Arc<World<D>>, copying: &Hook, copy: &JoinHandle<T>) {
    copying.reached().await;
    let writer = Arc::clone(world);
    let write = tokio::spawn(async move { writer.save(BORN, "born again").await });
    has_its_say(world, &write).await;
    copying.let_go();
    write.await.unwrap();
    until("the copy has ended", async || copy.is_finished()).await;
}

async fn is_on_both_sides<D: Sql>(world: &World<D>) {
    assert_eq!(world.db.number("SELECT count(*) FROM dualwrite_dirty").await, 0);
    let [old, new] = world.words().await;
    assert_eq!((old.last().map(String::as_str), &old), (Some("born again"), &new));
    assert!(world.migration.verify().run().await.unwrap().is_clean());
}

/// A mirror that failed has left a mark, and the key was deleted on both sides since.
async fn an_insert_beside_the_repair_of_a_mark_stays_in_old<D: Sql>(db: Scratch<D>) {
    let notes = CopyNotes::<D>::both_ways();
    let copying = notes.0.back.clone();
    let world = Arc::new(ramp_down(db, 3, notes).await);
    copying.hold();
    world.db.execute(MARK).await;
    let migration = world.migration.clone();
    let repair = tokio::spawn(async move { migration.repair().await });
    insert_beside(&world, &copying, &repair).await;
    let _ = repair.await.unwrap().map_err(|error| assert!(error.is_retryable(), "{error}"));
    world.migration.repair().await.unwrap();
    is_on_both_sides(&world).await;
}

/// The key is deleted after its page was read.
async fn an_insert_beside_a_reverse_copy_stays_in_old<D: Sql>(db: Scratch<D>) {
    let notes = CopyNotes::<D>::both_ways();
    let (before, copying) = (notes.0.before_back.clone(), notes.0.back.clone());
    let world = Arc::new(ramp_down(db, 0, notes).await);
    world.migration.advance(Stage::Complete).await.unwrap();
    world.save(BORN, "born in new").await;
    world.migration.rollback("x").await.unwrap();
    if has_one_writer::<D>() {
        return; // nobody writes beside a page
    }
    before.hold();
    copying.hold();
    let migration = world.migration.clone();
    let copy = tokio::spawn(async move { migration.backfill().reverse().run().await });
    before.reached().await;
    world.db.execute("DELETE FROM new_note WHERE id = 100").await;
    before.let_go();
    insert_beside(&world, &copying, &copy).await;
    assert!(copy.await.unwrap().unwrap().complete);
    is_on_both_sides(&world).await;
}
