//! The classes that a comparison can end in.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use dualwrite::testing::TestMigration;
use dualwrite::{ErrorKind, Stage, shadow::ShadowRules};

use super::{Refused, Row, Rows as _, World, row};

#[tokio::test(start_paused = true)]
async fn errors_are_alike_where_they_say_the_same() {
    let world = World::at(Stage::Shadow, ShadowRules::default()).await;
    world.old.fails("gone");
    world.new.fails("gone");
    assert_eq!(world.rows.find(1).await.unwrap_err().0, "gone");
    world.test.settle().await;
    world.new.fails("locked");
    assert_eq!(world.rows.find(1).await.unwrap_err().0, "gone");
    let counted = world.compared("find").await;
    assert_eq!((counted.failed_alike, counted.failed_differently, counted.total()), (1, 1, 2));
    let counters = world.counters().await;
    assert_eq!((counters.shadow_failed_alike, counters.shadow_failed_differently), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn errors_that_say_nothing_are_alike() {
    let world = World::at(Stage::Shadow, ShadowRules::default()).await;
    world.old.fails("gone");
    world.new.fails("locked");
    assert!(world.rows.opaque(1).await.is_err());
    assert_eq!(world.compared("opaque").await.failed_alike, 1);
}

#[tokio::test(start_paused = true)]
async fn a_registration_says_which_errors_are_alike_and_which_to_ignore() {
    let rules = ShadowRules::default()
        .error_kind(|error: &Refused| error.0.starts_with("gone"))
        .ignore_errors(|error: &Refused| error.0 == "busy");
    let world = World::at(Stage::Live, rules).await;
    world.old.fails("gone away");
    world.new.fails("gone for good");
    assert_eq!(world.rows.find(1).await.unwrap_err().0, "gone for good", "new's own error");
    world.test.settle().await;
    world.old.fails("locked");
    assert!(world.rows.find(1).await.is_err());
    world.test.settle().await;
    world.old.fails("busy");
    assert!(world.rows.find(1).await.is_err());
    world.test.settle().await;
    world.new.answers(|_| Ok(row()));
    assert!(world.rows.find(1).await.is_ok());
    let counted = world.compared("find").await;
    assert_eq!((counted.failed_alike, counted.failed_differently, counted.ignored), (1, 1, 2));
    assert_eq!(counted.total(), 4);
}

#[tokio::test(start_paused = true)]
async fn differences_in_ignored_fields_alone_are_ignored() {
    let rules = ShadowRules::default().ignore_field("read_at");
    let world = World::at(Stage::Shadow, rules).await;
    world.old.answers(|call| Ok(Row { read_at: call, ..row() }));
    world.new.answers(|call| Ok(Row { read_at: 1_000 + call, ..row() }));
    world.rows.find(1).await.unwrap();
    let counted = world.compared("find").await;
    assert_eq!((counted.ignored, counted.total()), (1, 1));
    // What is ignored does not hide what differs beside it.
    world.new.answers(|call| Ok(Row { read_at: call, email: "other".into(), ..row() }));
    world.rows.find(1).await.unwrap();
    let status = world.test.migration().status().await.unwrap();
    assert_eq!(world.compared("find").await.different, 1, "{:?}", status.counters);
    let fields = world.test.migration().status().await.unwrap().fields;
    let found: Vec<_> = fields.iter().map(|f| (&*f.method, &*f.field, f.differences)).collect();
    assert_eq!(found, [("Rows::find", "email", 1)]);
    world.old.answers(|_| Ok(row()));
    world.new.answers(|_| Ok(Row { email: "other".into(), ..row() }));
    for _ in 0..2 {
        world.rows.all().await.unwrap();
    }
    let fields = world.status().await.fields;
    let found: Vec<_> = fields.iter().map(|f| (&*f.method, &*f.field, f.differences)).collect();
    assert_eq!(found, [("Rows::find", "email", 1), ("Rows::all", "[].email", 2)], "by method");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_given_up_is_in_no_class() {
    let world = World::at(Stage::Shadow, ShadowRules::default()).await;
    world.old.hangs.store(true, SeqCst);
    let limit = Duration::from_secs(1);
    assert!(tokio::time::timeout(limit, world.rows.find(1)).await.is_err());
    assert_eq!(world.calls(), [1, 0]);
    world.old.hangs.store(false, SeqCst);
    assert_eq!(world.compared("find").await.total(), 0);
    world.rows.find(1).await.unwrap();
    assert_eq!(world.compared("find").await.total(), 1);
}

#[tokio::test]
async fn rules_that_name_no_field_are_refused() {
    let rules = ShadowRules::default().ignore_field("");
    let refused = TestMigration::with_shadow_rules("rows", rules).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
    let rules = ShadowRules::default().ignore_field("email");
    let refused = TestMigration::with_critical("rows", "email", rules).await.unwrap_err();
    assert!(refused.to_string().contains("`email` is critical and ignored"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn what_a_critical_field_lies_in_is_critical_too() {
    for (field, is_critical) in [("[].email", true), ("[].email.host", true), ("[].id", false)] {
        let rules = ShadowRules::default();
        let test = TestMigration::with_critical("rows", field, rules).await.unwrap();
        let world = World::of(test, Stage::Shadow);
        world.new.answers(|_| Ok(Row { email: "other".into(), ..row() }));
        world.rows.all().await.unwrap();
        let counters = world.counters().await;
        let found = (counters.shadow_different, counters.critical_different);
        assert_eq!(found, (1, u64::from(is_critical)), "{field}");
    }
}
