//! What the control tables said last of what is published and judged by guards, and when to ask again.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use crate::control::BackfillProgress;
use crate::stages::facts::Facts;
use crate::state::Shared;
use crate::state::kept::{Gathered, News};

/// Up to so many instances, each asks by itself as often as is documented.
const FLEET_SMALL: u64 = 50;

/// Where this instance stands among those of a fleet, from 0 to 1.
fn place(instance: &str) -> f64 {
    xxh3_64(instance.as_bytes()) as f64 / u64::MAX as f64
}

/// How many times as long as in a small fleet this instance waits. Of those that started together not all ask together.
fn share(instance: &str, live: u64) -> f64 {
    match live <= FLEET_SMALL {
        true => 1.0,
        false => live as f64 / FLEET_SMALL as f64 * (0.75 + place(instance) / 2.0),
    }
}

/// How long an instance that has just started waits before it asks for the first time, as a share of what one of a small
/// fleet waits between two questions: a whole fleet that starts at once asks no more often than it does later.
fn first(instance: &str, live: u64) -> f64 {
    match live <= FLEET_SMALL {
        true => 0.0,
        false => live as f64 / FLEET_SMALL as f64 * place(instance),
    }
}

impl Gathered {
    /// Whether the next question is due at this time, in a small fleet after `every`.
    fn is_due(&self, instance: &str, now: u64, every: Duration) -> bool {
        let (since, share) = match (self.at, self.counted) {
            (Some(at), _) => (at, share(instance, self.live)),
            (None, Some(counted)) => (counted, first(instance, self.live)),
            (None, None) => return true,
        };
        Duration::from_nanos(now.saturating_sub(since)) >= every.mul_f64(share)
    }

    fn is_small(&self) -> bool {
        self.live <= FLEET_SMALL
    }
}

impl Shared {
    fn news(&self) -> News {
        News { mark: self.mark(), generation: self.generation(), flags: self.seen.flags() }
    }

    fn gathering(&self) -> MutexGuard<'_, Gathered> {
        self.measured.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it may have changed: a poll found something else, something is under way, or it is long ago.
    /// `every`: in a small fleet. In a large one each instance asks less often, and all of them together as often.
    pub(crate) fn is_gathering_due(&self, every: Duration) -> bool {
        let gathered = self.gathering();
        let due = |every| gathered.is_due(&self.instance, self.clock.now(), every);
        let copies = gathered.backfill.as_ref().is_some_and(|backfill| !backfill.complete);
        let busy = self.is_planned() || self.is_started() || self.is_dirty() || copies;
        let changed = gathered.news.is_some_and(|news| news != self.news());
        // What changes is seen by a whole fleet at once, and must not be read by all of it at once.
        due(every) || changed && gathered.is_small() || (busy || changed) && due(every / 6)
    }

    /// Whether the guards want to know the counts again. It is as in [`is_gathering_due`](Self::is_gathering_due).
    pub(crate) fn is_counting_due(&self, period: Duration) -> bool {
        let gathered = self.gathering();
        gathered.is_small() || gathered.is_due(&self.instance, self.clock.now(), period)
    }

    /// Nothing was read of it yet, nor is it known in how large a fleet this instance is.
    pub(crate) fn is_fleet_unknown(&self) -> bool {
        let gathered = self.gathering();
        gathered.at.is_none() && gathered.counted.is_none()
    }

    /// So many instances live. It is read for the first time when the turn of this one has come.
    pub(crate) fn fleet_counted(&self, live: u64) {
        let counted = Some(self.clock.now());
        *self.gathering() = Gathered { live, counted, ..Gathered::default() };
    }

    pub(crate) fn gather(&self, facts: Option<Facts>, backfill: Option<BackfillProgress>) {
        let (news, at) = (Some(self.news()), Some(self.clock.now()));
        let live = facts.as_ref().map_or(0, Facts::live);
        *self.gathering() =
            Gathered { facts, backfill, at, live, counted: None, news, fresh: true };
    }

    pub(crate) fn gathered(&self) -> Option<Facts> {
        self.gathering().facts.clone()
    }

    /// The newest backfill, where it was read since this was asked last.
    #[cfg(feature = "metrics")]
    pub(crate) fn take_gathered(&self) -> Option<BackfillProgress> {
        let mut gathered = self.gathering();
        let is_fresh = std::mem::take(&mut gathered.fresh);
        gathered.backfill.clone().filter(|_| is_fresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_fleet_asks_as_often_as_a_small_one_and_not_all_at_once() {
        assert_eq!(share("a", FLEET_SMALL), 1.0);
        let shares: Vec<f64> = (0..1_000).map(|name| share(&format!("i-{name}"), 1_000)).collect();
        assert!(shares.iter().all(|share| (15.0..=25.0).contains(share)), "{shares:?}");
        let rate: f64 = shares.iter().map(|share| 1.0 / share).sum();
        assert!((45.0..=56.0).contains(&rate), "as {rate} instances of a small fleet");
        let early = shares.iter().filter(|share| **share < 17.5).count();
        assert!((150..=350).contains(&early), "spread: {early}");
    }

    #[test]
    fn a_large_fleet_that_starts_at_once_does_not_ask_at_once() {
        let every = Duration::from_secs(60);
        let second = 1_000_000_000;
        let asked = |instance: &str, live, seconds: u64| {
            let gathered = Gathered { live, counted: Some(5 * second), ..Gathered::default() };
            gathered.is_due(instance, (5 + seconds) * second, every)
        };
        assert!(Gathered::default().is_due("a", 0, every), "nobody has counted yet");
        assert!(asked("a", FLEET_SMALL, 0), "a small fleet asks at once");
        let after =
            |seconds| (0..1_000).filter(|name| asked(&format!("i-{name}"), 1_000, seconds)).count();
        assert!((30..=80).contains(&after(60)), "{} in the first minute", after(60));
        assert!((430..=570).contains(&after(600)), "{} in ten minutes", after(600));
        assert_eq!(after(1_200), 1_000);
    }
}
