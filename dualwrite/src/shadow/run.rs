//! Reads the mirror in a task of its own: bounded in number and time, and panic-proof. The caller has
//! its answer already.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tracing::Instrument as _;

use super::decide::{Recheck, recheck};
use crate::clock;
use crate::compare::{Comparison, Differences, Pair};
use crate::needs::Answered;
use crate::observe::{MethodStats, Timed, count};
use crate::position::Epoch;
use crate::shared::Shared;
use crate::stage::Side;

/// How often a difference is looked at again before it counts as a write in flight.
const RECHECKS: u32 = 4;
const RECHECK_PAUSE: Duration = Duration::from_millis(2);
/// How many paths a report names.
const PATHS_MAX: usize = 10;

/// One comparison: how to ask both sides again, and how to compare what they answer.
pub(crate) struct Shadow<F, C> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) method: Arc<MethodStats>,
    /// One that was in force while the call was in flight.
    pub(crate) epoch: Epoch,
    /// The side that has answered the caller.
    pub(crate) primary: Side,
    pub(crate) limit: Duration,
    pub(crate) again: F,
    pub(crate) compare: C,
}

enum Outcome {
    Equal,
    Different(Differences),
    Transient,
    Failed,
}

impl<T, E, F, Fut, C> Shadow<F, C>
where
    T: Answered,
    E: Send + 'static,
    F: Fn(Side) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send,
    C: Fn(Pair<'_, T, T>, &mut Comparison<'_>) + Send + Sync + 'static,
{
    /// Starts the comparison of an answer, or drops and counts it where too many are under way.
    pub(crate) fn start(self, answer: Option<&T>) {
        let Ok(permit) = Arc::clone(&self.shared.mirrors).try_acquire_owned() else {
            count(&self.shared.counters.shadow_dropped);
            return;
        };
        let answer = answer.cloned();
        let tasks = self.shared.tasks.clone();
        let (migration, method) = (&*self.shared.name, &*self.method.name);
        let span = tracing::debug_span!("shadow", migration, method);
        let shadow = async move {
            self.run(answer).await;
            drop(permit);
        };
        tasks.spawn(shadow.instrument(span));
    }

    async fn run(&self, answer: Option<T>) {
        let (shared, counters) = (&self.shared, &self.shared.counters);
        let guarded = AssertUnwindSafe(self.outcome(answer)).catch_unwind();
        match clock::limit(self.limit, guarded).await {
            Ok(Ok(Outcome::Equal)) => count(&counters.shadow_equal),
            Ok(Ok(Outcome::Transient)) => count(&counters.shadow_transient),
            // The comparison itself is not in flight as a read is, so the migration may have gone on
            // to a stage in which one side is no longer written, and differs by right.
            Ok(Ok(Outcome::Different(_))) if shared.position().epoch != self.epoch => {
                count(&counters.shadow_transient);
            }
            Ok(Ok(Outcome::Failed)) | Ok(Err(_)) => count(&counters.shadow_failed),
            Err(()) => count(&counters.shadow_timed_out),
            Ok(Ok(Outcome::Different(found))) => {
                let kept = found.kept().iter();
                shared.count_different(kept.map(|difference| difference.path.as_str()));
                report(shared, &self.method, &found).await;
            }
        }
    }

    async fn outcome(&self, answer: Option<T>) -> Outcome {
        let (Some(answer), Some(mirror)) = (answer, self.ask_mirror().await) else {
            return Outcome::Failed;
        };
        if self.agree(&answer, &mirror) {
            return Outcome::Equal;
        }
        let (mirror_side, mut last_look) = (self.primary.other(), (answer, mirror));
        let mut primary_moved = false;
        for _ in 0..RECHECKS {
            clock::sleep(RECHECK_PAUSE).await;
            let before = (self.again)(self.primary).await;
            let mirror = (self.again)(mirror_side).await;
            let after = (self.again)(self.primary).await;
            let last = (self.again)(mirror_side).await;
            let (Ok(before), Ok(mirror), Ok(after), Ok(last)) = (before, mirror, after, last)
            else {
                return Outcome::Failed;
            };
            let agrees = |primary: &T, mirror: &T| self.agree(primary, mirror);
            let stands = |earlier: &T, later: &T| !Pair::of(earlier, later).differ(&self.compare);
            match recheck([&before, &after], [&mirror, &last], agrees, stands) {
                Recheck::Agreed => return Outcome::Transient,
                Recheck::Confirmed => return self.different(&after, &last),
                Recheck::InFlux => primary_moved |= !stands(&before, &after),
            }
            last_look = (after, last);
        }
        // A mirror that answers otherwise each time, beside a primary that stands still, is no write in
        // flight: a write changes both.
        match primary_moved {
            true => Outcome::Transient,
            false => self.different(&last_look.0, &last_look.1),
        }
    }

    async fn ask_mirror(&self) -> Option<T> {
        let side = self.primary.other();
        // What answers a position that has passed says nothing of the present one.
        let counts = || self.shared.position().epoch == self.epoch;
        let timed = Timed::start(&self.method, side, &self.shared.clock, &counts);
        let answer = (self.again)(side).await;
        timed.end(answer.is_ok());
        answer.ok()
    }

    fn agree(&self, primary: &T, mirror: &T) -> bool {
        !self.pair(primary, mirror).differ(&self.compare)
    }

    fn different(&self, primary: &T, mirror: &T) -> Outcome {
        Outcome::Different(self.pair(primary, mirror).differences(&self.compare))
    }

    /// Comparisons are told which is old's and which is new's.
    fn pair<'p>(&self, primary: &'p T, mirror: &'p T) -> Pair<'p, T, T> {
        match self.primary {
            Side::Old => Pair::of(primary, mirror),
            Side::New => Pair::of(mirror, primary),
        }
    }
}

async fn report(shared: &Shared, method: &MethodStats, found: &Differences) {
    let name = format!("{}::{}", method.repository, method.method);
    tracing::warn!(
        migration = &*shared.name,
        method = name,
        differences = found.total(),
        paths = paths(found),
        "old and new differ"
    );
    if let Err(error) = shared.control.sample(&shared.name, &name, None).await {
        tracing::warn!(migration = &*shared.name, %error, "a mismatch could not be stored");
    }
}

/// Where the two differ; no values.
fn paths(found: &Differences) -> String {
    let named = found.kept().iter().filter(|difference| !difference.path.is_empty());
    let mut paths: Vec<&str> = named.map(|difference| difference.path.as_str()).collect();
    paths.dedup();
    paths.truncate(PATHS_MAX);
    paths.join(", ")
}
