//! The table: in each stage, for reads, scans, writes and writes of both at once, with each side working or
//! not, which side is called, what comes back, and what is counted.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use dualwrite::{
    Backend, MirrorPolicy, Percent, Registration, Stage, Status, Tx, shadow::ShadowRules,
};

use super::{Rows as _, World};
use crate::support::db::{Scratch, on_all_databases};
use crate::support::hook::Hook;
use crate::support::notes::{self, CopyNotes, FAILS, Notes, Store, WORKS, plain};
use crate::support::sql::Sql;

const STAGES: [Stage; 6] =
    [Stage::Off, Stage::DualWrite, Stage::Shadow, Stage::Live, Stage::RampDown, Stage::Complete];

/// Which of old and new fail.
const FAILING: [[bool; 2]; 4] = [[false, false], [false, true], [true, false], [true, true]];

/// In each stage as such, and with all keys on their way to the next one: then reads of a key are those of
/// the next stage, and scans are not.
#[tokio::test(start_paused = true)]
async fn reads_and_scans() {
    let ramps = STAGES.iter().filter(|stage| **stage != Stage::Complete);
    let places = STAGES.iter().map(|stage| (*stage, Percent::ZERO));
    for (stage, ramp) in places.chain(ramps.map(|stage| (*stage, Percent::FULL))) {
        for fails in FAILING {
            for method in ["find", "all"] {
                let world = World::at(stage, ShadowRules::default()).await;
                world.test.put(stage, ramp).unwrap();
                let acts_as = match method {
                    "find" if ramp == Percent::FULL => stage.next().unwrap(),
                    _ => stage,
                };
                for (side, fails) in [&world.old, &world.new].into_iter().zip(fails) {
                    if fails {
                        side.fails("gone");
                    }
                }
                let answer = match method {
                    "find" => world.rows.find(1).await.map(|_| ()),
                    _ => world.rows.all().await.map(|_| ()),
                };
                let place = format!("{method} at {stage}, {ramp} on, failing {fails:?}");
                let new_answers = acts_as >= Stage::Live;
                assert_eq!(answer.is_err(), fails[usize::from(new_answers)], "{place}");
                let counted = world.compared(method).await;
                let compares = matches!(acts_as, Stage::Shadow | Stage::Live);
                let called = match (compares, new_answers) {
                    (true, _) => [1, 1],
                    (false, true) => [0, 1],
                    (false, false) => [1, 0],
                };
                assert_eq!(world.calls(), called, "{place}");
                assert_eq!(calls(&world.status().await, method), called, "{place}");
                let failed = [called[0] * u64::from(fails[0]), called[1] * u64::from(fails[1])];
                assert_eq!(errors(&world.status().await, method), failed, "{place}");
                assert_eq!(counted.total(), u64::from(compares), "{place}");
                if compares {
                    let [primary, mirror] = match new_answers {
                        true => [fails[1], fails[0]],
                        false => fails,
                    };
                    let found = match (primary, mirror) {
                        (false, false) => counted.equal,
                        (false, true) => counted.mirror_failed,
                        (true, false) => counted.primary_failed,
                        (true, true) => counted.failed_alike,
                    };
                    assert_eq!(found, 1, "{place}: {counted:?}");
                }
            }
        }
    }
}

/// What was counted for a method, by side: calls, and errors.
fn calls(status: &Status, method: &str) -> [u64; 2] {
    let found = status.methods.iter().find(|found| found.method == method);
    found.map_or([0, 0], |found| [found.old.calls, found.new.calls])
}

fn errors(status: &Status, method: &str) -> [u64; 2] {
    let found = status.methods.iter().find(|found| found.method == method);
    found.map_or([0, 0], |found| [found.old.errors, found.new.errors])
}

fn since(now: [u64; 2], before: [u64; 2]) -> [u64; 2] {
    [now[0] - before[0], now[1] - before[1]]
}

on_all_databases!(writes, strict_writes, writes_of_both_at_once);

async fn writes<D: Sql>(db: Scratch<D>) {
    let world = notes::World::copying(db, Stage::Off, 0, plain, CopyNotes::both_ways()).await;
    write_in_every_stage(&world, MirrorPolicy::MarkDirty).await;
}

async fn strict_writes<D: Sql>(db: Scratch<D>) {
    let world = notes::World::copying(db, Stage::Off, 0, strict, CopyNotes::both_ways()).await;
    write_in_every_stage(&world, MirrorPolicy::Abort).await;
}

fn strict<DB: Backend>(registration: Registration<'_, DB>) -> Registration<'_, DB> {
    registration.mirror(MirrorPolicy::Abort)
}

/// Old is written before new, whichever answers. What fails first decides whether the other is written.
async fn write_in_every_stage<D: Sql>(world: &notes::World<D>, policy: MirrorPolicy) {
    let mut id = 0;
    for stage in STAGES {
        go_to(world, stage).await;
        for fails in FAILING {
            id += 1;
            let before = world.migration.status().await.unwrap();
            let committed = save(world, &world.notes, fails, id).await;
            let after = world.migration.status().await.unwrap();
            let place = format!("{stage} on {}, failing {fails:?}", D::NAME);
            let called = [stage <= Stage::RampDown, stage >= Stage::DualWrite];
            let forgives = policy == MirrorPolicy::MarkDirty && called == [true, true];
            let primary = usize::from(stage >= Stage::Live);
            // Old is given up for good where it answers, or where nothing is forgiven.
            let ends_at_old = called[0] && fails[0] && (primary == 0 || !forgives);
            let called = [called[0], called[1] && !ends_at_old];
            let mirror_failed = called[1 - primary] && fails[1 - primary];
            let fails_at_all = (called[primary] && fails[primary]) || (mirror_failed && !forgives);
            assert_eq!(committed, !fails_at_all, "{place}");
            let counted = after.counters.mirror_failed - before.counters.mirror_failed;
            // Where the caller's write failed too, nothing is left dirty.
            let is_left = mirror_failed && forgives && committed;
            assert_eq!(counted, u64::from(is_left), "{place}");
            let found = since(calls(&after, "save"), calls(&before, "save"));
            assert_eq!(found, called.map(u64::from), "{place}");
            let failed = [called[0] && fails[0], called[1] && fails[1]];
            let found = since(errors(&after, "save"), errors(&before, "save"));
            assert_eq!(found, failed.map(u64::from), "{place}");
        }
    }
}

/// One implementation writes both: it counts as the side that answers, and nothing of it is forgiven.
async fn writes_of_both_at_once<D: Sql>(db: Scratch<D>) {
    let world = notes::World::copying(db, Stage::Off, 0, plain, CopyNotes::both_ways()).await;
    let store = |table, mood: &Arc<_>| Store::<D> {
        table,
        pool: world.db.pool().clone(),
        mood: Arc::clone(mood),
        hanging: Arc::default(),
        reading: Hook::default(),
        removing: Hook::default(),
    };
    let both =
        Both { old: store("old_note", &world.old_mood), new: store("new_note", &world.new_mood) };
    let notes = world.notes.clone().with_both(both);
    let mut id = 0;
    for stage in STAGES {
        go_to(&world, stage).await;
        for fails in FAILING {
            id += 1;
            let before = world.migration.status().await.unwrap();
            let committed = save(&world, &notes, fails, id).await;
            let after = world.migration.status().await.unwrap();
            let place = format!("{stage} on {}, failing {fails:?}", D::NAME);
            let failed = match stage {
                Stage::Off => fails[0],
                Stage::Complete => fails[1],
                _ => fails[0] || fails[1],
            };
            assert_eq!(committed, !failed, "{place}");
            let answers = match stage >= Stage::Live {
                true => [0, 1],
                false => [1, 0],
            };
            assert_eq!(since(calls(&after, "save"), calls(&before, "save")), answers, "{place}");
            let found = since(errors(&after, "save"), errors(&before, "save"));
            assert_eq!(found, answers.map(|one| one * u64::from(failed)), "{place}");
            assert_eq!(after.counters.mirror_failed, 0, "{place}");
        }
    }
}

/// An implementation for both sides.
struct Both<D: Sql> {
    old: Store<D>,
    new: Store<D>,
}

impl<D: Sql> Notes<D::Db> for Both<D> {
    async fn find(&self, id: i64) -> Result<Option<String>, sqlx::Error> {
        self.old.find(id).await
    }

    async fn save(&self, tx: &mut Tx<'_, D::Db>, id: i64, word: &str) -> Result<(), sqlx::Error> {
        self.old.save(tx, id, word).await?;
        self.new.save(tx, id, word).await
    }

    async fn remove(&self, tx: &mut Tx<'_, D::Db>, id: i64) -> Result<(), sqlx::Error> {
        self.old.remove(tx, id).await?;
        self.new.remove(tx, id).await
    }
}

/// One stage further, with all that its gates ask for.
async fn go_to<D: Sql>(world: &notes::World<D>, stage: Stage) {
    if stage == Stage::Off {
        return;
    }
    world.migration.repair().await.unwrap();
    if stage == Stage::Live {
        world.migration.backfill().run().await.unwrap();
        assert!(world.migration.verify().run().await.unwrap().is_clean());
    }
    world.migration.advance(stage).await.unwrap();
}

/// Writes once, with these sides failing. Returns whether it was committed.
async fn save<D: Sql>(
    world: &notes::World<D>,
    notes: &impl Notes<D::Db>,
    fails: [bool; 2],
    id: i64,
) -> bool {
    for (mood, fails) in [&world.old_mood, &world.new_mood].into_iter().zip(fails) {
        mood.store(if fails { FAILS } else { WORKS }, SeqCst);
    }
    let mut tx = world.begin().await;
    let answer = notes.save(&mut tx, id, "word").await;
    let committed = answer.is_ok() && tx.commit().await.is_ok();
    for mood in [&world.old_mood, &world.new_mood] {
        mood.store(WORKS, SeqCst);
    }
    committed
}
