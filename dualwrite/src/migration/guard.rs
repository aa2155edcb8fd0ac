//! Gathers what the guards judge, and has it judged. What follows from that is the composition's affair.

use std::sync::PoisonError;
use std::time::Duration;

use crate::clock;
use crate::copier::joined::Joined;
use crate::error::Error;
use crate::guard::decide::{Evidence, judge};
use crate::guard::rules::{GuardReport, Guards, Limit};
use crate::observe::count;
use crate::observe::window::{Cut, Window};
use crate::stages::facts::Facts;
use crate::stages::position::{Percent, Position};

/// How long the control tables may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Guards in force, or those that health is judged by where none were registered.
pub(crate) fn guards(shared: &Joined) -> Guards {
    shared.options.guards.clone().unwrap_or_default()
}

/// Lets the window see what was counted until now.
pub(crate) fn observe(shared: &Joined, period: Duration, cut: Cut) {
    // Looked at under the lock: of two who look at once, the later one's look is the later one.
    with_window(shared, |window| window.take(shared.snapshot(), period, cut));
}

pub(crate) fn with_window<T>(shared: &Joined, act: impl FnOnce(&mut Window) -> T) -> T {
    act(&mut shared.measured.window.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What the control tables say; nothing, counted and logged, where they do not.
pub(crate) async fn facts(shared: &Joined) -> Option<Facts> {
    let facts = answered(shared.control.facts(&shared.name)).await;
    if facts.is_none() {
        count(&shared.counters.control_failed);
    }
    facts
}

/// What a read of the control tables found; nothing, and logged, where it failed or took longer than [`TIMEOUT`].
pub(crate) async fn answered<T>(read: impl Future<Output = Result<T, Error>>) -> Option<T> {
    match clock::limit(TIMEOUT, read).await {
        Ok(Ok(found)) => return Some(found),
        Ok(Err(error)) => {
            tracing::warn!(%error, "guards and metrics could not read the control tables; trying again");
        }
        Err(()) => {
            tracing::warn!(limit = ?TIMEOUT, "the control tables did not answer guards and metrics in time; trying again");
        }
    }
    None
}

/// Whether some guard looks at the control tables.
pub(crate) fn wants_facts(guards: &Guards) -> bool {
    guards.iter().any(|guard| matches!(guard.limit, Limit::DeadLetters(_)))
}

/// Judges the present position by all that was counted under it until now.
pub(crate) fn verdict(
    shared: &Joined,
    guards: &Guards,
    dead_letters: Option<u64>,
) -> (Position, GuardReport) {
    observe(shared, guards.period, Cut::Now);
    let position = shared.position();
    let report = with_window(shared, |window| {
        judge(
            guards,
            &Evidence {
                position,
                figures: &|length| window.sum(length, Some(position.epoch)),
                usual: &|| shared.figures(),
                limit: &|method| shared.limit_of(method),
                dead_letters,
                has_critical: !shared.options.critical.is_empty(),
                compares_writes: shared.write_sample() > Percent::ZERO,
            },
        )
    });
    (position, report)
}

/// Judges the present position, the control tables included.
pub(crate) async fn health(shared: &Joined) -> GuardReport {
    let guards = guards(shared);
    let dead_letters = match wants_facts(&guards) {
        true => facts(shared).await.map(|facts| dead_letters(&facts)),
        false => None,
    };
    verdict(shared, &guards, dead_letters).1
}

pub(crate) fn dead_letters(facts: &Facts) -> u64 {
    facts.new.dead_letters + facts.old.dead_letters
}

/// Counts a verdict, and which guards were breached.
pub(crate) fn log_breaches(shared: &Joined, report: &GuardReport) {
    let counters = &shared.counters;
    count(match report {
        GuardReport::Healthy => &counters.guard_healthy,
        GuardReport::Breached(_) => &counters.guard_breached,
        GuardReport::NotEnoughData(_) => &counters.guard_without_data,
    });
    if let GuardReport::Breached(breaches) = report {
        for breach in breaches {
            shared.breaches.count(breach.guard);
        }
    }
}
