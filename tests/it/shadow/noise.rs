//! The noise baseline: what old never answers twice is left out, and hides nothing beside it.

use dualwrite::testing::TestMigration;
use dualwrite::{
    Percent, Stage, defaults::NOISE_CHECKS_MIN, guard::GuardReport, shadow::ShadowRules,
};

use super::{Row, Rows as _, World, row};

async fn world(stage: Stage, share: Percent) -> World {
    let world = World::at(stage, ShadowRules::default().noise(share)).await;
    world.old.answers(|call| Ok(Row { read_at: call, ..row() }));
    world.new.answers(|call| Ok(Row { read_at: 1_000_000 + call, ..row() }));
    world
}

async fn read(world: &World, times: u64) {
    for _ in 0..times {
        world.rows.find(1).await.unwrap();
        world.test.settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_field_that_is_never_the_same_twice_is_noise_and_hides_nothing() {
    for stage in [Stage::Shadow, Stage::Live] {
        let world = world(stage, Percent::FULL).await;
        read(&world, NOISE_CHECKS_MIN - 1).await;
        let counted = world.compared("find").await;
        assert_eq!((counted.transient, counted.ignored), (NOISE_CHECKS_MIN - 1, 0), "{stage}");
        read(&world, 3).await;
        assert_eq!(world.compared("find").await.ignored, 3, "{stage}");
        let noise = world.test.migration().status().await.unwrap().noise;
        let (field, seen) = (&*noise[0].field, (noise[0].differed, noise[0].from_itself));
        let looks = NOISE_CHECKS_MIN + 2;
        assert_eq!((field, seen, noise[0].looks), ("read_at", (looks, looks), looks), "{stage}");
        assert!(noise[0].is_noise && noise.len() == 1, "{stage}");

        world.new.answers(|call| Ok(Row { read_at: call, email: "other".into(), ..row() }));
        read(&world, 1).await;
        assert_eq!(world.compared("find").await.different, 1, "{stage}");
        let fields = world.test.migration().status().await.unwrap().fields;
        assert_eq!(fields.iter().map(|f| &*f.field).collect::<Vec<_>>(), ["email"], "{stage}");
    }
}

/// The baseline has seen that old never answers the field twice, and would leave the difference out.
#[tokio::test(start_paused = true)]
async fn a_critical_field_is_never_noise_and_breaches() {
    for is_critical in [true, false] {
        let rules = ShadowRules::default().noise(Percent::FULL);
        let field = if is_critical { "read_at" } else { "email" };
        let test = TestMigration::with_critical("rows", field, rules).await.unwrap();
        let world = World::of(test, Stage::Shadow);
        world.old.answers(|call| Ok(Row { read_at: call, ..row() }));
        world.new.answers(|call| Ok(Row { read_at: 1_000_000 + call, ..row() }));
        read(&world, 2 * NOISE_CHECKS_MIN).await;
        let before = world.status().await;
        assert!(before.noise[0].is_noise, "{is_critical}: {:?}", before.noise);
        assert_eq!(before.counters.critical_different, 0, "in flux, and so not confirmed");
        assert!(!matches!(before.health, GuardReport::Breached(_)), "{}", before.health);
        // Now both stand still, and still differ.
        world.old.answers(|_| Ok(row()));
        world.new.answers(|_| Ok(Row { read_at: 1, ..row() }));
        read(&world, 1).await;
        let after = world.status().await;
        assert!(after.noise[0].is_noise, "{is_critical}: {:?}", after.noise);
        let found = (after.counters.shadow_different, after.counters.critical_different);
        assert_eq!(found, if is_critical { (1, 1) } else { (0, 0) });
        let breached = matches!(&after.health, GuardReport::Breached(breaches)
            if breaches.iter().any(|breach| breach.guard == "critical_mismatches"));
        assert_eq!(breached, is_critical, "{}", after.health);
    }
}

#[tokio::test(start_paused = true)]
async fn what_new_alone_never_answers_twice_counts() {
    let world = world(Stage::Shadow, Percent::FULL).await;
    world.old.answers(|_| Ok(row()));
    read(&world, 30).await;
    let counted = world.compared("find").await;
    assert_eq!((counted.different, counted.ignored), (30, 0));
    // Each looks for noise once, and four times at both sides; all of these are calls of a side.
    let status = world.status().await;
    let find = status.methods.iter().find(|method| method.method.ends_with("find")).unwrap();
    let asked = status.counters.shadow_asked_again;
    assert_eq!(find.old.calls + find.new.calls, 30 * 2 + asked);
    assert_eq!(asked, 30 * (1 + 4 * 4));
}

#[tokio::test(start_paused = true)]
async fn a_write_meanwhile_is_no_noise() {
    let world = world(Stage::Shadow, Percent::FULL).await;
    // Each comparison sees the old value once, and then the one that was written.
    let count = std::sync::atomic::AtomicU64::new(0);
    world.old.answers(move |_| {
        let call = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok(Row { read_at: call.min(1), ..row() })
    });
    read(&world, 1).await;
    let noise = world.test.migration().status().await.unwrap().noise;
    assert_eq!((noise[0].differed, noise[0].from_itself), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn without_a_share_old_is_not_read_again_and_nothing_is_noise() {
    let world = world(Stage::Shadow, Percent::ZERO).await;
    world.new.answers(|call| Ok(Row { read_at: call, ..row() }));
    world.old.answers(|call| Ok(Row { read_at: call, ..row() }));
    read(&world, 50).await;
    assert_eq!(world.calls(), [50, 50]);
    assert!(world.test.migration().status().await.unwrap().noise.is_empty());
}

#[tokio::test(start_paused = true)]
async fn old_is_read_again_on_the_share_that_was_asked_for() {
    let world = world(Stage::Shadow, Percent::new(10).unwrap()).await;
    world.new.answers(|_| Ok(row()));
    world.old.answers(|_| Ok(row()));
    read(&world, 1_000).await;
    let [old, new] = world.calls();
    assert_eq!(new, 1_000);
    assert!((1_080..=1_120).contains(&old), "{old}");
}
