//! What the guards say, and what is to be done about it. Pure: figures in, a verdict out.

use std::fmt::Write as _;
use std::time::Duration;

use super::rules::{Breach, Guard, GuardReport, Guards, Inconclusive, Limit, Quantile};
use super::statistics::{excess_at_least, share_between};
use crate::observe::figures::{Figures, MethodFigures, SideFigures};
use crate::observe::window::Sum;
use crate::stages::position::{Percent, Position};
use crate::stages::stage::{Side, Stage};

/// How many periods the look at the newest takes in: what is wrong from one moment on fills them by the
/// third evaluation after it.
const NEWEST_PERIODS: u32 = 2;

/// What there is to judge by.
pub(crate) struct Evidence<'e> {
    pub(crate) position: Position,
    /// Figures of so long, of calls and comparisons under this position alone.
    pub(crate) figures: &'e dyn Fn(Duration) -> Sum,
    /// Figures since the process started, whatever the position was: what a side takes when all is well.
    pub(crate) usual: &'e dyn Fn() -> Figures,
    /// The limit on one call of a method, where it has one, by its name.
    pub(crate) limit: &'e dyn Fn(&str) -> Duration,
    /// In the control tables; `None` where they did not say.
    pub(crate) dead_letters: Option<u64>,
    /// Whether fields are marked as critical.
    pub(crate) has_critical: bool,
    /// Whether dual writes are compared, which is done in stages too in which no read is.
    pub(crate) compares_writes: bool,
}

enum Finding {
    Fine,
    Breached(Breach),
    Missing(String),
}

/// Judges the present position.
pub(crate) fn judge(guards: &Guards, evidence: &Evidence<'_>) -> GuardReport {
    let (mut breaches, mut unjudged, mut judged) = (Vec::new(), Vec::new(), 0);
    for guard in guards.iter().filter(|guard| applies(guard.limit, evidence)) {
        judged += 1;
        // The newest alone, or what has just gone wrong would hide among what went well before. Too few
        // samples there are no matter.
        let newest = guards.period * NEWEST_PERIODS;
        let over = |time| judge_guard(guard, &(evidence.figures)(time), guards.period, evidence);
        match over(newest) {
            Finding::Breached(breach) => breaches.push(breach),
            Finding::Fine | Finding::Missing(_) => match over(guard.window.max(newest)) {
                Finding::Breached(breach) => breaches.push(breach),
                Finding::Missing(missing) => {
                    unjudged.push(Inconclusive { guard: guard.name(), missing })
                }
                Finding::Fine => {}
            },
        }
    }
    if !breaches.is_empty() {
        GuardReport::Breached(breaches)
    } else if judged == 0 {
        let missing = format!("no guard has anything to look at, at {}", evidence.position);
        GuardReport::NotEnoughData(vec![Inconclusive { guard: "", missing }])
    } else if unjudged.is_empty() {
        GuardReport::Healthy
    } else {
        GuardReport::NotEnoughData(unjudged)
    }
}

/// Whether a breach is answered by going back: only where new answers somebody, or where keys are ramped
/// toward dual writes. Elsewhere old answers everything already, or alone cannot any more.
pub(crate) fn goes_back(position: Position) -> bool {
    let ramps = position.ramp > Percent::ZERO;
    match position.stage {
        Stage::Off => ramps,
        Stage::DualWrite => false,
        Stage::Shadow => ramps,
        Stage::Live | Stage::RampDown => true,
        Stage::Complete => false,
    }
}

/// Whether there can be anything for this guard at this position.
fn applies(limit: Limit, evidence: &Evidence<'_>) -> bool {
    let position = evidence.position;
    let compares = [position.stage, position.reaches()]
        .into_iter()
        .any(|stage| stage.compares() || (evidence.compares_writes && stage.writes_both()));
    let calls_new = position.reaches() >= Stage::DualWrite;
    match limit {
        Limit::ErrorRate(_) | Limit::Latency(..) => calls_new,
        Limit::LatencyTimesOld(..) => calls_new && position.stage <= Stage::Live,
        Limit::MismatchRate(_) => compares,
        Limit::CriticalMismatches(_) => compares && evidence.has_critical,
        // Elsewhere old is the mirror: going back would make it answer.
        Limit::MirrorFailureRate(_) => {
            position.stage.reads() == Side::Old && position.reaches().writes_both()
        }
        Limit::CopyFailures(_) | Limit::DeadLetters(_) | Limit::DatabaseErrors(_) => calls_new,
    }
}

fn judge_guard(guard: &Guard, sum: &Sum, period: Duration, evidence: &Evidence<'_>) -> Finding {
    let counters = &sum.figures.counters;
    match guard.limit {
        Limit::ErrorRate(limit) => {
            let usual = (evidence.usual)();
            by_method(guard, sum, |method| {
                let hung = Hung::of(guard, method, &usual, (evidence.limit)(&method.name));
                error_rate(guard, limit, method, hung, sum.covered)
            })
        }
        Limit::Latency(quantile, limit) => {
            by_method(guard, sum, |method| latency(guard, quantile, limit, method, sum.covered))
        }
        Limit::LatencyTimesOld(quantile, times) => {
            by_method(guard, sum, |method| times_old(guard, quantile, times, method, sum.covered))
        }
        Limit::MismatchRate(limit) => mismatch_rate(guard, limit, sum),
        Limit::CriticalMismatches(limit) => critical_mismatches(guard, limit, sum),
        Limit::MirrorFailureRate(limit) => mirror_failures(guard, limit, sum),
        Limit::CopyFailures(limit) => {
            let failed = counters.copies_failed;
            number(guard, failed, limit, "keys could not be copied", sum.covered, period)
        }
        Limit::DatabaseErrors(limit) => {
            let failed = counters.control_failed;
            number(guard, failed, limit, "failures of the control tables", sum.covered, period)
        }
        Limit::DeadLetters(limit) => match evidence.dead_letters {
            Some(letters) => {
                number(guard, letters, limit, "keys in the dead letters", sum.covered, period)
            }
            None => Finding::Missing("the control tables did not answer".to_owned()),
        },
    }
}

fn compared(sum: &Sum) -> u64 {
    let counters = &sum.figures.counters;
    counters.shadow_equal + counters.shadow_different + counters.shadow_transient
}

fn mismatch_rate(guard: &Guard, limit: f64, sum: &Sum) -> Finding {
    let (different, compared) = (sum.figures.counters.shadow_different, compared(sum));
    if compared < guard.samples {
        return Finding::Missing(too_few(compared, "comparisons", guard));
    }
    let (low, _) = share_between(different, compared, guard.deviation);
    if low <= limit {
        return Finding::Fine;
    }
    let share = Share { hits: different, samples: compared, low };
    let limit = percent(limit);
    breach(
        guard,
        None,
        |text| write!(text, "{share} comparisons differ, limit {limit}"),
        sum.covered,
    )
}

/// One is enough, however few were compared.
fn critical_mismatches(guard: &Guard, limit: u64, sum: &Sum) -> Finding {
    let (critical, compared) = (sum.figures.counters.critical_different, compared(sum));
    match critical > limit {
        true => breach(
            guard,
            None,
            |text| {
                write!(
                    text,
                    "{critical} of {compared} comparisons differ in a critical field, limit {limit}"
                )
            },
            sum.covered,
        ),
        false if compared >= guard.samples => Finding::Fine,
        false => Finding::Missing(too_few(compared, "comparisons", guard)),
    }
}

/// Without a failure there is nothing to judge, also where nothing is written.
fn mirror_failures(guard: &Guard, limit: f64, sum: &Sum) -> Finding {
    let counters = &sum.figures.counters;
    let (failed, all) = (counters.mirror_failed, counters.mirror_failed + counters.mirror_written);
    let (low, _) = share_between(failed, all, guard.deviation);
    let share = Share { hits: failed, samples: all, low };
    let say =
        |text: &mut String| write!(text, "{share} mirror writes fail, limit {}", percent(limit));
    match (failed, all >= guard.samples) {
        (0, _) => Finding::Fine,
        (_, true) if low > limit => breach(guard, None, say, sum.covered),
        (_, true) => Finding::Fine,
        (_, false) => Finding::Missing(too_few(all, "mirror writes", guard)),
    }
}

/// The finding of the first method that is breached; too few where no method could be judged.
fn by_method(guard: &Guard, sum: &Sum, judge: impl Fn(&MethodFigures) -> Finding) -> Finding {
    let (mut judged, mut missing) = (false, None);
    for method in &sum.figures.methods {
        if method.new.begun() < guard.samples {
            continue;
        }
        match judge(method) {
            Finding::Breached(breach) => return Finding::Breached(breach),
            Finding::Fine => judged = true,
            Finding::Missing(text) => missing = Some(text),
        }
    }
    let most = sum.figures.methods.iter().map(|method| method.new.begun()).max().unwrap_or(0);
    match (judged, missing) {
        (true, _) => Finding::Fine,
        (false, Some(missing)) => Finding::Missing(missing),
        (false, None) => {
            Finding::Missing(too_few(most, "calls of the busiest method of the new side", guard))
        }
    }
}

/// Calls that their callers gave up so late that it says something of the side that they waited for.
#[derive(Clone, Copy)]
struct Hung {
    /// The limit of the method, or the old side's usual p99 where that is shorter. Clients that disconnect
    /// before say nothing.
    after: Duration,
    old: u64,
    new: u64,
}

impl Hung {
    /// What is usual is taken from all positions: beside a side that hangs the other one may not be called at
    /// all, and nobody gives up a call that is made beside the primary's.
    fn of(guard: &Guard, method: &MethodFigures, usual: &Figures, limit: Duration) -> Self {
        let known = usual.methods.iter().find(|known| known.name == method.name);
        let old = known.map(|known| &known.old);
        let called = old.filter(|old| old.calls() >= guard.samples);
        let p99 = called.map(|old| old.latency.quantiles([Quantile::P99.share()])[0]);
        let after = p99.map_or(limit, |p99| p99.min(limit));
        let nanos = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        let hung = |side: &SideFigures| side.abandoned.slower_than(nanos);
        let counts = Self { after, old: hung(&method.old), new: hung(&method.new) };
        // Callers that give up as often where the old side answers give up for another reason.
        let answered = old.filter(|old| old.answered() >= guard.samples);
        let is_worse = answered.is_none_or(|old| {
            let usual = (hung(old), old.answered() + hung(old));
            let new = (counts.new, method.new.answered() + counts.new);
            excess_at_least(new, usual, guard.deviation) > 0.0
        });
        if is_worse { counts } else { Self { old: 0, new: 0, ..counts } }
    }
}

/// Calls that failed, and calls that hung until they were given up.
fn error_rate(
    guard: &Guard,
    limit: f64,
    method: &MethodFigures,
    hung: Hung,
    covered: Duration,
) -> Finding {
    let failed = |side: &SideFigures, hung: u64| (side.errors + hung, side.calls() + hung);
    let sides = Sides { old: failed(&method.old, hung.old), new: failed(&method.new, hung.new) };
    judge_share(guard, limit, method, covered, sides, |text| {
        write!(text, "calls of the new side fail, limit {}", percent(limit))?;
        match hung.new {
            0 => Ok(()),
            new => write!(text, " ({new} were abandoned after more than {:.1?})", hung.after),
        }
    })
}

/// How many of how many calls, on each side.
struct Sides {
    old: (u64, u64),
    new: (u64, u64),
}

/// A quantile exceeds a limit where the share of what is slower than the limit exceeds what the quantile
/// leaves over: a question about a share again, with nothing assumed about the distribution (the sign test
/// for quantiles; Conover, Practical Nonparametric Statistics, 1999, 3.2).
fn latency(
    guard: &Guard,
    quantile: Quantile,
    limit: Duration,
    method: &MethodFigures,
    covered: Duration,
) -> Finding {
    let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
    // What was given up later than that would have taken longer; of what was given up before nobody knows.
    let slow = |side: &SideFigures| {
        let hung = side.abandoned.slower_than(nanos);
        (side.latency.slower_than(nanos) + hung, side.calls() + hung)
    };
    let sides = Sides { old: slow(&method.old), new: slow(&method.new) };
    judge_share(guard, 1.0 - quantile.share(), method, covered, sides, |text| {
        let [found] = method.new.latency.quantiles([quantile.share()]);
        write!(text, "calls of the new side take more than {limit:?}; {quantile} {found:.1?}")
    })
}

/// Breached where the share of new is above the limit for sure and, where old is called enough, above old's
/// for sure: what fails on both sides is not new's fault.
fn judge_share(
    guard: &Guard,
    limit: f64,
    method: &MethodFigures,
    covered: Duration,
    sides: Sides,
    say: impl FnOnce(&mut String) -> std::fmt::Result,
) -> Finding {
    let Sides { new: (hits, samples), old } = sides;
    let (low, _) = share_between(hits, samples, guard.deviation);
    let is_old_known = old.1 >= guard.samples;
    let is_worse = !is_old_known || excess_at_least((hits, samples), old, guard.deviation) > 0.0;
    if low <= limit || !is_worse {
        return Finding::Fine;
    }
    breach(
        guard,
        Some(method),
        |text| {
            write!(text, "{} ", Share { hits, samples, low })?;
            say(text)?;
            write!(text, "; old {} of {}", old.0, old.1)
        },
        covered,
    )
}

fn times_old(
    guard: &Guard,
    quantile: Quantile,
    times: f64,
    method: &MethodFigures,
    covered: Duration,
) -> Finding {
    let rest = 1.0 - quantile.share();
    let old = method.old.calls();
    // The most that old's quantile can be.
    let bound = method.old.latency.buckets().map(|(nanos, _)| nanos).find(|nanos| {
        let slower = method.old.latency.slower_than(*nanos);
        share_between(slower, old, guard.deviation).1 <= rest
    });
    let Some(bound) = bound.filter(|_| old >= guard.samples) else {
        return Finding::Missing(format!(
            "{old} calls of the old side are too few to know its {quantile}"
        ));
    };
    let limit = Duration::from_nanos((bound as f64 * times) as u64);
    let hung = method.new.abandoned.slower_than(limit.as_nanos() as u64);
    let slow = method.new.latency.slower_than(limit.as_nanos() as u64) + hung;
    let samples = method.new.calls() + hung;
    let (low, _) = share_between(slow, samples, guard.deviation);
    if low <= rest {
        return Finding::Fine;
    }
    breach(
        guard,
        Some(method),
        |text| {
            let [found] = method.new.latency.quantiles([quantile.share()]);
            let share = Share { hits: slow, samples, low };
            write!(
                text,
                "{share} calls of the new side take more than {limit:.1?}, {times} times the {quantile} of the old side \
             over {old} calls; {quantile} of the new side {found:.1?}"
            )
        },
        covered,
    )
}

fn number(
    guard: &Guard,
    found: u64,
    limit: u64,
    what: &str,
    covered: Duration,
    period: Duration,
) -> Finding {
    match found > limit {
        true => breach(guard, None, |text| write!(text, "{found} {what}, limit {limit}"), covered),
        // Nothing failed, but nobody looked for long either.
        false if covered < period => {
            Finding::Missing(format!("watched for {covered:.1?}, less than {period:?}"))
        }
        false => Finding::Fine,
    }
}

fn breach(
    guard: &Guard,
    method: Option<&MethodFigures>,
    say: impl FnOnce(&mut String) -> std::fmt::Result,
    covered: Duration,
) -> Finding {
    let mut figures = String::new();
    // Writing to a string cannot fail.
    let _ = say(&mut figures);
    let _ = write!(figures, "; over {:.0} s", covered.as_secs_f64());
    let method = method.map(|method| method.name.to_string());
    Finding::Breached(Breach { guard: guard.name(), method, figures })
}

fn too_few(found: u64, what: &str, guard: &Guard) -> String {
    format!("{found} {what}, {} are needed", guard.samples)
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

struct Share {
    hits: u64,
    samples: u64,
    low: f64,
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let share = self.hits as f64 / self.samples.max(1) as f64;
        let (share, low) = (percent(share), percent(self.low));
        write!(f, "{} of {} ({share}, at least {low})", self.hits, self.samples)
    }
}

#[cfg(test)]
mod calls_tests;
#[cfg(test)]
mod tests;
