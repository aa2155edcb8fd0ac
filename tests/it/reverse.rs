//! The way back from where new alone is written: old is written again, gets what it missed, and is
//! proven equal before it may answer.

mod deletes;
mod orders;
mod refused;
mod statements;

use dualwrite::{CopyKeys, ErrorKind, Gate, Move, Percent, Registration, Stage};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{CopyNotes, Notes, World, plain};
use crate::support::sql::Sql;

on_all_databases!(
    old_gets_back_what_new_alone_got,
    a_unique_value_that_went_to_another_key_is_copied_back,
    a_ramp_toward_complete_can_be_taken_back,
    writers_beside_a_reverse_copy_lose_nothing,
    without_a_way_to_copy_back_there_is_none,
    a_stale_old_is_never_copied_to_new,
    a_reverse_copy_before_complete_is_refused,
    keys_that_only_new_has_are_removed_by_a_backfill,
    a_stage_waits_for_its_approval,
    complete_waits_for_a_declared_release,
);

/// A migration that is complete, with as many notes.
async fn complete<D: Sql>(db: Scratch<D>, rows: u32) -> World<D> {
    let world = ramp_down(db, rows, CopyNotes::<D>::both_ways()).await;
    world.migration.advance(Stage::Complete).await.unwrap();
    world
}

async fn ramp_down<D: Sql>(
    db: Scratch<D>,
    rows: u32,
    copy: impl CopyKeys<Database = D::Db, Key = i64>,
) -> World<D> {
    let world = World::copying_by(db, Stage::DualWrite, rows, plain, copy).await;
    world.migration.backfill().run().await.unwrap();
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    for stage in [Stage::Shadow, Stage::Live, Stage::RampDown] {
        world.migration.advance(stage).await.unwrap();
    }
    world
}

/// Inserts, updates and deletes where only new is written.
async fn live_on_new_alone<D: Sql>(world: &World<D>) {
    world.save(3, "changed in new").await;
    world.save(100, "born in new").await;
    world.db.execute("DELETE FROM new_note WHERE id = 5").await; // as a repository of new would
}

async fn old_gets_back_what_new_alone_got<D: Sql>(db: Scratch<D>) {
    let world = complete(db, 30).await;
    live_on_new_alone(&world).await;
    let back = world.migration.rollback("new is too slow").await.unwrap();
    assert_eq!((back.stage, back.ramp), (Stage::RampDown, Percent::ZERO));
    for refused in [
        world.migration.step_back(Stage::Live).await.unwrap_err(),
        world.migration.rollback("now").await.unwrap_err(),
    ] {
        assert_eq!(refused.kind(), ErrorKind::Blocked);
        for gate in ["[copied_back]", "backfill().reverse()", "[verified]"] {
            assert!(refused.to_string().contains(gate), "{refused}");
        }
    }
    let overriding = world.migration.rollback("I insist").overriding(Gate::CopiedBack).await;
    assert_eq!(overriding.unwrap_err().kind(), ErrorKind::InvalidInput);

    world.save(7, "written to both").await;
    assert_eq!(world.migration.verify().run().await.unwrap().keys, ["3", "5", "100"]);
    let done = world.migration.backfill().reverse().batch(4).run().await.unwrap();
    assert_eq!(
        (done.side, done.generation, done.total, done.complete),
        (dualwrite::Side::Old, 2, 30, true)
    );
    let [old, new] = world.words().await;
    assert_eq!((old.len(), &old), (30, &new));
    assert!(old.contains(&"born in new".to_owned()) && !old.contains(&"word 5".to_owned()));

    // Copied is not proven.
    let early = world.migration.readiness(Move::Rollback).await.unwrap();
    assert_eq!(early.iter().map(|blocker| blocker.gate).collect::<Vec<_>>(), [Gate::Verified]);
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    let back = world.migration.rollback("new is too slow").await.unwrap();
    assert_eq!(back.stage, Stage::Shadow);
    assert_eq!(world.notes.find(100).await.unwrap().as_deref(), Some("born in new"));

    // And forward again: what was proven for new still holds, old is stale once more.
    for stage in [Stage::Live, Stage::RampDown, Stage::Complete] {
        world.migration.advance(stage).await.unwrap();
    }
    world.save(4, "again").await;
    world.migration.rollback("once more").await.unwrap();
    let blocked = world.migration.rollback("once more").await.unwrap_err();
    assert!(blocked.to_string().contains("[copied_back]"), "{blocked}");
}

async fn a_unique_value_that_went_to_another_key_is_copied_back<D: Sql>(db: Scratch<D>) {
    let world = complete(db, 3).await;
    world.db.execute("CREATE UNIQUE INDEX word_of_old ON old_note (word)").await;
    world.db.execute("DELETE FROM new_note WHERE id = 2").await;
    world.save(50, "word 2").await;
    world.migration.rollback("x").await.unwrap();
    let done = world.migration.backfill().reverse().run().await.unwrap();
    assert_eq!((done.failed, done.complete), (0, true));
    assert_eq!(world.words().await[0], ["word 1", "word 3", "word 2"]);
}

async fn a_ramp_toward_complete_can_be_taken_back<D: Sql>(db: Scratch<D>) {
    let world = ramp_down(db, 40, CopyNotes::<D>::both_ways()).await;
    world.migration.ramp_to(Percent::new(50).unwrap()).await.unwrap();
    for id in 1..=40 {
        world.save(id, "halfway").await;
    }
    let [old, new] = world.words().await;
    assert!(old != new && new.iter().all(|word| word == "halfway"));
    world.migration.ramp_to(Percent::ZERO).await.unwrap();
    assert_eq!(world.migration.rollback("x").await.unwrap_err().kind(), ErrorKind::Blocked);
    world.migration.backfill().reverse().run().await.unwrap();
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    world.migration.rollback("x").await.unwrap();
    assert!(world.words().await[0].iter().all(|word| word == "halfway"));
}

async fn writers_beside_a_reverse_copy_lose_nothing<D: Sql>(db: Scratch<D>) {
    copy_back_beside_writers(complete(db, 60).await).await;
}

/// Of a migration that is complete, with 60 notes.
async fn copy_back_beside_writers<D: Sql>(world: World<D>) {
    for id in 61..=120 {
        world.save(id, "born in new").await;
    }
    world.migration.rollback("x").await.unwrap();
    let writers = (0..4_i64).map(|writer| {
        let world = &world;
        async move {
            for round in 0..40 {
                // Rows that old has, and rows that it has not yet. A note is deleted and inserted, so two
                // writers of one would meet in the key.
                let id = 1 + writer + 4 * (round * 13 % 30);
                world.save(id, &format!("{writer} in round {round}")).await;
            }
        }
    });
    let copy = world.migration.backfill().reverse().batch(7).run();
    let (copied, _) = tokio::join!(copy, futures_util::future::join_all(writers));
    assert!(copied.unwrap().complete);
    // A write to old that met the copy of the same key failed, was forgiven and marked.
    world.migration.repair().await.unwrap();
    let [old, new] = world.words().await;
    assert_eq!((old.len(), old), (120, new));
    assert!(world.migration.verify().run().await.unwrap().is_clean());
}

async fn without_a_way_to_copy_back_there_is_none<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 3, plain).await;
    world.migration.backfill().run().await.unwrap();
    world.migration.verify().run().await.unwrap();
    for stage in [Stage::Shadow, Stage::Live, Stage::RampDown, Stage::Complete] {
        world.migration.advance(stage).await.unwrap();
    }
    for refused in [
        world.migration.step_back(Stage::RampDown).await.unwrap_err(),
        world.migration.rollback("x").await.unwrap_err(),
    ] {
        assert!(refused.to_string().contains("`.backfill_both_ways(…)`"), "{refused}");
    }
    let refused = world.migration.backfill().reverse().run().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
}

async fn a_stale_old_is_never_copied_to_new<D: Sql>(db: Scratch<D>) {
    let world = complete(db, 10).await;
    live_on_new_alone(&world).await;
    world.migration.step_back(Stage::RampDown).await.unwrap();
    for key in [3_i64, 5, 100] {
        assert!(!world.migration.copy(&key).await.unwrap(), "{key}");
    }
    // Not even where somebody forgot that all this was done before `Complete`.
    world.db.execute("DELETE FROM dualwrite_backfill WHERE phase = 'new_orphans'").await;
    for refused in [
        world.migration.backfill().run().await.unwrap_err(),
        world.migration.backfill().copy_range(&1_i64, &200).await.unwrap_err(),
    ] {
        assert_eq!(refused.kind(), ErrorKind::Blocked, "{refused}");
    }
    assert_eq!(world.notes.find(3).await.unwrap().as_deref(), Some("changed in new"));
    assert_eq!(world.notes.find(5).await.unwrap(), None);
    assert_eq!(world.notes.find(100).await.unwrap().as_deref(), Some("born in new"));
}

async fn a_reverse_copy_before_complete_is_refused<D: Sql>(db: Scratch<D>) {
    let world = World::copying(db, Stage::DualWrite, 3, plain, CopyNotes::<D>::both_ways()).await;
    let refused = world.migration.backfill().reverse().run().await.unwrap_err();
    assert!(refused.to_string().contains("a reverse copy cannot run at dual_write"), "{refused}");
    world.migration.backfill().run().await.unwrap();
    world.migration.verify().run().await.unwrap();
    for stage in [Stage::Shadow, Stage::Live] {
        world.migration.advance(stage).await.unwrap();
    }
    let refused = world.migration.backfill().reverse().run().await.unwrap_err();
    assert!(refused.to_string().contains("nothing to copy back"), "{refused}");
}

async fn keys_that_only_new_has_are_removed_by_a_backfill<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::DualWrite, 20, plain).await;
    world.migration.backfill().run().await.unwrap();
    world.migration.step_back(Stage::Off).await.unwrap();
    world.db.execute("DELETE FROM old_note WHERE id IN (4, 5, 20)").await;
    world.migration.advance(Stage::DualWrite).await.unwrap();
    world.migration.backfill().batch(2).run().await.unwrap();
    let [old, new] = world.words().await;
    assert_eq!((old.len(), old), (17, new));
}

fn approved<DB: dualwrite::Backend>(registration: Registration<'_, DB>) -> Registration<'_, DB> {
    registration.lazy().approval(Stage::Live, "dba")
}

async fn a_stage_waits_for_its_approval<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Shadow, 0, approved).await;
    let ramp = Percent::new(1).unwrap();
    for refused in [
        world.migration.ramp_to(ramp).await.unwrap_err(),
        world.migration.advance(Stage::Live).await.unwrap_err(),
    ] {
        assert!(refused.to_string().contains("live needs the approval `dba`"), "{refused}");
    }
    let unknown = world.migration.approve("boss", "eve", "").await.unwrap_err();
    assert!(unknown.to_string().contains("asked for are: dba"), "{unknown}");
    world.migration.approve("dba", "ada", "figures are good").await.unwrap();
    world.migration.ramp_to(ramp).await.unwrap();
    world.migration.advance(Stage::Live).await.unwrap();
    // It was given for that entry alone.
    world.migration.rollback("slow").await.unwrap();
    let refused = world.migration.advance(Stage::Live).await.unwrap_err();
    assert!(refused.to_string().contains("[approved]"), "{refused}");
}

async fn complete_waits_for_a_declared_release<D: Sql>(db: Scratch<D>) {
    let world = ramp_down(db, 3, CopyNotes::<D>::both_ways()).await;
    world.migration.release_runs("0.9").await.unwrap();
    let refused = world.migration.advance(Stage::Complete).await.unwrap_err();
    assert!(
        refused.to_string().contains("[released] release 0.9 still writes the old side"),
        "{refused}"
    );
    world.migration.release_gone("0.9").await.unwrap();
    world.migration.advance(Stage::Complete).await.unwrap();
}
