//! Results by cohort, and samples by key.

use std::collections::BTreeSet;

use dualwrite::testing::TestMigration;
use dualwrite::{
    Percent, Stage,
    defaults::COHORTS_MAX,
    shadow::{ShadowRules, cohort},
};

use super::{Row, Rows as _, World, row};

#[tokio::test(start_paused = true)]
async fn a_cohort_is_counted_apart() {
    let world = World::at(Stage::Shadow, ShadowRules::default()).await;
    world.rows.find(1).await.unwrap();
    let nested = async {
        world.rows.find(2).await.unwrap();
        cohort("small", world.rows.find(3)).await.unwrap();
    };
    cohort("enterprise", nested).await;
    world.test.settle().await;
    world.new.answers(|_| Ok(Row { email: "other".into(), ..row() }));
    cohort("enterprise", world.rows.all()).await.unwrap();
    world.test.settle().await;
    let cohorts = world.test.migration().status().await.unwrap().cohorts;
    let found: Vec<_> = cohorts
        .iter()
        .map(|found| (&*found.cohort, found.compared.equal, found.compared.different))
        .collect();
    assert_eq!(found, [("enterprise", 1, 1), ("small", 1, 0)]);
    assert_eq!(world.counters().await.shadow_equal, 3);
}

#[tokio::test(start_paused = true)]
async fn cohorts_are_bounded() {
    let world = World::at(Stage::Shadow, ShadowRules::default()).await;
    for number in 0..COHORTS_MAX + 5 {
        cohort(&format!("tenant {number}"), world.rows.find(1)).await.unwrap();
        world.test.settle().await;
    }
    let cohorts = world.test.migration().status().await.unwrap().cohorts;
    assert_eq!(cohorts.len(), COHORTS_MAX + 1);
    let other = cohorts.iter().find(|found| found.cohort == "other").unwrap();
    assert_eq!(other.compared.equal, 5);
    assert_eq!(world.counters().await.cohorts_beyond, 5);
}

#[tokio::test(start_paused = true)]
async fn a_cohort_outside_of_a_comparison_counts_nothing() {
    let world = World::at(Stage::Off, ShadowRules::default()).await;
    cohort("enterprise", world.rows.find(1)).await.unwrap();
    world.test.settle().await;
    assert!(world.test.migration().status().await.unwrap().cohorts.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_same_keys_are_compared_every_time() {
    let share = Percent::new(10).unwrap();
    let test = TestMigration::with_shadow_by_key("rows", share).await.unwrap();
    let world = World::of(test, Stage::Shadow);
    let mut rounds = Vec::new();
    for _ in 0..2 {
        let mut compared = BTreeSet::new();
        for id in 0..500 {
            world.rows.find(id).await.unwrap();
            world.test.settle().await;
            if world.calls()[1] > 0 {
                compared.insert(id);
            }
        }
        rounds.push(compared);
    }
    assert_eq!(rounds[0], rounds[1]);
    assert!((30..80).contains(&rounds[0].len()), "{}", rounds[0].len());
    // Which keys the ramp has reached is another matter: some of these, and not all.
    world.test.put(Stage::Shadow, Percent::new(50).unwrap()).unwrap();
    world.new.answers(|_| Ok(Row { email: "other".into(), ..row() }));
    let mut live = 0;
    for id in &rounds[0] {
        live += usize::from(world.rows.find(*id).await.unwrap().email == "other");
        world.test.settle().await;
    }
    assert!((1..rounds[0].len()).contains(&live), "{live} of {}", rounds[0].len());
}
