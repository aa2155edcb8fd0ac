//! What a service hears of single comparisons, and what it says of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};

use dualwrite::{
    Stage,
    compare::Shown,
    defaults::SHADOW_REPORTS_MAX,
    shadow::{ShadowFinding, ShadowReport, ShadowRules, with_context},
};

use super::{Refused, Row, Rows as _, World, row};

type Heard = Arc<Mutex<Vec<ShadowReport>>>;

fn hearing(rules: ShadowRules) -> (Heard, ShadowRules) {
    let heard = Heard::default();
    let hears = Arc::clone(&heard);
    (heard, rules.on_report(move |report| hears.lock().unwrap().push(report.clone())))
}

async fn taken(world: &World, heard: &Heard) -> Vec<ShadowReport> {
    world.test.settle().await;
    std::mem::take(&mut heard.lock().unwrap())
}

#[tokio::test]
async fn a_difference_is_reported_with_method_key_cohort_and_redacted_values() {
    let (heard, rules) = hearing(ShadowRules::default());
    let world = World::at(Stage::Shadow, rules).await;
    world.rows.find(7).await.unwrap();
    assert!(taken(&world, &heard).await.is_empty(), "what is equal is not reported");
    world.new.answers(|_| Ok(Row { email: "other".into(), country: "DE".into(), ..row() }));
    dualwrite::shadow::cohort("large", world.rows.find(7)).await.unwrap();
    let [report] = taken(&world, &heard).await.try_into().unwrap();
    assert_eq!((&*report.migration, &*report.method), ("rows", "Rows::find"));
    assert_eq!((report.key.as_deref(), report.cohort.as_deref()), (Some("7"), Some("large")));
    let ShadowFinding::Different(fields) = &report.found else { panic!("{report:?}") };
    let found: Vec<_> =
        fields.iter().map(|field| (&*field.field, &field.old, &field.new)).collect();
    let shown = |text: &str| Some(Shown::Revealed(text.to_owned()));
    let hidden = Some(Shown::Redacted);
    let (ch, de) = (shown("\"CH\""), shown("\"DE\""));
    assert_eq!(found, [("email", &hidden, &hidden), ("country", &ch, &de)]);
    world.rows.all().await.unwrap();
    let [report] = taken(&world, &heard).await.try_into().unwrap();
    assert_eq!((report.key, report.cohort), (None, None));
}

#[tokio::test]
async fn a_mirror_that_fails_is_told_from_a_comparison_that_panics_and_texts_are_asked_for() {
    for asks in [false, true] {
        let mut rules = ShadowRules::default().ignore_if(|old: &Row, new: &Row| {
            assert_ne!(old.email, "bug", "a bug in the service: {}", new.email);
            false
        });
        if asks {
            rules = rules.error_text(|error: &Refused| error.0.clone()).panic_texts();
        }
        let (heard, rules) = hearing(rules);
        let world = World::at(Stage::Shadow, rules).await;
        let said = |text: &str| asks.then(|| text.to_owned());
        world.new.fails("of row 7");
        world.rows.find(7).await.unwrap();
        let found = taken(&world, &heard).await.remove(0).found;
        assert_eq!(found, ShadowFinding::MirrorFailed { text: said("of row 7") });
        world.new.answers(|_| panic!("the side has a bug"));
        world.rows.find(7).await.unwrap();
        let found = taken(&world, &heard).await.remove(0).found;
        assert_eq!(found, ShadowFinding::MirrorFailed { text: said("the side has a bug") });
        world.new.fails("locked");
        world.old.fails("gone");
        world.rows.find(7).await.unwrap_err();
        let found = taken(&world, &heard).await.remove(0).found;
        assert_eq!(found, ShadowFinding::FailedDifferently { text: said("locked") });
        world.old.answers(|_| Ok(Row { email: "bug".into(), ..row() }));
        world.new.answers(|_| Ok(row()));
        world.rows.find(7).await.unwrap();
        let found = taken(&world, &heard).await.remove(0).found;
        let ShadowFinding::Panicked { text } = found else { panic!("{found:?}") };
        assert_eq!(text.is_some_and(|text| text.contains("a bug in the service")), asks);
        let counted = world.compared("find").await;
        let found = (counted.mirror_failed, counted.failed_differently, counted.panicked);
        assert_eq!(found, (2, 1, 1));
    }
}

#[tokio::test]
async fn a_predicate_over_both_answers_ignores_and_is_told_which_is_olds() {
    for stage in [Stage::Shadow, Stage::Live] {
        let rules = ShadowRules::default()
            .ignore_if(|old: &Row, new: &Row| new.email == format!("new {}", old.email))
            .ignore_if(|_: &String, _: &String| true);
        let (heard, rules) = hearing(rules);
        let world = World::at(stage, rules).await;
        world.new.answers(|_| Ok(Row { email: format!("new {}", row().email), ..row() }));
        world.rows.find(1).await.unwrap();
        assert!(taken(&world, &heard).await.is_empty());
        // The other way round it is a difference.
        world.old.answers(|_| Ok(Row { email: format!("new {}", row().email), ..row() }));
        world.new.answers(|_| Ok(row()));
        world.rows.find(1).await.unwrap();
        assert_eq!(taken(&world, &heard).await.len(), 1);
        let counted = world.compared("find").await;
        assert_eq!((counted.ignored, counted.different, counted.total()), (1, 1, 2));
    }
}

#[tokio::test]
async fn a_predicate_of_the_call_says_what_is_compared() {
    let rules = ShadowRules::default().run_if(|call| {
        assert_ne!(call.key, Some("13"), "a bug in the service");
        call.method == "Rows::find" && call.key == Some("1") && call.cohort == Some("large")
    });
    let world = World::at(Stage::Shadow, rules).await;
    dualwrite::shadow::cohort("large", world.rows.find(1)).await.unwrap();
    dualwrite::shadow::cohort("large", world.rows.find(2)).await.unwrap();
    dualwrite::shadow::cohort("small", world.rows.find(1)).await.unwrap();
    world.rows.find(1).await.unwrap();
    world.rows.all().await.unwrap();
    assert_eq!(world.compared("find").await.equal, 1);
    assert_eq!(world.counters().await.shadow_equal, 1);
    world.rows.find(13).await.unwrap(); // the caller does not notice
    assert_eq!(world.compared("find").await.panicked, 1);
}

/// What a caller gives as an argument of its call.
#[derive(Debug, PartialEq)]
struct Page(u32);

#[tokio::test]
async fn predicates_and_reports_see_what_the_caller_gave_of_its_call() {
    for stage in [Stage::Shadow, Stage::Live] {
        let rules = ShadowRules::default()
            .run_if(|call| call.context.get() != Some(&Page(9)))
            .ignore_call_if(|old: &Row, new: &Row, call| {
                let first = (call.method, call.key) == ("Rows::find", Some("1"));
                first && old.email < new.email && call.context.get() == Some(&Page(2))
            });
        let (heard, rules) = hearing(rules);
        let world = World::at(stage, rules).await;
        world.new.answers(|_| Ok(Row { email: "zoe@example.org".into(), ..row() }));
        with_context(Page(9), world.rows.find(1)).await.unwrap();
        assert_eq!(world.compared("find").await.total(), 0);
        with_context(Page(2), world.rows.find(1)).await.unwrap();
        assert!(taken(&world, &heard).await.is_empty());
        with_context(Page(2), world.rows.find(2)).await.unwrap();
        with_context("tenant", with_context(Page(3), world.rows.find(1))).await.unwrap();
        let reports = taken(&world, &heard).await;
        let given = |report: &ShadowReport| {
            let context = &report.context;
            (context.get::<Page>().map(|page| page.0), context.get::<&str>().copied())
        };
        let given: Vec<_> = reports.iter().map(given).collect();
        assert_eq!(given, [(Some(2), None), (Some(3), Some("tenant"))]);
        let counted = world.compared("find").await;
        assert_eq!((counted.ignored, counted.different, counted.total()), (1, 2, 3));
    }
}

#[tokio::test]
async fn errors_are_compared_in_pairs_old_before_new() {
    for stage in [Stage::Shadow, Stage::Live] {
        let keep = |error: &Refused| error.0.clone();
        let rules = ShadowRules::default()
            .compare_errors(keep, |old, new| (&**old, &**new) == ("gone", "no such row"));
        let world = World::at(stage, rules).await;
        let both = async |old, new| {
            world.old.fails(old);
            world.new.fails(new);
            world.rows.find(1).await.unwrap_err();
        };
        both("gone", "no such row").await;
        let counted = world.compared("find").await;
        assert_eq!((counted.failed_alike, counted.total()), (1, 1));
        both("no such row", "gone").await;
        both("gone", "gone").await;
        let counted = world.compared("find").await;
        assert_eq!((counted.failed_differently, counted.total()), (2, 3));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_hangs_or_panics_holds_up_nobody_and_what_finds_no_room_counts() {
    let (frees, waits) = mpsc::channel::<()>();
    let (waits, calls) = (Mutex::new(waits), Arc::new(AtomicU64::new(0)));
    let (counts, panics) = (Arc::clone(&calls), AtomicBool::new(true));
    let rules = ShadowRules::default().on_report(move |_| {
        counts.fetch_add(1, SeqCst);
        if panics.swap(false, SeqCst) {
            panic!("a bug in the service");
        }
        let _ = waits.lock().unwrap().recv(); // until the other end is gone
    });
    let world = World::at(Stage::Shadow, rules).await;
    world.new.fails("locked");
    let most = SHADOW_REPORTS_MAX as u64;
    let ended = async || {
        let status = world.test.migration().status().await.unwrap();
        status.counters.shadow_mirror_failed + status.counters.shadow_dropped
    };
    let mut made = 0;
    while made < most + 20 {
        world.rows.find(1).await.unwrap();
        made += 1;
        while ended().await < made {
            tokio::task::yield_now().await;
        }
    }
    // One is being heard, perhaps two; the others wait, and the rest is dropped.
    let dropped = world.test.migration().status().await.unwrap().counters.reports_dropped;
    assert!((10..=20).contains(&dropped), "{dropped}");
    drop(frees);
    world.test.settle().await;
    let counters = world.counters().await;
    assert_eq!(calls.load(SeqCst) + counters.reports_dropped, counters.shadow_mirror_failed);
}
