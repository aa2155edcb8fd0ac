//! Each limit, what asks for it, and what operators set.

use super::*;
use crate::observe::figures::{MethodFigures, SideFigures};
use proptest::prelude::*;

#[test]
fn hours_may_span_midnight() {
    let allowed = |from, until| -> Vec<u8> {
        let throttle = Throttle::default().hours(from, until);
        (0..24).filter(|hour| throttle.allows(*hour)).collect()
    };
    assert_eq!(allowed(1, 4), [1, 2, 3]);
    assert_eq!(allowed(22, 2), [0, 1, 22, 23]);
    assert_eq!(allowed(0, 24).len(), 24);
    assert!((0..24).all(|hour| Throttle::default().allows(hour)));
}

#[test]
fn each_limit_gives_its_reason_and_silence_gives_none() {
    let throttle = Throttle::default();
    let quiet = Pressure::default();
    let judge = |pressure| throttle.judge(&Load { pressure, ..Load::default() });
    assert_eq!(judge(quiet), None);
    let reason = |pressure| judge(pressure).unwrap();
    assert!(reason(Pressure { lock_waits: Some(21), ..quiet }).contains("21 sessions wait"));
    assert!(reason(Pressure { active: Some(201), ..quiet }).contains("201 sessions are active"));
    let lag = Some(Duration::from_secs(11));
    assert!(reason(Pressure { lag, ..quiet }).contains("11.0s behind"));
    assert_eq!(judge(Pressure { lock_waits: Some(20), ..quiet }), None);
    let replica = |lag: Option<u64>| {
        let behind = Behind { replica: "near".into(), lag: lag.map(Duration::from_secs) };
        throttle.judge(&Load { replicas: vec![behind], ..Load::default() })
    };
    assert_eq!(replica(Some(10)), None);
    assert_eq!(replica(Some(11)).unwrap(), "the replica `near` is 11.0s behind");
    assert_eq!(replica(None).unwrap(), "the replica `near` gives no answer");
}

#[test]
fn the_log_and_the_writes_count_only_where_somebody_set_a_limit() {
    let ms = Duration::from_millis;
    let writes = Some(WriteLatency { p95: ms(40), p99: ms(90) });
    let load = Load { log_rate: Some(3 << 20), writes, ..Load::default() };
    let reason = |throttle: Throttle| throttle.judge(&load);
    assert_eq!(reason(Throttle::default()), None);
    let most = |mebibytes: u64| Throttle::default().log_rate(mebibytes << 20);
    assert_eq!(reason(most(2)).unwrap(), "the log grows by 3.0 MiB/s, more than 2.0");
    assert_eq!(reason(most(3)), None);
    let p95 = Throttle::default().write_p95(ms(39));
    assert_eq!(reason(p95).unwrap(), "95 % of the writes take up to 40.0ms, more than 39.0ms");
    let p99 = Throttle::default().write_p95(ms(40)).write_p99(ms(89));
    assert_eq!(reason(p99).unwrap(), "99 % of the writes take up to 90.0ms, more than 89.0ms");
    assert_eq!(reason(Throttle::default().write_p95(ms(40)).write_p99(ms(90))), None);
    let unknown = most(0).write_p95(ms(0)).judge(&Load::default());
    assert_eq!(unknown, None, "who knows nothing does not make way");
}

#[test]
fn every_limit_is_exceeded_only_above_it() {
    let throttle = Throttle::default().lock_waits(5).active(7).lag(Duration::from_secs(2));
    let quiet = Pressure::default();
    let judge = |pressure| throttle.judge(&Load { pressure, ..Load::default() });
    let lag = |ms| Pressure { lag: Some(Duration::from_millis(ms)), ..quiet };
    assert_eq!(judge(Pressure { lock_waits: Some(5), active: Some(7), ..lag(2_000) }), None);
    assert_eq!(
        judge(Pressure { lock_waits: Some(6), ..quiet }).unwrap(),
        "6 sessions wait for locks"
    );
    assert_eq!(judge(Pressure { active: Some(8), ..quiet }).unwrap(), "8 sessions are active");
    assert_eq!(judge(lag(2_100)).unwrap(), "a replica is 2.1s behind");
}

#[test]
fn operators_settings_take_the_place_of_the_limits_in_the_code() {
    let secs = Duration::from_secs;
    let code = Throttle::default()
        .lock_waits(1)
        .active(2)
        .lag(secs(3))
        .log_rate(4)
        .write_p95(secs(5))
        .write_p99(secs(6))
        .hours(7, 8)
        .when(|| Some("the queue is long".to_owned()));
    let limits = |throttle: &Throttle| {
        let counts = (throttle.lock_waits, throttle.active, throttle.log_rate);
        (counts, throttle.lag, throttle.write_p95, throttle.write_p99)
    };
    let same = code.tuned(&BackfillSettings::default());
    let expected = ((1, 2, Some(4)), secs(3), Some(secs(5)), Some(secs(6)));
    assert_eq!(limits(&same), expected);
    let settings = BackfillSettings {
        lock_waits: Some(11),
        active: Some(12),
        lag: Some(Duration::from_micros(13_000_000)),
        log_rate: Some(14),
        write_p95: Some(Duration::from_micros(15_000_000)),
        write_p99: Some(Duration::from_micros(16_000_000)),
        ..BackfillSettings::default()
    };
    let tuned = code.tuned(&settings);
    let expected = ((11, 12, Some(14)), secs(13), Some(secs(15)), Some(secs(16)));
    assert_eq!(limits(&tuned), expected);
    assert_eq!(limits(&Throttle::default().tuned(&settings)), expected);
    assert!(tuned.allows(7) && !tuned.allows(8), "the hours stay");
    assert_eq!(tuned.asks_host().unwrap(), "the queue is long");
}

#[test]
fn only_what_has_a_limit_is_asked_for() {
    let wants = |throttle: &Throttle| (throttle.wants_log_rate(), throttle.wants_writes());
    let none = Throttle::default();
    assert_eq!(wants(&none), (false, false));
    assert_eq!(none.asks_host(), None);
    assert_eq!(none.clone().when(|| None).asks_host(), None);
    assert_eq!(wants(&none.clone().log_rate(1)), (true, false));
    let second = Duration::from_secs(1);
    assert_eq!(wants(&none.clone().write_p95(second)), (false, true));
    assert_eq!(wants(&none.write_p99(second)), (false, true));
}

#[test]
fn a_throttle_shows_its_limits_and_no_hook() {
    let shown = format!("{:?}", Throttle::default().log_rate(4).when(|| None));
    assert!(shown.starts_with("Throttle { lock_waits: 20, active: 200, lag: 10s"), "{shown}");
    assert!(shown.contains("log_rate: Some(4)") && !shown.contains("hook"), "{shown}");
}

#[test]
fn a_log_that_is_looked_at_twice_at_once_or_out_of_order_has_no_speed_beyond_measure() {
    let mut meter = LogMeter::default();
    assert_eq!(meter.sample(0, 5), None);
    assert_eq!(meter.sample(3, 5), Some(3_000_000_000), "as if a nanosecond had passed");
    assert_eq!(meter.sample(9, 4), None, "the clock went back");
    assert_eq!(meter.sample(u64::MAX, 5), Some(u64::MAX), "more than a number holds");
}

#[test]
fn of_both_sides_each_quantile_is_that_of_the_slower_one() {
    let ms = 1_000_000;
    let old = [(10 * ms, 97), (500 * ms, 3)];
    let new = [(60 * ms, 100)];
    let figures = Figures { methods: vec![method(true, &old, &new)], ..Figures::default() };
    let found = WriteLatency::of(&figures).unwrap();
    assert!((60..69).contains(&found.p95.as_millis()), "of the new side: {found:?}");
    assert!((500..570).contains(&found.p99.as_millis()), "of the old side: {found:?}");
    let just_enough = [(10 * ms, WRITES_MIN)];
    let figures = Figures { methods: vec![method(true, &just_enough, &[])], ..Figures::default() };
    assert!(WriteLatency::of(&figures).is_some());
}

fn method(writes: bool, old: &[(u64, u64)], new: &[(u64, u64)]) -> MethodFigures {
    let side = |counts: &[(u64, u64)]| SideFigures {
        latency: Counts::of(counts.iter().copied()),
        ..Default::default()
    };
    let name = format!("Notes::{}", old.len()).into();
    MethodFigures {
        name,
        writes,
        old: side(old),
        new: side(new),
        compared: Default::default(),
        fields: Default::default(),
    }
}

#[test]
fn the_slower_side_of_the_writes_is_what_counts() {
    let ms = 1_000_000;
    let of = |methods| WriteLatency::of(&Figures { methods, ..Figures::default() });
    assert_eq!(of(vec![]), None);
    let few = method(true, &[(90 * ms, WRITES_MIN - 1)], &[]);
    let read = method(false, &[(900 * ms, 500)], &[]);
    assert_eq!(of(vec![few.clone(), read.clone()]), None, "too few, and reads are no writes");
    let many = method(true, &[(2 * ms, 100)], &[(20 * ms, 97), (80 * ms, 3)]);
    let found = of(vec![read, many]).unwrap();
    let near = |found: Duration, ms: u64| {
        let found = found.as_millis() as u64;
        assert!((ms..=ms * 113 / 100 + 1).contains(&found), "{found} for {ms}");
    };
    near(found.p95, 20);
    near(found.p99, 80);
}

proptest! {
    #[test]
    fn the_log_has_the_speed_that_it_was_written_with(
        start in 0_u64..u64::MAX / 4, rate in 0_u64..1 << 40, seconds in 1_u64..1_000,
    ) {
        let mut meter = LogMeter::default();
        prop_assert_eq!(meter.sample(start, 7), None);
        let then = 7 + seconds * 1_000_000_000;
        prop_assert_eq!(meter.sample(start + rate * seconds, then), Some(rate));
        // After a failover the number may be anything: silence, then the speed from there.
        prop_assert!(start == 0 || meter.sample(start - 1, then + 1).is_none());
    }
}
