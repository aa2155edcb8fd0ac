//! `settle` and `assert_no_mismatch` on a real runtime, and faults in the writes of a real migration.

use dualwrite::testing::{Fault, FaultPlan, MemorySide};
use dualwrite::{ErrorKind, Migration, Side, Stage};
use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{World, lazy, plain};
use crate::support::sql::Sql;

on_all_databases!(
    comparisons_have_ended_when_it_has_settled,
    it_waits_for_a_comparison_and_a_lazy_copy_that_are_held,
    marked_keys_are_copied_when_it_has_settled,
    a_mismatch_panics_with_its_samples_until_it_is_forgotten,
    each_fault_strikes_its_call,
    sides_in_memory_are_written_in_a_fenced_transaction,
);

async fn shadowing<D: Sql>(db: Scratch<D>) -> World<D> {
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    world.migration.backfill().run().await.unwrap();
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    world.migration.advance(Stage::Shadow).await.unwrap();
    world
}

async fn find<D: Sql>(world: &World<D>, id: i64) -> Option<String> {
    use crate::support::notes::Notes as _;
    world.notes.find(id).await.unwrap()
}

async fn compared<D: Sql>(world: &World<D>) -> (u64, u64) {
    let counters = world.migration.status().await.unwrap().counters;
    (counters.shadow_equal, counters.shadow_different)
}

/// Mirror writes that failed. (Their marks may be gone: the background copies, too.)
async fn failed<D: Sql>(world: &World<D>) -> u64 {
    world.migration.status().await.unwrap().counters.mirror_failed
}

/// What it panics with.
async fn panic_of(migration: &Migration) -> Option<String> {
    let asserted = AssertUnwindSafe(migration.assert_no_mismatch()).catch_unwind().await;
    asserted.err().map(|panic| *panic.downcast::<String>().unwrap())
}

async fn comparisons_have_ended_when_it_has_settled<D: Sql>(db: Scratch<D>) {
    let world = shadowing(db).await;
    for id in 1..=3 {
        find(&world, id).await;
    }
    world.runtime.settle().await.unwrap();
    assert_eq!(compared(&world).await, (3, 0));
    world.runtime.assert_no_mismatch().await;
}

async fn it_waits_for_a_comparison_and_a_lazy_copy_that_are_held<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 3, lazy).await;
    for stage in [Stage::Shadow, Stage::Live] {
        world.migration.advance(stage).await.unwrap();
    }
    world.copying.hold();
    let settled = async {
        world.copying.reached().await;
        let mut settling = Box::pin(world.migration.settle());
        assert!(futures_util::poll!(&mut settling).is_pending(), "a lazy copy is under way");
        world.copying.let_go();
        settling.await.unwrap();
    };
    let (found, ()) = tokio::join!(find(&world, 2), settled);
    assert_eq!(found.as_deref(), Some("word 2"));
    world.migration.settle().await.unwrap();
    assert_eq!(world.migration.status().await.unwrap().counters.lazy_copied, 1);

    let before = compared(&world).await.0;
    world.reading.hold();
    let settled = async {
        world.reading.reached().await;
        // That was the caller's own read; the next one is that of the comparison.
        world.reading.hold();
        world.reading.let_go();
        world.reading.reached().await;
        let mut settling = Box::pin(world.migration.settle());
        assert!(futures_util::poll!(&mut settling).is_pending(), "a comparison is under way");
        world.reading.let_go();
        settling.await.unwrap();
    };
    tokio::join!(find(&world, 2), settled);
    assert_eq!(compared(&world).await.0, before + 1);
}

async fn marked_keys_are_copied_when_it_has_settled<D: Sql>(db: Scratch<D>) {
    let world = shadowing(db).await;
    let faults = FaultPlan::new().at(Side::New, "save", 1, Fault::Fail);
    faults.attach(&world.migration);
    world.save(2, "changed").await;
    assert_eq!(failed(&world).await, 1);
    world.migration.settle().await.unwrap();
    let [old, new] = world.words().await;
    assert_eq!((old.len(), &old), (3, &new));
    assert_eq!(world.migration.status().await.unwrap().dirty_new, 0);
}

async fn a_mismatch_panics_with_its_samples_until_it_is_forgotten<D: Sql>(db: Scratch<D>) {
    let world = shadowing(db).await;
    assert_eq!(panic_of(&world.migration).await, None);
    world.db.execute("UPDATE new_note SET word = 'planted' WHERE id = 2").await;
    find(&world, 2).await;
    let text = panic_of(&world.migration).await.expect("a mismatch");
    assert!(text.contains("1 comparisons differ"), "{text}");
    assert!(
        text.contains("Notes::find, field `*`, key 2: … on the old side, … on the new side"),
        "{text}"
    );
    assert!(!text.contains("planted") && !text.contains("word 2"), "{text}");
    // Also where no sample could be stored.
    world.db.execute("DELETE FROM dualwrite_mismatch").await;
    assert!(panic_of(&world.migration).await.is_some());

    world.db.execute("UPDATE new_note SET word = 'word 2' WHERE id = 2").await;
    world.migration.forget_mismatches().await.unwrap();
    find(&world, 2).await;
    assert_eq!(panic_of(&world.migration).await, None);
}

async fn each_fault_strikes_its_call<D: Sql>(db: Scratch<D>) {
    let world = shadowing(db).await;
    let faults = FaultPlan::new();
    faults.attach(&world.migration);
    for (number, fault) in (1..).zip([Fault::Fail, Fault::LoseAnswer, Fault::Panic, Fault::Hang]) {
        faults.strike_next(Side::New, fault);
        world.save(number, "forgiven").await;
        assert_eq!(faults.left(), 0);
        assert_eq!(failed(&world).await, number as u64, "{fault}");
        world.migration.settle().await.unwrap();
        assert_eq!(world.words().await[0], world.words().await[1], "{fault}");
    }
    // The side that answers: the caller is told, and nothing is kept.
    faults.strike_next(Side::Old, Fault::LoseAnswer);
    let mut tx = world.begin().await;
    let save = {
        use crate::support::notes::Notes as _;
        world.notes.save(&mut tx, 1, "lost").await
    };
    let error = save.unwrap_err();
    assert_eq!(dualwrite::Error::find(&error).unwrap().kind(), ErrorKind::Database);
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Poisoned);
    assert!(!world.words().await.concat().contains(&"lost".to_owned()));

    let calls = faults.recorder().calls();
    assert_eq!((calls.len(), &*calls[0].operation, calls[0].side), (9, "save", Side::Old));
    FaultPlan::detach(&world.migration);
    world.save(1, "after").await;
    assert_eq!(faults.recorder().calls().len(), 9);
}

async fn sides_in_memory_are_written_in_a_fenced_transaction<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 0, plain).await;
    let faults = FaultPlan::new().at(Side::New, "put", 2, Fault::Panic);
    let old = MemorySide::new(Side::Old).with_faults(&faults);
    let new = MemorySide::new(Side::New).with_faults(&faults);
    for (id, word) in [(1_i64, Some("a")), (2, None)] {
        let (old, new) = (&old, &new);
        let mut tx = world.begin().await;
        let write = world.migration.write("put", &mut tx, &id);
        let write = write.old(|_| Box::pin(async move { old.put(id, word).await }));
        let write = write.new(|_| Box::pin(async move { new.put(id, word).await }));
        assert_eq!(write.run().await.unwrap(), 1);
        tx.commit().await.unwrap();
    }
    assert_eq!(old.rows().await.unwrap(), [(1, Some("a")), (2, None)]);
    assert_eq!(new.rows().await.unwrap(), [(1, Some("a"))], "a panic of the new side is forgiven");
    assert_eq!(failed(&world).await, 1);
    // A delete leaves its version: what is older does not come back.
    assert!(old.delete(&1).await.unwrap() && !old.delete(&1).await.unwrap());
    assert!(!old.apply(1, 1, Some(Some("older"))).await.unwrap());
    assert_eq!((old.get(&1).await.unwrap(), old.version(&1)), (None, 2));
}
