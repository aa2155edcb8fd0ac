//! The state of one migration in this process: what every call looks at, without locks.

pub(crate) mod events;
pub(crate) mod in_flight;
mod preflight;

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio_util::task::TaskTracker;

use crate::call::lazy::run::Flights;
use crate::clock::Clock;
use crate::control::{Control, Record};
use crate::copy::Copier;
use crate::database::Pin;
use crate::error::{Error, ErrorKind};
use crate::flags::report::FlagReport;
use crate::guard::rules::{GUARDS_MAX, Guard, Guards};
use crate::key::KeyKind;
use crate::observe::figures::Figures;
use crate::observe::mirror::{Cause, MIRROR_WINDOW, MirrorError, MirrorFailures, MirrorReport};
use crate::observe::tally::Tally;
use crate::observe::window::{Cut, Look, Window};
use crate::observe::{Counters, MethodStats, count};
use crate::preflight::finding::Preflight;
use crate::rollout::health::HealthHook;
use crate::shadow::cohort::Cohorts;
use crate::shadow::noise::Baseline;
use crate::shadow::rules::ShadowRules;
use crate::shadow::samples::Stored;
use crate::stages::bucket::{BucketRule, salt};
use crate::stages::facts::Terms;
use crate::stages::position::{Epoch, Generation, Percent, Position};
use crate::stages::stage::{Side, Stage};
use crate::state::events::{Events, RuntimeEvent};
use crate::state::in_flight::InFlight;

/// What a mirror write that fails does to the caller's write.
///
/// ```
/// assert_eq!(dualwrite::MirrorPolicy::default(), dualwrite::MirrorPolicy::MarkDirty);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MirrorPolicy {
    /// The mirror write is undone, the key is marked dirty in the same transaction and copied again;
    /// the caller's write goes on. Falls back to `Abort` where the key could not be copied that way,
    /// or where reads without a key still look at the side that failed.
    #[default]
    MarkDirty,
    /// As `MarkDirty`, and one round trip less: the savepoint is set in the message that begins the
    /// transaction. Where the mirror fails, all since then is undone, and the primary is written a second
    /// time, alone; so its method is called twice. What it has done in the database counts once, what it
    /// did elsewhere (a message that it sent, a number that it drew) has been done twice.
    ///
    /// Only where the dual write is the first thing that is run in the transaction; otherwise it is
    /// `MarkDirty`.
    Repeat,
    /// The caller's write fails.
    Abort,
}

/// What happens where the old and the new side answer one write differently. Answers are compared by
/// [`Compare`](crate::Compare), else by `PartialEq`; where the type has neither, they are not.
///
/// ```
/// assert_eq!(dualwrite::AnswerPolicy::default(), dualwrite::AnswerPolicy::MarkDirty);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnswerPolicy {
    /// The caller gets the primary's answer. The difference is counted and logged, and the key is marked
    /// dirty in the same transaction, so that it is copied again; it is not marked where it could not be
    /// copied in that direction.
    #[default]
    MarkDirty,
    /// The caller's write fails. Choose this where both sides may allocate ids: the copy function finds a
    /// row by its key, so it cannot repair two ids that differ.
    Error,
    /// Answers are not compared.
    Ignore,
}

/// What a registration chose.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) rule: BucketRule,
    pub(crate) lazy: bool,
    pub(crate) mirror: MirrorPolicy,
    pub(crate) answers: AnswerPolicy,
    pub(crate) mirror_write_timeout: Duration,
    pub(crate) primary_write_timeout: Option<Duration>,
    pub(crate) soak: Duration,
    pub(crate) approvals: Vec<(Stage, String)>,
    pub(crate) rollout_health: HealthHook,
    pub(crate) unaware_window: Duration,
    pub(crate) shadow_sample: Percent,
    /// Whether the key, and not the call, decides what is sampled.
    pub(crate) shadow_by_key: bool,
    pub(crate) compare_writes: Percent,
    pub(crate) shadow_timeout: Duration,
    pub(crate) shadow_concurrency: usize,
    /// `None`: nothing is rolled back by itself.
    pub(crate) guards: Option<Guards>,
    /// Fields, as [`field_label`](crate::observe::tally::field_label) writes them.
    pub(crate) critical: Vec<String>,
    pub(crate) rules: ShadowRules,
}

/// Default bound on shadow reads at a time, per migration and process.
pub const SHADOW_CONCURRENCY: usize = 64;
/// Default limit on the time of one shadow read.
pub const SHADOW_TIMEOUT: Duration = Duration::from_secs(2);

/// Default limit on the time of one mirror write: what takes longer has failed.
pub const MIRROR_WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// Default limit on the time of the primary's write where the database has a single writer (SQLite): while
/// it lasts nobody else can write, no heartbeat either. Elsewhere there is none by default.
pub const SINGLE_WRITER_TIMEOUT: Duration = Duration::from_secs(8);

/// How long old must not have been written without this library before `Complete`, by default.
pub const UNAWARE_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Options {
    fn default() -> Self {
        Self {
            rule: BucketRule::Hash,
            lazy: false,
            mirror: MirrorPolicy::default(),
            answers: AnswerPolicy::default(),
            mirror_write_timeout: MIRROR_WRITE_TIMEOUT,
            primary_write_timeout: None,
            soak: Duration::ZERO,
            approvals: Vec::new(),
            rollout_health: HealthHook::default(),
            unaware_window: UNAWARE_WINDOW,
            shadow_sample: Percent::FULL,
            shadow_by_key: false,
            compare_writes: Percent::ZERO,
            shadow_timeout: SHADOW_TIMEOUT,
            shadow_concurrency: SHADOW_CONCURRENCY,
            guards: None,
            critical: Vec::new(),
            rules: ShadowRules::default(),
        }
    }
}

pub(crate) struct Shared {
    pub(crate) name: Arc<str>,
    pub(crate) salt: u64,
    pub(crate) options: Options,
    pub(crate) kind: Option<KeyKind>,
    /// [`Position`], packed.
    position: AtomicU64,
    generation: AtomicU64,
    /// No key can be missing in new any more.
    copied: AtomicBool,
    dirty: AtomicBool,
    letters: AtomicBool,
    due: AtomicBool,
    /// A rollout is running.
    planned: AtomicBool,
    /// Somebody started a backfill that no instance runs.
    pub(crate) started: AtomicBool,
    /// This process looks after it.
    pub(crate) following: AtomicBool,
    lease: Arc<Lease>,
    /// The control tables do not know the migration any more.
    deleted: AtomicBool,
    pub(crate) clock: Clock,
    pub(crate) in_flight: InFlight,
    pub(crate) counters: Counters,
    pub(crate) mirror_failures: MirrorFailures,
    methods: Mutex<Vec<Arc<MethodStats>>>,
    /// Breaches by guard.
    pub(crate) breaches: Tally,
    pub(crate) baseline: Baseline,
    pub(crate) cohorts: Cohorts,
    /// Samples of mismatches stored from here.
    pub(crate) stored: Mutex<Stored>,
    pub(crate) window: Mutex<Window>,
    /// When the guards looked last.
    pub(crate) evaluated: AtomicU64,
    /// What the recorder of metrics knows.
    #[cfg(feature = "metrics")]
    pub(crate) published: Mutex<Option<Figures>>,
    events: Events,
    pub(crate) mirrors: Arc<Semaphore>,
    pub(crate) tasks: TaskTracker,
    pub(crate) control: Arc<dyn Control>,
    pub(crate) copier: Option<Arc<dyn Copier>>,
    pub(crate) flights: Flights,
    /// What the last preflight found.
    preflight: Mutex<Preflight>,
    /// What the flags of this process say.
    flags: Mutex<FlagReport>,
    /// Wakes the runtime's maintenance before its time.
    pub(crate) nudge: Arc<Notify>,
    /// This process, among the instances.
    pub(crate) instance: Arc<str>,
    /// Who moves the migration where nobody says.
    pub(crate) actor: Arc<str>,
}

/// While it is held, the others wait for what this instance has in flight, so its position can be at most
/// one stage behind.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    /// Held without a gap since then, in our clock's ticks.
    since: AtomicU64,
    until: AtomicU64,
}

impl Lease {
    /// A call that began before a gap must not answer after it, although the lease is held again: in
    /// the gap nobody waited for it.
    #[inline]
    fn was_held(&self, start: u64, end: u64) -> bool {
        // In this order: whoever sees the new end sees the new beginning too.
        end <= self.until.load(Acquire) && start >= self.since.load(Relaxed)
    }

    /// Extends it after a heartbeat that was sent and acknowledged at these times. By `now` the
    /// positions have been read again. All in ticks.
    pub(crate) fn extend(&self, sent: u64, acknowledged: u64, now: u64, lease: u64) {
        if acknowledged > self.until.load(Relaxed) {
            self.since.fetch_max(now, Relaxed);
        }
        self.until.fetch_max(sent.saturating_add(lease), Release);
    }

    pub(crate) fn end(&self) {
        self.until.store(0, Release);
    }
}

/// What a migration shares with its runtime.
pub(crate) struct Context {
    pub(crate) clock: Clock,
    pub(crate) control: Arc<dyn Control>,
    pub(crate) lease: Arc<Lease>,
    pub(crate) tasks: TaskTracker,
    pub(crate) nudge: Arc<Notify>,
    pub(crate) instance: Arc<str>,
    pub(crate) actor: Arc<str>,
    pub(crate) events: Events,
}

impl Shared {
    pub(crate) fn new(
        record: &Record,
        options: Options,
        copier: Option<Arc<dyn Copier>>,
        context: Context,
    ) -> Self {
        let guards = options.guards.iter().flat_map(Guards::iter).map(Guard::name);
        let shared = Self {
            name: record.name.as_str().into(),
            salt: salt(&record.name),
            kind: copier.as_ref().map(|copier| copier.kind()),
            position: AtomicU64::new(record.position.to_bits()),
            generation: AtomicU64::new(record.generation.0),
            copied: AtomicBool::new(record.is_copied()),
            dirty: AtomicBool::new(record.dirty),
            letters: AtomicBool::new(record.letters),
            due: AtomicBool::new(record.due),
            planned: AtomicBool::new(record.planned),
            started: AtomicBool::new(record.started),
            following: AtomicBool::new(false),
            lease: context.lease,
            deleted: AtomicBool::new(false),
            clock: context.clock.clone(),
            in_flight: InFlight::new(record.position.epoch),
            counters: Counters::default(),
            mirror_failures: MirrorFailures::default(),
            methods: Mutex::default(),
            breaches: Tally::new(GUARDS_MAX, guards),
            baseline: Baseline::default(),
            cohorts: Cohorts::default(),
            stored: Mutex::default(),
            window: Mutex::default(),
            evaluated: AtomicU64::new(context.clock.now()),
            #[cfg(feature = "metrics")]
            published: Mutex::default(),
            events: context.events,
            mirrors: Arc::new(Semaphore::new(options.shadow_concurrency)),
            tasks: context.tasks,
            control: context.control,
            copier,
            flights: Flights::new(),
            preflight: Mutex::default(),
            flags: Mutex::default(),
            nudge: context.nudge,
            instance: context.instance,
            actor: context.actor,
            options,
        };
        // What is counted from here on belongs to a slice.
        let look = shared.look();
        shared.window.lock().unwrap_or_else(PoisonError::into_inner).begin(look);
        shared
    }

    /// The cached position. For a call, load it after [`InFlight::enter`].
    #[inline]
    pub(crate) fn position(&self) -> Position {
        Position::from_bits(self.position.load(SeqCst))
    }

    pub(crate) fn generation(&self) -> Generation {
        Generation(self.generation.load(SeqCst))
    }

    pub(crate) fn terms(&self) -> Terms {
        Terms {
            lazy: self.options.lazy,
            soak: self.options.soak,
            sees_new: self.copier.as_ref().is_some_and(|copier| copier.sees_new()),
            can_copy_back: self.copier.as_ref().is_some_and(|copier| copier.can_run_back()),
            approvals: self.options.approvals.clone(),
            unaware_window: self.options.unaware_window,
            refused: self.preflight().refusals().map(ToString::to_string).collect(),
            mirror_failing: self.mirror().failing(),
        }
    }

    /// The mirror writes of the last five minutes in this process.
    pub(crate) fn mirror(&self) -> MirrorReport {
        let look = self.look();
        let window = &mut *self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.take(look, MIRROR_WINDOW, Cut::Now);
        let counters = window.sum(MIRROR_WINDOW, None).figures.counters;
        let last_error = self.mirror_failures.last();
        MirrorReport::new(counters.mirror_written, counters.mirror_failed, last_error)
    }

    /// Whether no key can be missing in new any more.
    #[inline]
    pub(crate) fn is_copied(&self) -> bool {
        self.copied.load(Relaxed)
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty.load(Relaxed)
    }

    /// Whether some key could not be copied, as far as known here.
    pub(crate) fn has_letters(&self) -> bool {
        self.letters.load(Relaxed)
    }

    /// Whether such a key is to be tried again, as far as known here.
    pub(crate) fn has_due_letters(&self) -> bool {
        self.due.load(Relaxed)
    }

    /// Whether a rollout is running, as far as known here.
    pub(crate) fn is_planned(&self) -> bool {
        self.planned.load(Relaxed)
    }

    /// Whether a backfill was started that no instance runs, as far as known here.
    pub(crate) fn is_started(&self) -> bool {
        self.started.load(Relaxed)
    }

    pub(crate) fn mark_dirty(&self) {
        self.dirty.store(true, Relaxed);
    }

    /// Fails where the lease was not held all the time, in ticks: the position may have changed without
    /// us. The start must be taken *before* the position is loaded.
    #[inline]
    pub(crate) fn check_lease(&self, start: u64, end: u64) -> Result<(), Error> {
        if self.holds_lease(start, end) { Ok(()) } else { Err(self.stage_unknown()) }
    }

    /// The same as a question.
    #[inline]
    pub(crate) fn holds_lease(&self, start: u64, end: u64) -> bool {
        self.lease.was_held(start, end) && !self.deleted.load(Relaxed)
    }

    /// Notes whether the control tables still know the migration.
    pub(crate) fn set_known(&self, known: bool) {
        if !self.deleted.swap(!known, Relaxed) && !known {
            tracing::error!(
                migration = &*self.name,
                "its row was deleted from the control tables; restore it, or register the migration again"
            );
        }
    }

    #[cold]
    pub(crate) fn stage_unknown(&self) -> Error {
        if self.deleted.load(Relaxed) {
            return unknown_migration(&self.name);
        }
        Error::new(
            ErrorKind::StageUnknown,
            "the control tables have not been reached for longer than the lease, so the stage is \
             unknown; reads resume by themselves when they are",
        )
        .of(&self.name)
    }

    /// Whether keys of that kind are those of the copy function.
    #[inline]
    pub(crate) fn is_kind(&self, found: KeyKind) -> bool {
        self.kind.is_none_or(|expected| expected == found)
    }

    #[inline]
    pub(crate) fn check_kind(&self, found: KeyKind) -> Result<(), Error> {
        match self.kind {
            Some(expected) if expected != found => Err(self.wrong_kind(expected, found)),
            _ => Ok(()),
        }
    }

    #[cold]
    fn wrong_kind(&self, expected: KeyKind, found: KeyKind) -> Error {
        Error::new(
            ErrorKind::WrongKey,
            format!(
                "the key of this call is {found}, and the copy function's is {expected}; one record \
                 must have one key everywhere, or its bucket differs"
            ),
        )
        .of(&self.name)
    }

    /// Takes over what the control tables say, unless we know something newer. Returns whether the
    /// position changed.
    pub(crate) fn apply(&self, record: &Record) -> bool {
        let bits = record.position.to_bits();
        let raised = self
            .position
            .fetch_update(SeqCst, SeqCst, |known| {
                (Position::from_bits(known).epoch <= record.position.epoch).then_some(bits)
            })
            .inspect(|before| self.tell_position(*before, bits))
            .is_ok_and(|before| before != bits);
        if self.position().epoch == record.position.epoch {
            self.generation.store(record.generation.0, SeqCst);
            self.copied.store(record.is_copied(), SeqCst);
            self.dirty.store(record.dirty, Relaxed);
            self.letters.store(record.letters, Relaxed);
            self.due.store(record.due, Relaxed);
            self.planned.store(record.planned, Relaxed);
            self.started.store(record.started, Relaxed);
        }
        raised
    }

    /// Reads the control tables now.
    pub(crate) async fn refresh(&self) -> Result<Record, Error> {
        let records = self.control.load().await?;
        let record = records.into_iter().find(|record| *record.name == *self.name);
        let record = record.ok_or_else(|| unknown_migration(&self.name))?;
        self.apply(&record);
        Ok(record)
    }

    /// What the flags of this process say.
    pub(crate) fn flags(&self) -> FlagReport {
        self.flags.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_flags(&self, report: FlagReport) {
        *self.flags.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }

    /// Why the migration is not where flags want it.
    pub(crate) fn set_waiting(&self, waiting: Option<String>) {
        self.flags.lock().unwrap_or_else(PoisonError::into_inner).waiting = waiting;
    }

    /// What a transaction is fenced for.
    pub(crate) fn pin(&self) -> Pin {
        Pin { name: Arc::clone(&self.name), position: self.position() }
    }

    /// The epoch below which nothing is in flight here.
    pub(crate) fn drained(&self) -> Epoch {
        self.in_flight.drained(self.position().epoch)
    }

    /// The statistics of a method; two wrappers of one trait share them.
    pub(crate) fn method(
        &self,
        repository: &'static str,
        method: &'static str,
    ) -> Arc<MethodStats> {
        let mut methods = self.methods.lock().unwrap_or_else(PoisonError::into_inner);
        let found = methods.iter().find(|m| (m.repository, m.method) == (repository, method));
        if let Some(found) = found {
            return Arc::clone(found);
        }
        let stats = Arc::new(MethodStats::new(repository, method, &self.options.critical));
        methods.push(Arc::clone(&stats));
        stats
    }

    /// Counts a mirror write that failed while the caller's write went on, and logs it, though not each time.
    pub(crate) fn mirror_failed(&self, method: &str, side: Side, cause: Cause) {
        count(&self.counters.mirror_failed);
        let cause = cause.to_string();
        let error = MirrorError { method: method.to_owned(), side, cause: cause.clone() };
        if let Some(failures) = self.mirror_failures.note(error, self.clock.now()) {
            tracing::warn!(
                migration = &*self.name,
                %side,
                method,
                cause,
                failures,
                "mirror writes failed; their keys are marked dirty and will be copied again"
            );
        }
    }

    /// The limit on one call of a method, by its name.
    pub(crate) fn limit_of(&self, method: &str) -> Duration {
        let methods = self.methods.lock().unwrap_or_else(PoisonError::into_inner);
        let found = methods.iter().find(|known| &*known.name == method);
        found.and_then(|found| found.limit()).unwrap_or(self.options.shadow_timeout)
    }

    /// Everything counted so far.
    pub(crate) fn figures(&self) -> Figures {
        Figures {
            methods: self.methods().iter().map(|method| method.figures()).collect(),
            counters: self.counters.report(),
            breaches: self.breaches.sum(),
            cohorts: self.cohorts.sum(),
        }
    }

    /// A look at the counters, for [`Window`].
    pub(crate) fn look(&self) -> Look {
        let drained = self.drained();
        let totals = self.figures();
        Look { drained, totals, epoch: self.position().epoch, now: self.clock.now() }
    }

    /// Tells the service, if it wants to hear.
    pub(crate) fn tell(&self, event: impl FnOnce() -> RuntimeEvent) {
        if !self.events.send(event) {
            count(&self.counters.events_dropped);
        }
    }

    fn tell_position(&self, before: u64, now: u64) {
        if before != now {
            let (from, to) = (Position::from_bits(before), Position::from_bits(now));
            let migration = self.name.to_string();
            self.tell(|| RuntimeEvent::PositionChanged { migration, from, to });
        }
    }

    pub(crate) fn methods(&self) -> Vec<Arc<MethodStats>> {
        self.methods.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The copy function.
    pub(crate) fn copier(&self) -> Result<&Arc<dyn Copier>, Error> {
        self.copier.as_ref().ok_or_else(|| {
            let message = "it was registered without a copy function; add `.backfill(…)`";
            Error::new(ErrorKind::Unsupported, message).of(&self.name)
        })
    }
}

pub(crate) fn unknown_migration(name: &str) -> Error {
    Error::new(ErrorKind::UnknownMigration, "the control tables do not know it; register it first")
        .of(name)
}
