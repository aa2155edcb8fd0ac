//! The table: in each stage, for reads, scans and writes, with each side working or not, which side is
//! called, what comes back, and what is counted.

use std::sync::atomic::Ordering::SeqCst;

use dualwrite::{ShadowRules, Stage};

use super::{Rows as _, World};
use crate::support::db::{Scratch, on_all_databases};
use crate::support::notes::{self, CopyNotes, FAILS, Notes as _, WORKS, plain};
use crate::support::sql::Sql;

const STAGES: [Stage; 6] =
    [Stage::Off, Stage::DualWrite, Stage::Shadow, Stage::Live, Stage::RampDown, Stage::Complete];

#[tokio::test(start_paused = true)]
async fn reads_and_scans() {
    for stage in STAGES {
        for fails in [[false, false], [false, true], [true, false], [true, true]] {
            for method in ["find", "all"] {
                let world = World::at(stage, ShadowRules::default()).await;
                for (side, fails) in [&world.old, &world.new].into_iter().zip(fails) {
                    if fails {
                        side.fails("gone");
                    }
                }
                let answer = match method {
                    "find" => world.rows.find(1).await.map(|_| ()),
                    _ => world.rows.all().await.map(|_| ()),
                };
                let place = format!("{method} at {stage}, failing {fails:?}");
                let new_answers = stage >= Stage::Live;
                assert_eq!(answer.is_err(), fails[usize::from(new_answers)], "{place}");
                let counted = world.compared(method).await;
                let compares = matches!(stage, Stage::Shadow | Stage::Live);
                let called = match (compares, new_answers) {
                    (true, _) => [1, 1],
                    (false, true) => [0, 1],
                    (false, false) => [1, 0],
                };
                assert_eq!(world.calls(), called, "{place}");
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

on_all_databases!(writes);

/// The stages that a write can meet with both sides, one side, or the other.
async fn writes<D: Sql>(db: Scratch<D>) {
    let world = notes::World::copying(db, Stage::Off, 0, plain, CopyNotes::both_ways()).await;
    let mut id = 0;
    for stage in STAGES {
        if stage != Stage::Off {
            while world.migration.status().await.unwrap().dirty_new > 0 {
                world.migration.repair().await.unwrap();
            }
            if stage == Stage::Live {
                world.migration.backfill().run().await.unwrap();
                assert!(world.migration.verify().run().await.unwrap().is_clean());
            }
            world.migration.repair().await.unwrap();
            world.migration.advance(stage).await.unwrap();
        }
        for fails in [[false, false], [false, true], [true, false]] {
            id += 1;
            let [old_mood, new_mood] = fails.map(|fails| if fails { FAILS } else { WORKS });
            world.old_mood.store(old_mood, SeqCst);
            world.new_mood.store(new_mood, SeqCst);
            let before = world.migration.status().await.unwrap();
            let mut tx = world.begin().await;
            let answer = world.notes.save(&mut tx, id, "word").await;
            let committed = answer.is_ok() && tx.commit().await.is_ok();
            let after = world.migration.status().await.unwrap();
            let place = format!("{stage} on {}, failing {fails:?}", D::NAME);
            let (old_called, new_called) = (stage <= Stage::RampDown, stage >= Stage::DualWrite);
            let primary_fails = fails[usize::from(stage >= Stage::Live)];
            let mirror_fails = old_called && new_called && fails[usize::from(stage < Stage::Live)];
            // Scans read new from `Live` on, so a failed mirror there can be forgiven; old is copied back.
            assert_eq!(committed, !primary_fails, "{place}");
            let forgiven = u64::from(mirror_fails && !primary_fails);
            let counted = after.counters.mirror_failed - before.counters.mirror_failed;
            assert_eq!(counted, forgiven, "{place}");
            let calls = |status: &dualwrite::Status, new: bool| {
                let method = status.methods.iter().find(|method| method.method == "save");
                method.map_or(0, |m| if new { m.new.calls } else { m.old.calls })
            };
            let called = [false, true].map(|new| calls(&after, new) - calls(&before, new));
            // Old comes first: where it fails and answers, new is not written.
            let stopped = fails[0] && stage < Stage::Live;
            let expected = [u64::from(old_called), u64::from(new_called && !stopped)];
            assert_eq!(called, expected, "{place}");
            for mood in [&world.old_mood, &world.new_mood] {
                mood.store(WORKS, SeqCst);
            }
        }
    }
}
