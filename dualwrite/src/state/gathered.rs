//! What the control tables said last of what is published and judged by guards, and when to ask again.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use crate::control::BackfillProgress;
use crate::stages::facts::Facts;
use crate::state::Shared;
use crate::state::kept::{Gathered, News};

/// Up to so many instances, each asks by itself as often as is documented.
const FLEET_SMALL: u64 = 50;

/// How many times as long as in a small fleet this instance waits. Of those that started together not all ask together.
fn share(instance: &str, live: u64) -> f64 {
    if live <= FLEET_SMALL {
        return 1.0;
    }
    let spread = xxh3_64(instance.as_bytes()) as f64 / u64::MAX as f64;
    live as f64 / FLEET_SMALL as f64 * (0.75 + spread / 2.0)
}

impl Shared {
    fn news(&self) -> News {
        let flags =
            [&self.copied, &self.dirty, &self.letters, &self.due, &self.planned, &self.started];
        News {
            mark: self.mark(),
            generation: self.generation(),
            flags: flags.map(|flag| flag.load(Relaxed)),
        }
    }

    fn gathering(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it may have changed: a poll found something else, something is under way, or it is long ago.
    /// `every`: in a small fleet. In a large one each instance asks less often, and all of them together as often.
    pub(crate) fn is_gathering_due(&self, every: Duration) -> bool {
        let gathered = self.gathering();
        let Some(at) = gathered.at else { return true };
        let since = Duration::from_nanos(self.clock.now().saturating_sub(at));
        let copies = gathered.backfill.as_ref().is_some_and(|backfill| !backfill.complete);
        let busy = self.is_planned() || self.is_started() || self.is_dirty() || copies;
        let every = every.mul_f64(share(&self.instance, gathered.live()));
        since >= every || gathered.news != Some(self.news()) || busy && since >= every / 6
    }

    /// Whether the guards want to know the counts again. It is as in [`is_gathering_due`](Self::is_gathering_due).
    pub(crate) fn is_counting_due(&self, period: Duration) -> bool {
        let gathered = self.gathering();
        let Some(at) = gathered.at else { return true };
        let live = gathered.live();
        let since = Duration::from_nanos(self.clock.now().saturating_sub(at));
        live <= FLEET_SMALL || since >= period.mul_f64(share(&self.instance, live))
    }

    pub(crate) fn gather(&self, facts: Option<Facts>, backfill: Option<BackfillProgress>) {
        let (news, at) = (Some(self.news()), Some(self.clock.now()));
        *self.gathering() = Gathered { facts, backfill, at, news, fresh: true };
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
}
