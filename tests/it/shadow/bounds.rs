//! A mirror that never answers costs a bounded number of tasks, whatever the traffic.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use dualwrite::{Stage, defaults::SHADOW_CONCURRENCY, shadow::ShadowRules};

use super::{Rows as _, World};

#[tokio::test(start_paused = true)]
async fn a_hanging_mirror_holds_no_more_than_its_bound() {
    let (bound, calls) = (SHADOW_CONCURRENCY as u64, 10_000);
    let world = World::at(Stage::Shadow, ShadowRules::default()).await;
    let held = || Arc::strong_count(&world.new.calls);
    let before = held();
    world.new.hangs.store(true, SeqCst);
    for round in 1..=3 {
        for id in 0..calls {
            world.rows.find(id).await.unwrap();
            // What was started asks its mirror now, and hangs there.
            tokio::task::yield_now().await;
        }
        assert_eq!(world.new.calls.load(SeqCst), bound, "so many hang, and no more");
        let dropped = world.test.migration().status().await.unwrap().counters.shadow_dropped;
        assert_eq!(dropped, round * (calls as u64 - bound), "all others were dropped at once");
        world.test.settle().await;
        let counted = world.compared("find").await;
        assert_eq!(counted.timed_out, round * bound);
        assert_eq!(counted.total(), round * calls as u64);
        assert_eq!(world.calls(), [calls as u64, bound], "old was asked by the callers alone");
        assert_eq!(held(), before, "nothing is left behind");
    }
}
