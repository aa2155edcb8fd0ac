//! Guards and their verdicts, as values.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::error::{Error, ErrorKind};

/// Default pause between two evaluations of the guards. What is seriously wrong is found within three.
pub const GUARD_PERIOD: Duration = Duration::from_secs(10);
/// Default time that a guard looks back.
pub const GUARD_WINDOW: Duration = Duration::from_secs(5 * 60);
/// Default number of samples below which a guard says nothing.
pub const GUARD_SAMPLES_MIN: u64 = 100;
/// Default number of standard errors by which a share must exceed its limit: by chance, one evaluation in
/// 740 exceeds a limit that it just meets.
pub const GUARD_DEVIATION: f64 = 3.0;
/// How many guards a migration may have.
pub const GUARDS_MAX: usize = 32;

/// The longest window: longer ago nothing is kept.
const WINDOW_MAX: Duration = Duration::from_secs(60 * 60);
const PERIOD_MIN: Duration = Duration::from_secs(1);

/// A quantile of latencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Quantile {
    P95,
    P99,
}

impl Quantile {
    pub(crate) const fn share(self) -> f64 {
        match self {
            Self::P95 => 0.95,
            Self::P99 => 0.99,
        }
    }
}

impl fmt::Display for Quantile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P95 => "p95",
            Self::P99 => "p99",
        })
    }
}

/// What a guard limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Limit {
    ErrorRate(f64),
    Latency(Quantile, Duration),
    LatencyTimesOld(Quantile, f64),
    MismatchRate(f64),
    CriticalMismatches(u64),
    CopyFailures(u64),
    DeadLetters(u64),
    DatabaseErrors(u64),
    MirrorFailureRate(f64),
}

/// One guard: what it limits, how far back it looks, and how sure it must be.
///
/// ```
/// use std::time::Duration;
/// use dualwrite::guard::Guard;
///
/// let guard = Guard::p95_times_old(1.5).window(Duration::from_secs(600)).samples(1_000);
/// assert_eq!(guard.name(), "p95_times_old");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    pub(crate) limit: Limit,
    pub(crate) window: Duration,
    pub(crate) samples: u64,
    pub(crate) deviation: f64,
}

impl Guard {
    const fn new(limit: Limit) -> Self {
        Self { limit, window: GUARD_WINDOW, samples: GUARD_SAMPLES_MIN, deviation: GUARD_DEVIATION }
    }

    /// The share of calls of new that end with an error, 0 to 1, per method. Where old is called too, new
    /// must also fail more often than old.
    ///
    /// ```
    /// assert_eq!(dualwrite::guard::Guard::error_rate(0.01).name(), "error_rate");
    /// ```
    #[must_use]
    pub const fn error_rate(above: f64) -> Self {
        Self::new(Limit::ErrorRate(above))
    }

    /// The time that 95 % of the calls of new keep within, per method. Where old is called too, new must
    /// also exceed the limit more often than old.
    #[must_use]
    pub const fn p95(above: Duration) -> Self {
        Self::new(Limit::Latency(Quantile::P95, above))
    }

    /// As [`p95`](Self::p95), for 99 %.
    #[must_use]
    pub const fn p99(above: Duration) -> Self {
        Self::new(Limit::Latency(Quantile::P99, above))
    }

    /// How many times old's p95 new's may be, per method. Needs calls of both.
    #[must_use]
    pub const fn p95_times_old(above: f64) -> Self {
        Self::new(Limit::LatencyTimesOld(Quantile::P95, above))
    }

    /// As [`p95_times_old`](Self::p95_times_old), for p99. Needs some 900 calls of old to know its p99.
    #[must_use]
    pub const fn p99_times_old(above: f64) -> Self {
        Self::new(Limit::LatencyTimesOld(Quantile::P99, above))
    }

    /// The share of comparisons that find a difference which stays, 0 to 1.
    #[must_use]
    pub const fn mismatch_rate(above: f64) -> Self {
        Self::new(Limit::MismatchRate(above))
    }

    /// The number of comparisons that find a difference which stays, in a field that the registration
    /// [marks as critical](crate::Registration::critical).
    #[must_use]
    pub const fn critical_mismatches(above: u64) -> Self {
        Self::new(Limit::CriticalMismatches(above))
    }

    /// The number of keys that this process could not copy.
    #[must_use]
    pub const fn copy_failures(above: u64) -> Self {
        Self::new(Limit::CopyFailures(above))
    }

    /// The number of keys in the dead letters now.
    #[must_use]
    pub const fn dead_letters(above: u64) -> Self {
        Self::new(Limit::DeadLetters(above))
    }

    /// How often the control tables did not answer, or answered with an error.
    #[must_use]
    pub const fn database_errors(above: u64) -> Self {
        Self::new(Limit::DatabaseErrors(above))
    }

    /// The share of the writes to the new side that fail while the old side answers, 0 to 1. Their keys are
    /// copied again, so nothing is lost; but at `Live` each of these writes would fail for its caller.
    #[must_use]
    pub const fn mirror_failure_rate(above: f64) -> Self {
        Self::new(Limit::MirrorFailureRate(above))
    }

    /// How far it looks back, at most an hour and at least two periods; see [`GUARD_WINDOW`]. It looks at
    /// the newest two periods besides, and never back to before the last change of the position.
    #[must_use]
    pub const fn window(self, window: Duration) -> Self {
        Self { window, ..self }
    }

    /// The least number of calls or comparisons to judge by; see [`GUARD_SAMPLES_MIN`].
    #[must_use]
    pub const fn samples(self, least: u64) -> Self {
        Self { samples: least, ..self }
    }

    /// By how many standard errors a share must exceed its limit; see [`GUARD_DEVIATION`].
    #[must_use]
    pub const fn deviation(self, standard_errors: f64) -> Self {
        Self { deviation: standard_errors, ..self }
    }

    /// Its name, in reports, labels and the audit.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.limit {
            Limit::ErrorRate(_) => "error_rate",
            Limit::Latency(Quantile::P95, _) => "p95",
            Limit::Latency(Quantile::P99, _) => "p99",
            Limit::LatencyTimesOld(Quantile::P95, _) => "p95_times_old",
            Limit::LatencyTimesOld(Quantile::P99, _) => "p99_times_old",
            Limit::MismatchRate(_) => "mismatch_rate",
            Limit::CriticalMismatches(_) => "critical_mismatches",
            Limit::CopyFailures(_) => "copy_failures",
            Limit::DeadLetters(_) => "dead_letters",
            Limit::DatabaseErrors(_) => "database_errors",
            Limit::MirrorFailureRate(_) => "mirror_failure_rate",
        }
    }

    fn check(&self) -> Result<(), Error> {
        let wrong = match self.limit {
            Limit::ErrorRate(share)
            | Limit::MismatchRate(share)
            | Limit::MirrorFailureRate(share)
                if !(0.0..1.0).contains(&share) =>
            {
                Some("a rate is a share of at least 0 and below 1")
            }
            Limit::LatencyTimesOld(_, times) if !(times >= 1.0 && times.is_finite()) => {
                Some("the new side may be at least as slow as the old one: say 1.0 or more")
            }
            _ if self.window > WINDOW_MAX => Some("a window is an hour at most"),
            _ if self.samples == 0 => Some("without a sample nothing can be judged"),
            _ if !(0.0..=10.0).contains(&self.deviation) => {
                Some("a deviation is between 0 and 10 standard errors")
            }
            _ => None,
        };
        wrong.map_or(Ok(()), |wrong| {
            let message = format!("the guard `{}`: {wrong}", self.name());
            Err(Error::new(ErrorKind::InvalidInput, message))
        })
    }
}

/// The guards of a migration. By default: error rate above 1 %, p99 above 2 s, more than 5 copy failures, any
/// mismatch in a critical field, and more than 1 % of the mirror writes failing.
///
/// ```
/// use std::time::Duration;
/// use dualwrite::guard::{Guard, Guards};
///
/// let guards = Guards::default()
///     .with(Guard::p99(Duration::from_millis(500))) // instead of 2 s
///     .with(Guard::mismatch_rate(0.001))
///     .without("copy_failures");
/// assert_eq!(guards.iter().count(), 5);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Guards {
    pub(crate) period: Duration,
    guards: Vec<Guard>,
}

impl Default for Guards {
    fn default() -> Self {
        Self::none()
            .with(Guard::error_rate(0.01))
            .with(Guard::p99(Duration::from_secs(2)))
            .with(Guard::copy_failures(5))
            .with(Guard::critical_mismatches(0))
            .with(Guard::mirror_failure_rate(0.01))
    }
}

impl Guards {
    /// No guard yet.
    #[must_use]
    pub const fn none() -> Self {
        Self { period: GUARD_PERIOD, guards: Vec::new() }
    }

    /// Adds a guard, in place of the one of the same name.
    #[must_use]
    pub fn with(mut self, guard: Guard) -> Self {
        self.guards.retain(|known| known.name() != guard.name());
        self.guards.push(guard);
        self
    }

    /// Takes a guard out, by its name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.guards.retain(|known| known.name() != name);
        self
    }

    /// The pause between two evaluations, a second to half an hour; see [`GUARD_PERIOD`].
    #[must_use]
    pub const fn every(mut self, period: Duration) -> Self {
        self.period = period;
        self
    }

    /// All guards.
    pub fn iter(&self) -> impl Iterator<Item = &Guard> {
        self.guards.iter()
    }

    /// # Errors
    /// `InvalidInput` for what can never be meant.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if !(PERIOD_MIN..=WINDOW_MAX / 2).contains(&self.period) {
            let message =
                "guards are evaluated once in a second at the most, in half an hour at least";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        if self.guards.len() > GUARDS_MAX {
            let message = format!("a migration has {GUARDS_MAX} guards at the most");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        self.guards.iter().try_for_each(Guard::check)
    }
}

/// A guard that found its limit exceeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Breach {
    /// The guard's name.
    pub guard: &'static str,
    /// The method, for guards over calls.
    pub method: Option<String>,
    /// The figures, in words: what was counted of how many, over which time, and the limit.
    pub figures: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.guard)?;
        if let Some(method) = &self.method {
            write!(f, "{method}: ")?;
        }
        f.write_str(&self.figures)
    }
}

/// A guard that cannot say anything yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Inconclusive {
    /// The guard's name; empty where there is nothing to judge at all.
    pub guard: &'static str,
    /// What is missing.
    pub missing: String,
}

impl fmt::Display for Inconclusive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.guard {
            "" => f.write_str(&self.missing),
            guard => write!(f, "{guard}: {}", self.missing),
        }
    }
}

/// What the guards say of the present position, by what this process has seen since it came about.
///
/// ```
/// use dualwrite::guard::GuardReport;
/// assert!(GuardReport::Healthy.is_healthy());
/// assert!(!GuardReport::NotEnoughData(Vec::new()).is_healthy());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardReport {
    /// Every guard had enough to judge by, and none was breached.
    Healthy,
    /// These guards were breached.
    Breached(Vec<Breach>),
    /// No guard was breached, but these had too little to judge by. That is no good sign.
    NotEnoughData(Vec<Inconclusive>),
}

impl GuardReport {
    /// Whether it is good to go on. Missing data is not.
    #[must_use]
    pub const fn is_healthy(&self) -> bool {
        matches!(self, Self::Healthy)
    }
}

impl fmt::Display for GuardReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = |texts: Vec<String>| texts.join("; ");
        match self {
            Self::Healthy => f.write_str("healthy"),
            Self::Breached(breaches) => {
                write!(f, "breached: {}", all(breaches.iter().map(ToString::to_string).collect()))
            }
            Self::NotEnoughData(unjudged) => {
                let unjudged = all(unjudged.iter().map(ToString::to_string).collect());
                write!(f, "not enough data: {unjudged}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_never_be_meant_is_refused() {
        let with = |guard| Guards::none().with(guard).check();
        for guard in [
            Guard::error_rate(1.0),
            Guard::error_rate(-0.1),
            Guard::mismatch_rate(f64::NAN),
            Guard::p99_times_old(0.5),
            Guard::p95_times_old(f64::INFINITY),
            Guard::dead_letters(0).samples(0),
            Guard::error_rate(0.1).deviation(f64::NAN),
            Guard::error_rate(0.1).window(Duration::from_secs(3601)),
        ] {
            assert_eq!(with(guard).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        assert!(Guards::default().every(Duration::from_millis(999)).check().is_err());
        assert!(Guards::default().every(Duration::from_secs(1_801)).check().is_err());
        assert!(Guards::default().check().is_ok());
    }

    #[test]
    fn a_guard_takes_the_place_of_its_name() {
        let guards = Guards::default().with(Guard::error_rate(0.2));
        let rates: Vec<&Guard> = guards.iter().filter(|g| g.name() == "error_rate").collect();
        assert_eq!(rates, [&Guard::error_rate(0.2)]);
    }

    #[test]
    fn what_is_just_allowed_is_taken() {
        let with = |guard| Guards::none().with(guard).check().is_ok();
        for guard in [
            Guard::error_rate(0.0),
            Guard::mirror_failure_rate(0.999),
            Guard::p95_times_old(1.0),
            Guard::dead_letters(0).samples(1),
            Guard::error_rate(0.1).deviation(0.0),
            Guard::error_rate(0.1).deviation(10.0),
            Guard::error_rate(0.1).window(WINDOW_MAX),
        ] {
            assert!(with(guard.clone()), "{guard:?}");
        }
        assert!(!with(Guard::mirror_failure_rate(1.0)) && !with(Guard::mismatch_rate(1.0)));
        assert!(!with(Guard::error_rate(0.1).deviation(10.1)));
        let every = |period| Guards::default().every(period).check().is_ok();
        assert!(every(PERIOD_MIN) && every(WINDOW_MAX / 2));
    }

    #[test]
    fn a_migration_has_so_many_guards_at_the_most() {
        let guards =
            |count| Guards { guards: vec![Guard::p99(PERIOD_MIN); count], ..Guards::none() };
        assert!(guards(GUARDS_MAX).check().is_ok());
        let error = guards(GUARDS_MAX + 1).check().unwrap_err();
        assert!(error.to_string().contains("32 guards at the most"), "{error}");
    }

    #[test]
    fn a_guard_is_taken_out_by_its_name_and_the_others_stay() {
        let guards = Guards::default().without("p99");
        assert_eq!(guards.iter().count(), Guards::default().iter().count() - 1);
        assert!(guards.iter().all(|guard| guard.name() != "p99"));
        assert_eq!(Guards::default().with(Guard::p95(PERIOD_MIN)).iter().count(), 6);
    }

    #[test]
    fn reports_are_shown_with_guard_method_and_figures() {
        let breach = |method: Option<&str>| Breach {
            guard: "p99",
            method: method.map(str::to_owned),
            figures: "slow".to_owned(),
        };
        let both = GuardReport::Breached(vec![breach(Some("Notes::get")), breach(None)]);
        assert_eq!(both.to_string(), "breached: p99: Notes::get: slow; p99: slow");
        let missing = |guard| Inconclusive { guard, missing: "9 calls".to_owned() };
        let both = GuardReport::NotEnoughData(vec![missing("p99"), missing("")]);
        assert_eq!(both.to_string(), "not enough data: p99: 9 calls; 9 calls");
        assert_eq!(GuardReport::Healthy.to_string(), "healthy");
        assert_eq!(
            (Quantile::P95.to_string(), Quantile::P99.to_string()),
            ("p95".into(), "p99".into())
        );
    }
}
