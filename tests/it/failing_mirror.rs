//! A new side that refuses its writes while the old side answers: the default guard goes back, no instance goes live, and
//! page, command and status name the cause without values. A verification that found differences is named by its count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::time::Duration;

use dualwrite::{Gate, Move, Percent, Runtime, Stage, guard::Guards, operator::Operator};

use crate::support::db::{Scratch, on_all_databases};
use crate::support::hook::Hook;
use crate::support::notes::{CopyNotes, DualNotes, FAILS, Notes as _, Store, WORKS, World, plain};
use crate::support::sql::Sql;
use crate::support::wait::soon;

on_all_databases!(
    the_default_guard_goes_back_where_mirror_writes_fail,
    an_operator_and_other_instances_see_mirror_writes_that_fail,
    a_verification_that_found_differences_is_named_by_its_count,
);

const PERIOD: Duration = Duration::from_secs(1_800);

async fn the_default_guard_goes_back_where_mirror_writes_fail<D: Sql>(db: Scratch<D>) {
    db.execute(
        "CREATE TABLE old_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL);
         CREATE TABLE new_note (id BIGINT PRIMARY KEY, word VARCHAR(50) NOT NULL)",
    )
    .await;
    let builder = Runtime::builder(db.pool().clone())
        .lease(Duration::from_secs(7 * 24 * 60 * 60))
        .poll(Duration::from_millis(20));
    let (builder, hands) = builder.manual_clock();
    let runtime = builder.start().await.unwrap();
    let registration = runtime.migration("notes").backfill(CopyNotes::<D>::new());
    let registration = registration.guards(Guards::default().every(PERIOD));
    let migration = registration.register().await.unwrap();
    let mood = Arc::<AtomicU8>::default();
    let store = |table, mood: &Arc<AtomicU8>| Store::<D> {
        table,
        pool: db.pool().clone(),
        mood: Arc::clone(mood),
        hanging: Arc::default(),
        reading: Hook::default(),
        removing: Hook::default(),
    };
    let (old, new) = (store("old_note", &Arc::default()), store("new_note", &mood));
    let notes = DualNotes::new(&migration, old, new);
    migration.advance(Stage::DualWrite).await.unwrap();
    migration.backfill().run().await.unwrap();
    assert!(migration.verify().run().await.unwrap().is_clean());
    migration.advance(Stage::Shadow).await.unwrap();
    migration.ramp_to(Percent::new(1).unwrap()).await.unwrap();
    mood.store(FAILS, SeqCst);
    for id in 0..150 {
        let mut tx = migration.begin(db.pool()).await.unwrap();
        // The few keys that new answers for fail; the others go on.
        if notes.save(&mut tx, id, "word").await.is_ok() {
            tx.commit().await.unwrap();
        }
    }
    assert!(migration.status().await.unwrap().mirror.failed > 100);
    hands.advance(PERIOD);
    soon("the guard", async || {
        let position = migration.position();
        (position.stage == Stage::Shadow && position.ramp == Percent::ZERO).then_some(())
    })
    .await;
    let events = migration.events().await.unwrap();
    let back = events.iter().find(|event| event.actor.starts_with("guard")).unwrap();
    assert!(back.reason.contains("mirror_failure_rate: "), "{}", back.reason);
}

async fn an_operator_and_other_instances_see_mirror_writes_that_fail<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Shadow, 0, plain).await;
    world.migration.backfill().run().await.unwrap();
    world.migration.verify().run().await.unwrap();
    let runtime = Runtime::builder(world.db.another_pool(4).await).start().await.unwrap();
    let registration = runtime.migration("notes").backfill(CopyNotes::<D>::new());
    let other = registration.register().await.unwrap();
    let operator = Operator::new(world.db.pool().clone());
    assert_eq!(operator.migration("notes").await.unwrap().mirror, None);
    world.new_mood.store(FAILS, SeqCst);
    for id in 0..6 {
        world.save(id, "PLANTED").await;
    }
    let mirror = soon("what an instance tells of its mirror writes", async || {
        operator.migration("notes").await.unwrap().mirror.filter(|mirror| mirror.failing)
    })
    .await;
    let told = mirror.to_string();
    assert_eq!((mirror.instances, mirror.worst.percent_min), (1, 100));
    assert!(told.contains("Notes::save on the new side: "), "{told}");
    assert!(told.contains(D::sql("1299", "23502", "23000")), "{told}");
    assert!(!told.contains("PLANTED") && !told.contains("(0"), "{told}");
    let overview = operator.migration("notes").await.unwrap();
    assert_eq!(overview.attention(), Some("mirror writes fail"));
    // The writes work again, the keys are repaired and verified: those that failed a moment ago still count.
    world.new_mood.store(WORKS, SeqCst);
    world.migration.repair().await.unwrap();
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    let refused = other.advance(Stage::Live).await.unwrap_err();
    let found: Vec<Gate> = refused.blockers().iter().map(|blocker| blocker.gate).collect();
    assert_eq!(found, [Gate::MirrorWrites], "{refused}");
    assert!(refused.to_string().contains(&mirror.worst_instance), "{refused}");
}

async fn a_verification_that_found_differences_is_named_by_its_count<D: Sql>(db: Scratch<D>) {
    let world = World::with(db, Stage::Shadow, 5, plain).await;
    world.migration.backfill().run().await.unwrap();
    world.migration.verify().run().await.unwrap();
    world.db.execute("UPDATE new_note SET word = 'other' WHERE id < 4").await;
    assert_eq!(world.migration.verify().run().await.unwrap().differing, 3);
    let says = "the last verification found 3 keys that differ: run `dualwrite repair`";
    let refused = world.migration.advance(Stage::Live).await.unwrap_err();
    assert!(refused.to_string().contains(says), "{refused}");
    let operator = Operator::new(world.db.pool().clone());
    let blockers = operator.readiness("notes", Some(Move::Advance(Stage::Live))).await.unwrap();
    assert!(blockers.iter().any(|blocker| blocker.reason.starts_with(says)), "{blockers:?}");
    world.migration.verify().repair().run().await.unwrap();
    assert!(world.migration.verify().run().await.unwrap().is_clean());
    world.migration.advance(Stage::Live).await.unwrap();
}
