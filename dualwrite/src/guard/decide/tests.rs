//! The verdict of one guard over given figures.

use super::super::rules::GUARD_PERIOD;
use super::*;
use crate::observe::CounterReport;

const LONG: Duration = Duration::from_secs(3_600);

struct Around {
    position: Position,
    covered: Duration,
    has_critical: bool,
    compares_writes: bool,
}

impl Default for Around {
    fn default() -> Self {
        let position = Position::start().with_stage(Stage::Live);
        Self { position, covered: LONG, has_critical: true, compares_writes: false }
    }
}

fn verdict(guard: Guard, counters: &CounterReport, around: &Around) -> GuardReport {
    let figures = |_| Sum {
        figures: Figures { counters: *counters, ..Figures::default() },
        covered: around.covered,
    };
    let evidence = Evidence {
        position: around.position,
        figures: &figures,
        usual: &Figures::default,
        limit: &|_| LONG,
        dead_letters: Some(0),
        has_critical: around.has_critical,
        compares_writes: around.compares_writes,
    };
    judge(&Guards::none().with(guard), &evidence)
}

fn said(report: &GuardReport) -> String {
    match report {
        GuardReport::Breached(breaches) => breaches[0].figures.clone(),
        GuardReport::NotEnoughData(missing) => missing[0].missing.clone(),
        _ => "healthy".to_owned(),
    }
}

fn mirrored(failed: u64, written: u64) -> CounterReport {
    CounterReport { mirror_failed: failed, mirror_written: written, ..CounterReport::default() }
}

#[test]
fn mirror_writes_are_judged_by_the_share_that_fails_for_sure() {
    let guard = || Guard::mirror_failure_rate(0.1).samples(100).deviation(0.0);
    let shadow = Position::start().with_stage(Stage::Shadow);
    let around = Around { position: shadow, ..Around::default() };
    let verdict = |failed, written| said(&verdict(guard(), &mirrored(failed, written), &around));
    assert_eq!(verdict(0, 0), "healthy", "nothing failed");
    assert_eq!(verdict(10, 90), "healthy", "as many as are allowed");
    assert_eq!(verdict(5, 95), "healthy");
    assert!(verdict(20, 79).contains("99 mirror writes, 100 are needed"));
    let breached = verdict(25, 75);
    assert!(breached.starts_with("25 of 100 (25.00 %, at least "), "{breached}");
    assert!(breached.contains("mirror writes fail, limit 10.00 %; over 3600 s"), "{breached}");
}

#[test]
fn comparisons_are_counted_whatever_came_of_them() {
    let guard = || Guard::mismatch_rate(0.1).samples(100).deviation(0.0);
    let verdict = |equal, different, transient| {
        let counters = CounterReport {
            shadow_equal: equal,
            shadow_different: different,
            shadow_transient: transient,
            ..CounterReport::default()
        };
        said(&verdict(guard(), &counters, &Around::default()))
    };
    assert!(verdict(39, 20, 40).contains("99 comparisons, 100 are needed"));
    assert!(verdict(40, 20, 40).starts_with("20 of 100 (20.00 %"));
    assert_eq!(verdict(50, 5, 45), "healthy");
}

#[test]
fn a_guard_looks_where_there_is_something_to_see() {
    let is_asked = |guard: Guard, position, has_critical, compares_writes| {
        let around = Around { position, has_critical, compares_writes, ..Around::default() };
        !said(&verdict(guard, &CounterReport::default(), &around)).contains("no guard has anything")
    };
    let at = |stage| Position::start().with_stage(stage);
    let percent = Percent::new(1).unwrap();
    for stage in Stage::ALL {
        for compares_writes in [false, true] {
            let compares = stage.compares() || compares_writes && stage.writes_both();
            for has_critical in [false, true] {
                let asked = |guard| is_asked(guard, at(stage), has_critical, compares_writes);
                assert_eq!(asked(Guard::mismatch_rate(0.1)), compares, "{stage}");
                let critical = asked(Guard::critical_mismatches(0));
                assert_eq!(critical, compares && has_critical, "{stage}");
            }
        }
        let calls_new = stage != Stage::Off;
        let asked = |guard| is_asked(guard, at(stage), true, false);
        assert_eq!(asked(Guard::error_rate(0.1)), calls_new, "{stage}");
        assert_eq!(asked(Guard::copy_failures(0)), calls_new, "{stage}");
        let beside_old = matches!(stage, Stage::DualWrite | Stage::Shadow | Stage::Live);
        assert_eq!(asked(Guard::p99_times_old(2.0)), beside_old, "{stage}");
        let old_answers = matches!(stage, Stage::DualWrite | Stage::Shadow);
        assert_eq!(asked(Guard::mirror_failure_rate(0.1)), old_answers, "{stage}");
    }
    let ramping = at(Stage::Off).with_ramp(percent);
    assert!(is_asked(Guard::error_rate(0.1), ramping, true, false));
    assert!(is_asked(Guard::mirror_failure_rate(0.1), ramping, true, false));
}

#[test]
fn without_a_guard_that_has_something_to_see_nothing_is_healthy() {
    let around = Around { position: Position::start(), ..Around::default() };
    let report = verdict(Guard::error_rate(0.1), &CounterReport::default(), &around);
    assert!(said(&report).contains("no guard has anything to look at, at off"));
}

#[test]
fn numbers_are_judged_once_somebody_has_looked_for_a_period() {
    let verdict = |failed, covered| {
        let counters = CounterReport { copies_failed: failed, ..CounterReport::default() };
        said(&verdict(Guard::copy_failures(3), &counters, &Around { covered, ..Around::default() }))
    };
    assert!(verdict(4, Duration::ZERO).starts_with("4 keys could not be copied, limit 3"));
    assert_eq!(verdict(3, GUARD_PERIOD), "healthy");
    let short = GUARD_PERIOD - Duration::from_millis(1);
    assert!(verdict(3, short).starts_with("watched for"));
}

#[test]
fn what_the_control_tables_say_is_judged_as_a_number() {
    let of = |guard, dead_letters, control_failed| {
        let counters = CounterReport { control_failed, ..CounterReport::default() };
        let sum = |_| Sum { figures: Figures { counters, ..Figures::default() }, covered: LONG };
        let evidence = Evidence {
            position: Position::start().with_stage(Stage::Live),
            figures: &sum,
            usual: &Figures::default,
            limit: &|_| LONG,
            dead_letters,
            has_critical: false,
            compares_writes: false,
        };
        said(&judge(&Guards::none().with(guard), &evidence))
    };
    let letters = |found| of(Guard::dead_letters(3), found, 0);
    assert_eq!(letters(Some(3)), "healthy");
    assert_eq!(letters(Some(4)), "4 keys in the dead letters, limit 3; over 3600 s");
    assert_eq!(letters(None), "the control tables did not answer");
    let failed = |count| of(Guard::database_errors(2), None, count);
    assert_eq!(failed(2), "healthy");
    assert_eq!(failed(3), "3 failures of the control tables, limit 2; over 3600 s");
}

#[test]
fn critical_fields_need_one_difference_and_enough_comparisons_to_be_healthy() {
    let of = |critical, equal, limit| {
        let counters = CounterReport {
            shadow_equal: equal,
            shadow_different: critical,
            critical_different: critical,
            ..CounterReport::default()
        };
        said(&verdict(Guard::critical_mismatches(limit), &counters, &Around::default()))
    };
    assert_eq!(of(1, 0, 0), "1 of 1 comparisons differ in a critical field, limit 0; over 3600 s");
    assert_eq!(of(1, 99, 1), "healthy");
    assert_eq!(of(0, 100, 0), "healthy");
    assert_eq!(of(0, 99, 0), "99 comparisons, 100 are needed");
}

#[test]
fn a_breach_is_answered_by_going_back_where_the_new_side_answers_or_keys_are_ramped() {
    let half = Percent::new(50).unwrap();
    for stage in Stage::ALL {
        let answers = matches!(stage, Stage::Live | Stage::RampDown);
        let at = Position::start().with_stage(stage);
        assert_eq!(goes_back(at), answers, "{stage}");
        let ramped = answers || matches!(stage, Stage::Off | Stage::Shadow);
        assert_eq!(goes_back(at.with_ramp(half)), ramped, "{stage} with a ramp");
    }
}

#[test]
fn a_guard_looks_at_the_newest_two_periods_and_then_at_its_window() {
    let looked = std::cell::RefCell::new(Vec::new());
    let of = |window, newest_fails: bool| {
        looked.borrow_mut().clear();
        let sum = |time| {
            looked.borrow_mut().push(time);
            let failed = u64::from(newest_fails) * 9;
            let counters = CounterReport { copies_failed: failed, ..CounterReport::default() };
            Sum { figures: Figures { counters, ..Figures::default() }, covered: LONG }
        };
        let evidence = Evidence {
            position: Position::start().with_stage(Stage::Live),
            figures: &sum,
            usual: &Figures::default,
            limit: &|_| LONG,
            dead_letters: None,
            has_critical: false,
            compares_writes: false,
        };
        let guard = Guard::copy_failures(3).window(window);
        let _ = judge(&Guards::none().with(guard), &evidence);
        looked.borrow().clone()
    };
    let newest = GUARD_PERIOD * 2;
    assert_eq!(of(LONG, false), [newest, LONG]);
    assert_eq!(of(Duration::ZERO, false), [newest, newest], "two periods at the least");
    assert_eq!(of(LONG, true), [newest], "a breach of the newest periods is said at once");
}
