//! What the control tables said last of what is published and judged by guards, and when to ask again.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use crate::control::BackfillProgress;
use crate::stages::facts::Facts;
use crate::stages::lineage::Mark;
use crate::stages::position::Generation;
use crate::state::Shared;

/// What was read for guards and metrics.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    facts: Option<Facts>,
    /// Its newest backfill.
    backfill: Option<BackfillProgress>,
    /// When, by our clock.
    at: Option<u64>,
    /// What a look had found by then.
    news: Option<News>,
    /// It was read since it was published last.
    #[cfg_attr(not(feature = "metrics"), expect(dead_code, reason = "nothing is published"))]
    fresh: bool,
}

/// What changes with what is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct News {
    mark: Mark,
    generation: Generation,
    flags: [bool; 6],
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

    /// Whether it may have changed: a look found something else, something is under way, or it is long ago.
    pub(crate) fn is_gathering_due(&self, every: Duration) -> bool {
        let gathered = self.gathering();
        let Some(at) = gathered.at else { return true };
        let since = Duration::from_nanos(self.clock.now().saturating_sub(at));
        let copies = gathered.backfill.as_ref().is_some_and(|backfill| !backfill.complete);
        let busy = self.is_planned() || self.is_started() || self.is_dirty() || copies;
        since >= every || gathered.news != Some(self.news()) || busy && since >= every / 6
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
