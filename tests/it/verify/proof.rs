//! What withdraws the proof of a verification, and what brings it back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use dualwrite::{
    ErrorKind, Gate, Migration, Move, Percent, Stage, backfill::Throttle, verify::StaleKind,
};

use super::people::{CopyPeople, People, Way, World};
use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{self, CopyNotes, plain};

on_all_databases!(
    a_sample_that_finds_a_difference_withdraws_the_proof,
    a_full_run_that_finds_a_difference_withdraws_the_proof,
    a_run_that_breaks_down_after_a_difference_withdraws_the_proof,
    a_repair_withdraws_the_proof_until_a_clean_full_run,
    a_dry_run_of_a_repair_withdraws_the_proof,
    a_waived_difference_withdraws_nothing,
    a_run_that_began_before_the_finding_proves_nothing,
    the_proof_of_old_is_withdrawn_on_the_way_back,
    complete_is_refused_after_a_difference_was_found,
);

/// Whether it is verified, and may go live.
async fn is_proven(migration: &Migration) -> bool {
    let status = migration.status().await.unwrap();
    let blockers = migration.readiness(Move::Advance(Stage::Live)).await.unwrap();
    let blocked = blockers.iter().find(|blocker| blocker.gate == Gate::Verified);
    assert_eq!(blocked.is_none(), status.verified.is_some());
    assert_eq!(status.stale.is_empty(), status.verified.is_some());
    if let Some(blocker) = blocked {
        let says = ["a comparison found keys", "the last verification found ", "has found "];
        assert!(says.iter().any(|say| blocker.reason.contains(say)), "{}", blocker.reason);
        let refused = migration.advance(Stage::Live).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Blocked);
    }
    status.verified.is_some()
}

/// At shadow, with 50 rows that are proven to be equal.
async fn proven<D: People>(db: Scratch<D>, copy: CopyPeople<D, i64>) -> World<D, i64> {
    let world = World::new(db, 50, copy).await;
    world.migration.backfill().run().await.unwrap();
    assert!(world.migration.verify().run().await.unwrap().proven);
    world.migration.advance(Stage::Shadow).await.unwrap();
    assert!(is_proven(&world.migration).await);
    world
}

async fn repaired<D: People>(world: &World<D, i64>) {
    let repair = world.migration.verify().repair().run().await.unwrap();
    assert_eq!(repair.failed, 0);
    assert!(!is_proven(&world.migration).await, "what a repair did is not verified yet");
    assert!(world.migration.verify().run().await.unwrap().proven);
    assert!(is_proven(&world.migration).await);
}

async fn a_sample_that_finds_a_difference_withdraws_the_proof<D: People>(db: Scratch<D>) {
    let world = proven(db, CopyPeople::<D, i64>::new(Way::Sql)).await;
    let sample = || world.migration.verify().sample(Percent::FULL).run();
    assert!(sample().await.unwrap().is_clean());
    assert!(is_proven(&world.migration).await, "nothing was found");
    for (set, kind) in [("a = 'x'", StaleKind::Difference), ("", StaleKind::Missing)] {
        world.plant("new_person", 3, set).await;
        assert_eq!(sample().await.unwrap().differing, 1);
        assert!(!is_proven(&world.migration).await);
        let stale = world.migration.status().await.unwrap().stale;
        assert_eq!(stale.iter().map(|mark| mark.kind).collect::<Vec<_>>(), [kind]);
        repaired(&world).await;
    }
    world.migration.advance(Stage::Live).await.unwrap();
}

async fn a_full_run_that_finds_a_difference_withdraws_the_proof<D: People>(db: Scratch<D>) {
    let world = proven(db, CopyPeople::<D, i64>::new(Way::Rust)).await;
    world.plant("old_person", 50, "").await;
    assert_eq!(world.migration.verify().run().await.unwrap().missing_in_old, 1);
    assert!(!is_proven(&world.migration).await);
    // Somebody corrects it by hand.
    world.plant("new_person", 50, "").await;
    assert!(!is_proven(&world.migration).await);
    assert!(world.migration.verify().sample(Percent::FULL).run().await.unwrap().is_clean());
    assert!(!is_proven(&world.migration).await, "a sample proves nothing");
    assert!(world.migration.verify().run().await.unwrap().proven);
    assert!(is_proven(&world.migration).await);
}

async fn a_run_that_breaks_down_after_a_difference_withdraws_the_proof<D: People>(db: Scratch<D>) {
    let copy = CopyPeople::<D, i64>::new(Way::Asked);
    let (pages, fails) = (Arc::clone(&copy.pages), Arc::clone(&copy.fails));
    let world = proven(db, copy).await;
    world.plant("new_person", 3, "a = 'x'").await;
    pages.store(0, SeqCst);
    fails.store(true, SeqCst);
    // The first page, the look at what it found, and no more. Its progress is not recorded.
    let broken = world.migration.verify().batch(10).run().await.unwrap_err();
    assert_eq!(broken.kind(), ErrorKind::CopyFailed);
    assert!(!is_proven(&world.migration).await);
    repaired(&world).await;
}

async fn a_repair_withdraws_the_proof_until_a_clean_full_run<D: People>(db: Scratch<D>) {
    let world = proven(db, CopyPeople::<D, i64>::new(Way::Sql)).await;
    let repair = || world.migration.verify().repair().run();
    assert_eq!(repair().await.unwrap().copied, 0);
    assert!(is_proven(&world.migration).await, "nothing was found");
    world.plant("new_person", 7, "n = 'x'").await;
    world.plant("old_person", 9, "").await;
    let report = repair().await.unwrap();
    assert_eq!((report.copied, report.removed), (1, 1));
    assert!(!is_proven(&world.migration).await);
    repaired(&world).await;
}

async fn a_dry_run_of_a_repair_withdraws_the_proof<D: People>(db: Scratch<D>) {
    let world = proven(db, CopyPeople::<D, i64>::new(Way::Sql)).await;
    world.plant("new_person", 7, "n = 'x'").await;
    assert_eq!(world.migration.verify().repair().dry_run().await.unwrap().copied, 1);
    assert!(!is_proven(&world.migration).await);
    repaired(&world).await;
}

async fn a_waived_difference_withdraws_nothing<D: People>(db: Scratch<D>) {
    let world = proven(db, CopyPeople::<D, i64>::new(Way::Sql)).await;
    assert_eq!(World::<D, i64>::key(1), "7");
    world
        .db
        .execute(
            "INSERT INTO dualwrite_failure (migration, side, key_text, generation, error, attempts, \
             failed_at, next_attempt_at) VALUES ('people', 'new', '7', 1, 'x', 1, 0, 9000000000000000)",
        )
        .await;
    world.migration.waive(&7_i64).by("ada").because("a test account").await.unwrap();
    world.plant("new_person", 1, "n = 'x'").await;
    let report = world.migration.verify().run().await.unwrap();
    assert_eq!((report.waived, report.proven), (1, true));
    assert_eq!(world.migration.verify().repair().dry_run().await.unwrap().copied, 1);
    assert!(is_proven(&world.migration).await);
    assert_eq!(world.migration.verify().repair().run().await.unwrap().copied, 1);
    assert!(is_proven(&world.migration).await);
}

async fn a_run_that_began_before_the_finding_proves_nothing<D: People>(db: Scratch<D>) {
    let world = Arc::new(proven(db, CopyPeople::<D, i64>::new(Way::Sql)).await);
    let (inside, done) = (Arc::clone(&world), AtomicBool::new(false));
    // Behind the first chunk a row of it is damaged, and found and corrected by a repair.
    let throttle = Throttle::default().when(move || {
        if !done.swap(true, SeqCst) {
            let act = async {
                inside.plant("new_person", 3, "a = 'x'").await;
                assert_eq!(inside.migration.verify().repair().run().await.unwrap().copied, 1);
                inside.plant("new_person", 3, "a = 'y'").await;
            };
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(act));
        }
        None
    });
    let report = world.migration.verify().batch(10).throttle(throttle).run().await.unwrap();
    assert!(report.is_clean() && !report.proven);
    assert!(!is_proven(&world.migration).await);
    repaired(&world).await;
}

async fn the_proof_of_old_is_withdrawn_on_the_way_back<D: People>(db: Scratch<D>) {
    let copy = CopyNotes::<D>::both_ways();
    let world = notes::World::copying(db, Stage::DualWrite, 10, plain, copy).await;
    let migration = &world.migration;
    migration.backfill().run().await.unwrap();
    migration.verify().run().await.unwrap();
    for stage in [Stage::Shadow, Stage::Live, Stage::RampDown, Stage::Complete] {
        migration.advance(stage).await.unwrap();
    }
    world.save(1, "by new alone").await;
    migration.step_back(Stage::RampDown).await.unwrap();
    migration.backfill().reverse().run().await.unwrap();
    assert!(migration.verify().run().await.unwrap().proven);
    assert_eq!(migration.readiness(Move::StepBack(Stage::Live)).await.unwrap(), []);

    world.db.execute("UPDATE old_note SET word = 'damaged' WHERE id = 4").await;
    let sample = migration.verify().sample(Percent::FULL).run().await.unwrap();
    assert_eq!(sample.differing, 1);
    for requested in [Move::StepBack(Stage::Live), Move::Rollback] {
        let found = migration.readiness(requested).await.unwrap();
        assert_eq!(found.iter().map(|one| one.gate).collect::<Vec<_>>(), [Gate::Verified]);
    }
    migration.rollback("latency").await.unwrap_err();
    migration.verify().repair().run().await.unwrap();
    migration.step_back(Stage::Live).await.unwrap_err();
    assert!(migration.verify().run().await.unwrap().proven);
    migration.step_back(Stage::Live).await.unwrap();
}

async fn complete_is_refused_after_a_difference_was_found<D: People>(db: Scratch<D>) {
    let world = proven(db, CopyPeople::<D, i64>::new(Way::Sql)).await;
    for stage in [Stage::Live, Stage::RampDown] {
        world.migration.advance(stage).await.unwrap();
    }
    world.plant("new_person", 5, "n = 'x'").await;
    assert_eq!(world.migration.verify().run().await.unwrap().differing, 1);
    let refused = world.migration.advance(Stage::Complete).await.unwrap_err();
    let says = "[verified] the last verification found 1 key that differs: run `dualwrite repair`";
    assert!(refused.to_string().contains(says), "{refused}");
    // New answers, so it is right.
    world.plant("new_person", 5, "n = '1'").await;
    world.migration.advance(Stage::Complete).await.unwrap_err();
    assert!(world.migration.verify().run().await.unwrap().proven);
    world.migration.advance(Stage::Complete).await.unwrap();
}
