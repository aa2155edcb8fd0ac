//! The verdict of guards over calls: errors, calls that were given up, and latency.

use super::*;
use crate::observe::histogram::Counts;

const MS: u64 = 1_000_000;
const LIMIT: Duration = Duration::from_secs(1);
const COVERED: Duration = Duration::from_secs(300);

/// Calls of one side: how many took how many milliseconds, how many failed, and how many were given up after how many
/// milliseconds.
fn side(calls: &[(u64, u64)], errors: u64, given_up: &[(u64, u64)]) -> SideFigures {
    let counts = |of: &[(u64, u64)]| Counts::of(of.iter().map(|(ms, times)| (ms * MS, *times)));
    SideFigures { errors, mirrored: 0, latency: counts(calls), abandoned: counts(given_up) }
}

fn method(old: SideFigures, new: SideFigures) -> MethodFigures {
    MethodFigures {
        name: "Notes::get".into(),
        writes: false,
        old,
        new,
        compared: Default::default(),
        fields: Default::default(),
    }
}

fn figures(methods: &[MethodFigures]) -> Figures {
    Figures { methods: methods.to_vec(), ..Figures::default() }
}

fn verdict(guard: Guard, methods: &[MethodFigures], usual: &[MethodFigures]) -> String {
    let sum = |_| Sum { figures: figures(methods), covered: COVERED };
    let evidence = Evidence {
        position: Position::start().with_stage(Stage::Live),
        figures: &sum,
        usual: &|| figures(usual),
        limit: &|_| LIMIT,
        dead_letters: None,
        has_critical: false,
        compares_writes: false,
    };
    match judge(&Guards::none().with(guard), &evidence) {
        GuardReport::Breached(breaches) => breaches[0].to_string(),
        GuardReport::NotEnoughData(missing) => missing[0].missing.clone(),
        GuardReport::Healthy => "healthy".to_owned(),
    }
}

fn errors() -> Guard {
    Guard::error_rate(0.1).samples(100).deviation(0.0)
}

fn nothing() -> SideFigures {
    SideFigures::default()
}

#[test]
fn a_share_of_errors_is_judged_by_method_and_beside_the_old_side() {
    let of = |old, new| verdict(errors(), &[method(old, new)], &[]);
    let quick = |errors| side(&[(1, 100)], errors, &[]);
    assert_eq!(of(nothing(), quick(10)), "healthy", "as many as are allowed");
    assert_eq!(
        of(nothing(), quick(11)),
        "error_rate: Notes::get: 11 of 100 (11.00 %, at least 11.00 %) calls of the new side fail, limit 10.00 %; \
         old 0 of 0; over 300 s"
    );
    assert_eq!(of(quick(11), quick(11)), "healthy", "the old side fails as often");
    assert!(of(quick(10), quick(11)).contains("; old 10 of 100"));
    let few = side(&[(1, 99)], 99, &[]);
    assert!(of(few, quick(11)).starts_with("error_rate"), "too few calls of the old side");
    let few = side(&[(1, 99)], 99, &[]);
    assert!(of(nothing(), few).starts_with("99 calls of the busiest method of the new side, 100"));
}

#[test]
fn one_method_that_is_breached_is_enough() {
    let named = |name: &str, errors| MethodFigures {
        name: name.into(),
        ..method(nothing(), side(&[(1, 100)], errors, &[]))
    };
    let good = named("Notes::list", 0);
    let bad = named("Notes::save", 50);
    let idle = MethodFigures { name: "Notes::drop".into(), ..method(nothing(), nothing()) };
    let found = verdict(errors(), &[good.clone(), idle.clone(), bad], &[]);
    assert!(found.starts_with("error_rate: Notes::save: 50 of 100"), "{found}");
    assert_eq!(
        verdict(errors(), &[good, idle.clone()], &[]),
        "healthy",
        "an idle one is no matter"
    );
    assert_eq!(
        verdict(errors(), &[idle], &[]),
        "0 calls of the busiest method of the new side, 100 are needed"
    );
}

#[test]
fn a_call_that_was_given_up_late_counts_as_failed() {
    let of = |given_up: &[(u64, u64)], usual: &[MethodFigures]| {
        verdict(errors(), &[method(nothing(), side(&[(1, 100)], 0, given_up))], usual)
    };
    let found = of(&[(2_000, 50)], &[]);
    assert!(found.contains("50 of 150 (33.33 %"), "{found}");
    assert!(found.contains("(50 were abandoned after more than 1.0s)"), "{found}");
    assert_eq!(of(&[(500, 50)], &[]), "healthy", "clients that disconnect say nothing");
    // Where the old side is known to be quicker, so much time is given.
    let known = |calls| method(side(&[(10, calls)], 0, &[]), nothing());
    let found = of(&[(500, 50)], &[known(100)]);
    assert!(found.contains("50 of 150"), "{found}");
    assert!(found.contains("abandoned after more than 1") && found.contains("ms)"), "{found}");
    assert_eq!(of(&[(500, 50)], &[known(99)]), "healthy", "99 calls are too few to know it");
    let slow = method(side(&[(60_000, 100)], 0, &[]), nothing());
    assert!(of(&[(2_000, 50)], &[slow]).contains("more than 1.0s"), "the limit is the most");
    let other = MethodFigures { name: "Notes::list".into(), ..known(100) };
    assert_eq!(of(&[(500, 50)], &[other]), "healthy", "another method says nothing of this one");
}

#[test]
fn callers_that_give_up_as_often_where_the_old_side_answers_say_nothing() {
    let new = || side(&[(1, 100)], 0, &[(2_000, 50)]);
    let of = |usual| verdict(errors(), &[method(nothing(), new())], &[method(usual, nothing())]);
    assert_eq!(of(side(&[(1, 100)], 0, &[(2_000, 50)])), "healthy");
    assert!(of(side(&[(1, 100)], 0, &[(2_000, 10)])).contains("50 of 150"), "here more do");
    assert!(of(side(&[(1, 99)], 0, &[(2_000, 50)])).contains("50 of 150"), "too few answers");
    // Nobody gives up a call that is made beside the primary's: those answer nobody.
    let beside = SideFigures { mirrored: 1, ..side(&[(1, 100)], 0, &[(2_000, 50)]) };
    assert!(of(beside).contains("50 of 150"));
    // What the new side answers beside the primary counts as little.
    let mirrored = SideFigures { mirrored: 90, ..new() };
    let usual = side(&[(1, 100)], 0, &[(2_000, 60)]);
    let found = verdict(errors(), &[method(nothing(), mirrored)], &[method(usual, nothing())]);
    assert!(found.contains("50 of 150"), "50 of 60 were given up: {found}");
}

#[test]
fn what_failed_and_what_was_given_up_are_added_on_both_sides() {
    let both = |errors| side(&[(1, 100)], errors, &[(2_000, 20)]);
    let found = verdict(errors(), &[method(both(10), both(30))], &[]);
    assert!(found.contains("50 of 120 (41.67 %"), "{found}");
    assert!(found.contains("; old 30 of 120"), "{found}");
}

#[test]
fn a_latency_is_exceeded_where_more_calls_are_slower_than_the_quantile_leaves_over() {
    let guard = || Guard::p95(Duration::from_millis(100)).samples(100).deviation(0.0);
    let of = |old, new| verdict(guard(), &[method(old, new)], &[]);
    let slow = |quick, slow| side(&[(1, quick), (500, slow)], 0, &[]);
    assert_eq!(of(nothing(), slow(96, 4)), "healthy");
    let found = of(nothing(), slow(90, 10));
    assert!(found.starts_with("p95: Notes::get: 10 of 100 (10.00 %"), "{found}");
    assert!(found.contains("take more than 100ms; p95 5"), "{found}");
    assert_eq!(of(slow(90, 10), slow(90, 10)), "healthy", "the old side is as slow");
    let waited = side(&[(1, 96), (500, 4)], 0, &[(200, 10), (50, 30)]);
    let found = of(nothing(), waited);
    assert!(found.contains("14 of 110"), "what was given up later than that counts: {found}");
    let waited = side(&[(1, 96), (500, 4)], 0, &[(50, 30)]);
    assert_eq!(of(nothing(), waited), "healthy", "of what was given up before nobody knows");
}

#[test]
fn a_latency_is_measured_by_what_the_old_side_takes() {
    let guard = || Guard::p95_times_old(2.0).samples(100).deviation(0.0);
    let of = |old, new| verdict(guard(), &[method(old, new)], &[]);
    let old = || side(&[(10, 100)], 0, &[]);
    assert_eq!(of(old(), side(&[(15, 100)], 0, &[])), "healthy");
    assert_eq!(of(old(), side(&[(15, 96), (50, 4)], 0, &[])), "healthy", "95 % keep within it");
    let found = of(old(), side(&[(15, 90), (50, 10)], 0, &[]));
    assert!(found.starts_with("p95_times_old: Notes::get: 10 of 100 (10.00 %"), "{found}");
    assert!(
        found.contains("2 times the p95 of the old side over 100 calls; p95 of the new"),
        "{found}"
    );
    let bound = found.split("more than ").nth(1).unwrap().split("ms").next().unwrap();
    let bound: f64 = bound.parse().unwrap();
    assert!((20.0..=23.0).contains(&bound), "twice what the old side takes at the most: {found}");
    let found = of(old(), side(&[(15, 96), (50, 4)], 0, &[(60, 10), (1, 10)]));
    assert!(found.contains("14 of 110"), "what was given up later than that counts: {found}");
    let few = side(&[(10, 99)], 0, &[]);
    let missing = "99 calls of the old side are too few to know its p95";
    assert_eq!(of(few, side(&[(500, 100)], 0, &[])), missing);
    // 4 of 100 are slower: the old side's p95 is that of the others.
    let tail = side(&[(10, 96), (5_000, 4)], 0, &[]);
    assert!(of(tail, side(&[(15, 90), (50, 10)], 0, &[])).contains("10 of 100"));
}

#[test]
fn what_is_missing_of_a_method_is_said_where_no_other_could_be_judged() {
    let guard = || Guard::p99_times_old(2.0).samples(100).deviation(0.0);
    let alone = method(nothing(), side(&[(10, 100)], 0, &[]));
    let missing = "0 calls of the old side are too few to know its p99";
    assert_eq!(verdict(guard(), std::slice::from_ref(&alone), &[]), missing);
    let both = MethodFigures {
        name: "Notes::list".into(),
        ..method(side(&[(10, 100)], 0, &[]), side(&[(10, 100)], 0, &[]))
    };
    assert_eq!(verdict(guard(), &[alone, both], &[]), "healthy");
}
