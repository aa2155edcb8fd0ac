//! Reads the mirror in a task of its own: bounded in number and time, and panic-proof. The caller has
//! its answer already.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tracing::Instrument as _;

use crate::call::shadow::hear::{self, report};
use crate::call::shadow::keep::keep;
use crate::clock;
use crate::compare::{Comparison, Differences, Pair};
use crate::control::Sample;
use crate::copier::joined::Joined;
use crate::key::EncodedKey;
use crate::needs::Answered;
use crate::observe::outcome::{Outcome, Outcomes};
use crate::observe::tally::field_label;
use crate::observe::{MethodStats, Timed, count};
use crate::shadow::context::CallContext;
use crate::shadow::decide::{Failures, Recheck, failed, recheck};
use crate::shadow::report::{ShadowCall, ShadowFinding, ShadowReport};
use crate::shadow::rules::SeenError;
use crate::stages::position::Epoch;
use crate::stages::stage::Side;

/// How often a difference is looked at again before it counts as a write in flight.
const RECHECKS: u32 = 4;
const RECHECK_PAUSE: Duration = Duration::from_millis(2);
/// The field of a whole answer.
pub(crate) const WHOLE: &str = "*";
/// How many paths a report names.
const PATHS_MAX: usize = 10;

/// One comparison: how to ask both sides again, and how to compare what they answer.
pub(crate) struct Shadow<F, C, N> {
    pub(crate) shared: Arc<Joined>,
    pub(crate) method: Arc<MethodStats>,
    /// One that was in force while the call was in flight.
    pub(crate) epoch: Epoch,
    /// The side that has answered the caller.
    pub(crate) primary: Side,
    pub(crate) cohort: Option<Arc<Outcomes>>,
    /// Of the caller, where reports bear it.
    pub(crate) label: Option<Arc<str>>,
    /// What the caller said besides.
    pub(crate) context: CallContext,
    /// What the mirror said last, where reports bear it.
    pub(crate) said: Mutex<Option<String>>,
    /// That of a read of one key.
    pub(crate) key: Option<Box<EncodedKey>>,
    pub(crate) limit: Duration,
    pub(crate) again: F,
    pub(crate) compare: C,
    /// Of an error; see [`rules`](crate::shadow::rules).
    pub(crate) fingerprint: N,
}

/// What came of it, with what differs.
type Found = Result<Outcome, Differences>;

impl<T, E, F, Fut, C, N> Shadow<F, C, N>
where
    T: Answered,
    E: Send + 'static,
    F: Fn(Side) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send,
    C: Fn(Pair<'_, T, T>, &mut Comparison<'_>) + Send + Sync + 'static,
    N: Fn(&E) -> u64 + Send + Sync + 'static,
{
    /// Starts the comparison of an answer, or drops and counts it where too many are under way.
    pub(crate) fn start(self, answer: &Result<T, E>) {
        let Ok(permit) = Arc::clone(&self.shared.mirrors).try_acquire_owned() else {
            self.count(Outcome::Dropped);
            return;
        };
        // The error is the caller's; what is compared of it is noted here.
        let answer = match answer {
            Ok(value) => Ok(value.clone()),
            Err(error) => Err(self.see(error)),
        };
        let shared = Arc::clone(&self.shared);
        let (migration, method) = (&*self.shared.name, &*self.method.name);
        let span = tracing::debug_span!("shadow", migration, method);
        let shadow = async move {
            self.run(answer).await;
            drop(permit);
        };
        shared.spawn(shadow.instrument(span));
    }

    fn count(&self, outcome: Outcome) {
        self.shared.count_compared(&self.method, outcome);
        if let Some(cohort) = &self.cohort {
            cohort.count(outcome);
        }
    }

    /// Whatever panics here is of the user's: `Clone`, a comparison, a rule, or `Drop` of what was read.
    async fn run(&self, answer: Result<T, SeenError>) {
        let limited = AssertUnwindSafe(clock::limit(self.limit, self.find(answer)));
        match limited.catch_unwind().await {
            Ok(Ok(Ok(outcome))) => {
                self.count(outcome);
                self.report_failure(outcome);
            }
            Ok(Ok(Err(_))) if self.has_passed() => self.count(Outcome::Transient),
            Ok(Ok(Err(found))) => {
                let fields: BTreeSet<String> =
                    found.kept().iter().map(|difference| field_label(&difference.path)).collect();
                self.shared.count_fields(&self.method, &fields);
                self.count(Outcome::Different);
                self.warn(&found);
                let samples = self.samples(&found);
                self.report(|| hear::different(&samples));
                keep(&self.shared, self.limit, &samples).await;
            }
            Ok(Err(())) => self.count(Outcome::TimedOut),
            Err(panic) => {
                self.count(Outcome::Panicked);
                let text = self.shared.options.rules.hooks.panic_text(&*panic);
                self.report(|| ShadowFinding::Panicked { text });
            }
        }
    }

    fn report_failure(&self, outcome: Outcome) {
        let said = || self.said.lock().unwrap_or_else(PoisonError::into_inner).take();
        match outcome {
            Outcome::MirrorFailed => self.report(|| ShadowFinding::MirrorFailed { text: said() }),
            Outcome::FailedDifferently => {
                self.report(|| ShadowFinding::FailedDifferently { text: said() });
            }
            _ => {}
        }
    }

    fn report(&self, found: impl FnOnce() -> ShadowFinding) {
        report(&self.shared, || ShadowReport {
            migration: self.shared.name.to_string(),
            method: self.method.name.to_string(),
            key: self.key.as_deref().map(|key| key.0.as_str().to_owned()),
            cohort: self.label.as_deref().map(str::to_owned),
            context: self.context.clone(),
            found: found(),
        });
    }

    /// Notes what the mirror says of its failure.
    fn hear(&self, side: Side, text: impl FnOnce() -> Option<String>) {
        if side != self.primary && self.shared.options.rules.hooks.hear() {
            *self.said.lock().unwrap_or_else(PoisonError::into_inner) = text();
        }
    }

    /// The comparison itself is not in flight as a read is, so the migration may have gone on to a stage
    /// in which one side is no longer written, and differs by right.
    fn has_passed(&self) -> bool {
        self.shared.position().epoch != self.epoch
    }

    async fn find(&self, answer: Result<T, SeenError>) -> Found {
        let (answer, mirror) = match self.both(answer, self.ask(self.primary.other()).await) {
            Ok(answers) => answers,
            Err(outcome) => return Ok(outcome),
        };
        if self.shared.compared.baseline.is_due(self.shared.options.rules.noise) {
            self.measure_noise(&answer, &mirror).await;
        }
        if !self.pair(&answer, &mirror).differ(&self.compare) {
            return Ok(Outcome::Equal);
        }
        let noise = self.shared.noise(&self.method.name);
        if self.agree(&answer, &mirror, &noise) {
            return Ok(Outcome::Ignored);
        }
        let (mirror_side, mut last_look) = (self.primary.other(), (answer, mirror));
        let mut primary_moved = false;
        for _ in 0..RECHECKS {
            clock::sleep(RECHECK_PAUSE).await;
            let before = self.ask_again(self.primary).await;
            let mirror = self.ask_again(mirror_side).await;
            let after = self.ask_again(self.primary).await;
            let last = self.ask_again(mirror_side).await;
            let ((before, mirror), (after, last)) =
                match (self.both(before, mirror), self.both(after, last)) {
                    (Ok(first), Ok(second)) => (first, second),
                    (Err(outcome), _) | (_, Err(outcome)) => return Ok(outcome),
                };
            let agrees = |primary: &T, mirror: &T| self.agree(primary, mirror, &noise);
            let stands = |earlier: &T, later: &T| self.is_same(|| Pair::of(earlier, later), &noise);
            match recheck([&before, &after], [&mirror, &last], agrees, stands) {
                Recheck::Agreed => return Ok(Outcome::Transient),
                Recheck::Confirmed => return Err(self.differences(&after, &last, &noise)),
                Recheck::InFlux => primary_moved |= !stands(&before, &after),
            }
            last_look = (after, last);
        }
        // A mirror that answers otherwise each time, beside a primary that stands still, is no write in
        // flight: a write changes both.
        match primary_moved {
            true => Ok(Outcome::Transient),
            false => Err(self.differences(&last_look.0, &last_look.1, &noise)),
        }
    }

    /// Asks a side that has answered before.
    async fn ask_again(&self, side: Side) -> Result<T, SeenError> {
        count(&self.shared.counters.shadow_asked_again);
        self.ask(side).await
    }

    /// Asks a side. It is a call of that side whose answer the caller does not get, and counts as one. A
    /// panic of the side is its failure.
    async fn ask(&self, side: Side) -> Result<T, SeenError> {
        // What panics here is `Clone` of an argument, and no side.
        let asked = (self.again)(side);
        // What answers a position that has passed says nothing of the present one.
        let counts = || !self.has_passed();
        let timed = Timed::start(&self.method, side, &self.shared.clock, &counts);
        let asked = AssertUnwindSafe(asked).catch_unwind().await;
        timed.end(matches!(asked, Ok(Ok(_))));
        match asked {
            Ok(answer) => answer.map_err(|error| {
                self.hear(side, || self.shared.options.rules.hooks.text(&error));
                self.see(&error)
            }),
            Err(panic) => {
                self.hear(side, || self.shared.options.rules.hooks.panic_text(&*panic));
                Err(SeenError::PANIC)
            }
        }
    }

    fn see(&self, error: &E) -> SeenError {
        self.shared.options.rules.see(error, &self.fingerprint)
    }

    /// Reads old again; see [`noise`](crate::shadow::noise).
    async fn measure_noise(&self, answer: &T, mirror: &T) {
        let first = match self.primary {
            Side::Old => answer,
            Side::New => mirror,
        };
        // A comparison of two types in one may not know a value as its own equal: then old says nothing.
        if Pair::of(first, first).differ(&self.compare) {
            return;
        }
        let Ok(second) = self.ask_again(Side::Old).await else { return };
        let mut noise = self.fields(Pair::of(first, &second));
        if !noise.is_empty() {
            let Ok(third) = self.ask_again(Side::Old).await else { return };
            let again = self.fields(Pair::of(&second, &third));
            noise.retain(|field| again.contains(field));
        }
        let raw = self.fields(self.pair(answer, mirror));
        let beyond = self.shared.compared.baseline.take(&self.method.name, &raw, &noise);
        self.shared.counters.fields_beyond.fetch_add(beyond, Relaxed);
    }

    fn fields(&self, pair: Pair<'_, T, T>) -> BTreeSet<String> {
        let found = pair.differences(&self.compare);
        found.kept().iter().map(|difference| field_label(&difference.path)).collect()
    }

    /// Whether nothing differs that counts.
    fn agree(&self, primary: &T, mirror: &T, noise: &BTreeSet<String>) -> bool {
        self.is_same(|| self.pair(primary, mirror), noise) || self.is_ignored(primary, mirror)
    }

    /// Whether the service does not mind that these two differ.
    fn is_ignored(&self, primary: &T, mirror: &T) -> bool {
        let call = ShadowCall {
            method: &self.method.name,
            key: self.key.as_deref().map(|key| key.0.as_str()),
            cohort: self.label.as_deref(),
            context: &self.context,
        };
        match self.primary {
            Side::Old => self.shared.options.rules.ignores_pair(primary, mirror, &call),
            Side::New => self.shared.options.rules.ignores_pair(mirror, primary, &call),
        }
    }

    /// The answers of both sides, or what it means that a side failed.
    fn both(
        &self,
        primary: Result<T, SeenError>,
        mirror: Result<T, SeenError>,
    ) -> Result<(T, T), Outcome> {
        Err(failed(match (primary, mirror) {
            (Ok(primary), Ok(mirror)) => return Ok((primary, mirror)),
            (Err(primary), Ok(_)) => Failures::Primary(primary),
            (Ok(_), Err(mirror)) => Failures::Mirror(mirror),
            (Err(primary), Err(mirror)) => {
                let rules = &self.shared.options.rules;
                let alike = match self.primary {
                    Side::Old => rules.are_alike(&primary, &mirror),
                    Side::New => rules.are_alike(&mirror, &primary),
                };
                Failures::Both(primary, mirror, alike)
            }
        }))
    }

    fn is_same<'p>(&self, pair: impl Fn() -> Pair<'p, T, T>, noise: &BTreeSet<String>) -> bool
    where
        T: 'p,
    {
        match self.counts_all(noise) {
            true => !pair().differ(&self.compare),
            false => self.that_counts(pair().differences(&self.compare), noise).is_empty(),
        }
    }

    fn differences(&self, primary: &T, mirror: &T, noise: &BTreeSet<String>) -> Differences {
        self.that_counts(self.pair(primary, mirror).differences(&self.compare), noise)
    }

    fn counts_all(&self, noise: &BTreeSet<String>) -> bool {
        noise.is_empty() && self.shared.options.rules.fields().is_empty()
    }

    fn that_counts(&self, found: Differences, noise: &BTreeSet<String>) -> Differences {
        if self.counts_all(noise) {
            return found;
        }
        let rules = &self.shared.options.rules;
        found.retain(|path| {
            let field = field_label(path);
            !noise.contains(&field) && !rules.ignores(&field)
        })
    }

    /// Comparisons are told which is old's and which is new's.
    fn pair<'p>(&self, primary: &'p T, mirror: &'p T) -> Pair<'p, T, T> {
        match self.primary {
            Side::Old => Pair::of(primary, mirror),
            Side::New => Pair::of(mirror, primary),
        }
    }

    fn warn(&self, found: &Differences) {
        tracing::warn!(
            migration = &*self.shared.name,
            method = &*self.method.name,
            differences = found.total(),
            paths = paths(found),
            "the old and the new side differ"
        );
    }

    /// The first of the differences in each field.
    fn samples(&self, found: &Differences) -> Vec<Sample> {
        let mut seen = BTreeSet::new();
        let mut samples = Vec::new();
        for difference in found.kept() {
            let field = field_label(&difference.path);
            if seen.insert(field.clone()) {
                let (old, new) = difference.shown();
                let method = self.method.name.to_string();
                let key = self.key.as_deref().cloned();
                samples.push(Sample { method, field, key, old, new });
            }
        }
        samples
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
