//! The state of one migration in this process: what every call looks at, without locks.

pub(crate) mod events;
#[cfg(feature = "testing")]
pub(crate) mod faults;
mod gathered;
mod history;
pub(crate) mod in_flight;
pub(crate) mod kept;
mod kill;
mod lease;
mod maintenance;
mod mirror;
pub(crate) mod open;
mod operations;
mod options;
mod preflight;
pub(crate) mod waiting;

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::control::{Control, Record};
use crate::database::Pin;
use crate::error::{Error, ErrorKind};
use crate::flags::report::FlagReport;
use crate::guard::rules::{GUARDS_MAX, Guard, Guards};
use crate::key::KeyKind;
use crate::observe::figures::Figures;
use crate::observe::mirror::MirrorFailures;
use crate::observe::rarely::{DIFFERENCE_WARNING_PAUSE, Rarely};
use crate::observe::tally::Tally;
use crate::observe::window::Snapshot;
use crate::observe::{Counters, MethodStats, count};
use crate::preflight::finding::Preflight;
use crate::stages::bucket::salt;
use crate::stages::position::{Epoch, Generation, Position};
use crate::state::events::{Events, RuntimeEvent};
use crate::state::in_flight::InFlight;
#[cfg(feature = "testing")]
use crate::state::kept::ForTests;
use crate::state::kept::{Background, Catalogue, Compared, Known, Measured, Seen};
pub(crate) use crate::state::lease::Lease;
use crate::state::open::OpenTransactions;
pub(crate) use crate::state::options::Options;
pub use crate::state::options::{
    AnswerPolicy, MIRROR_WRITE_TIMEOUT, MirrorPolicy, SHADOW_CONCURRENCY, SHADOW_TIMEOUT,
    SINGLE_WRITER_TIMEOUT, UNAWARE_WINDOW,
};

pub(crate) struct Shared {
    pub(crate) name: Arc<str>,
    pub(crate) salt: u64,
    fence: u64,
    pub(crate) options: Options,
    pub(crate) kind: Option<KeyKind>,
    /// [`Position`], packed: what calls look at.
    position: AtomicU64,
    /// The same with its token. Whoever changes the position holds it.
    known: Mutex<Known>,
    /// The control tables have another history than what is known here.
    lost: AtomicBool,
    /// What else the control tables said of it.
    seen: Seen,
    pub(crate) background: Background,
    /// Some reads follow the ramp by something else than the record's key.
    ramped: AtomicBool,
    lease: Arc<Lease>,
    /// The control tables do not know the migration any more.
    deleted: AtomicBool,
    pub(crate) clock: Clock,
    pub(crate) in_flight: InFlight,
    pub(crate) open: Arc<OpenTransactions>,
    pub(crate) counters: Counters,
    pub(crate) mirror_failures: MirrorFailures,
    /// Warnings of writes that the sides answered differently.
    pub(crate) different_answers: Rarely,
    methods: Mutex<Vec<Arc<MethodStats>>>,
    /// Breaches by guard.
    pub(crate) breaches: Tally,
    pub(crate) compared: Compared,
    pub(crate) measured: Measured,
    events: Events,
    pub(crate) mirrors: Arc<Semaphore>,
    pub(crate) tasks: TaskTracker,
    /// Comparisons and lazy copies under way. Never open, so that waiting for it ends whenever there are none.
    pub(crate) beside: TaskTracker,
    #[cfg(feature = "testing")]
    pub(crate) for_tests: ForTests,
    /// What callers have under way, which a shutdown waits for.
    operations: TaskTracker,
    closing: CancellationToken,
    /// The runtime of tokio that the background work belongs to.
    handle: Handle,
    pub(crate) control: Arc<dyn Control>,
    /// What the last preflight found.
    preflight: Mutex<Preflight>,
    /// What the catalogue said of old when it was read last; `None` before that.
    catalogue: Mutex<Option<Catalogue>>,
    /// Reads of old that were counted and recorded.
    pub(crate) old_reads: AtomicU64,
    /// What the flags of this process say.
    flags: Mutex<FlagReport>,
    /// Wakes the runtime's maintenance before its time.
    pub(crate) wake: Arc<Notify>,
    /// This process, among the instances.
    pub(crate) instance: Arc<str>,
    /// Who moves the migration where nobody says.
    pub(crate) actor: Arc<str>,
}

/// What a migration shares with its runtime.
pub(crate) struct Context {
    pub(crate) clock: Clock,
    pub(crate) control: Arc<dyn Control>,
    pub(crate) lease: Arc<Lease>,
    pub(crate) tasks: TaskTracker,
    pub(crate) operations: TaskTracker,
    pub(crate) closing: CancellationToken,
    pub(crate) handle: Handle,
    pub(crate) wake: Arc<Notify>,
    pub(crate) instance: Arc<str>,
    pub(crate) actor: Arc<str>,
    pub(crate) events: Events,
}

impl Shared {
    pub(crate) fn new(
        record: &Record,
        options: Options,
        kind: Option<KeyKind>,
        context: Context,
    ) -> Self {
        let shared = Self::unobserved(record, options, kind, context);
        // What is counted from here on belongs to a slice.
        let snapshot = shared.snapshot();
        shared.measured.window.lock().unwrap_or_else(PoisonError::into_inner).begin(snapshot);
        shared
    }

    /// The same with its window not begun.
    fn unobserved(
        record: &Record,
        options: Options,
        kind: Option<KeyKind>,
        context: Context,
    ) -> Self {
        Self {
            name: record.name.as_str().into(),
            salt: salt(&record.name),
            fence: record.fence,
            kind,
            position: AtomicU64::new(record.position.to_bits()),
            known: Mutex::new(Known::of(record)),
            lost: AtomicBool::new(false),
            seen: Seen::of(record),
            background: Background::default(),
            ramped: AtomicBool::new(false),
            lease: context.lease,
            deleted: AtomicBool::new(false),
            clock: context.clock.clone(),
            in_flight: InFlight::new(record.position.epoch),
            open: Arc::default(),
            counters: Counters::default(),
            mirror_failures: MirrorFailures::default(),
            different_answers: Rarely::new(DIFFERENCE_WARNING_PAUSE),
            methods: Mutex::default(),
            breaches: breaches(&options),
            compared: Compared::default(),
            measured: Measured::since(context.clock.now()),
            events: context.events,
            mirrors: Arc::new(Semaphore::new(options.shadow_concurrency)),
            tasks: context.tasks,
            beside: closed_tracker(),
            #[cfg(feature = "testing")]
            for_tests: ForTests::default(),
            operations: context.operations,
            closing: context.closing,
            handle: context.handle,
            control: context.control,
            preflight: Mutex::default(),
            catalogue: Mutex::default(),
            old_reads: AtomicU64::new(0),
            flags: Mutex::default(),
            wake: context.wake,
            instance: context.instance,
            actor: context.actor,
            options,
        }
    }

    /// The cached position. For a call, load it after [`InFlight::enter`].
    #[inline]
    pub(crate) fn position(&self) -> Position {
        Position::from_bits(self.position.load(SeqCst))
    }

    pub(crate) fn generation(&self) -> Generation {
        Generation(self.seen.generation.load(SeqCst))
    }

    /// Whether no key can be missing in new any more.
    #[inline]
    pub(crate) fn is_copied(&self) -> bool {
        self.seen.copied.load(Relaxed)
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.seen.dirty.load(Relaxed)
    }

    /// Whether some key could not be copied, as far as known here.
    pub(crate) fn has_dead_letters(&self) -> bool {
        self.seen.dead_letters.load(Relaxed)
    }

    /// Whether such a key is to be tried again, as far as known here.
    pub(crate) fn has_due_dead_letters(&self) -> bool {
        self.seen.due.load(Relaxed)
    }

    /// Whether a rollout is running, as far as known here.
    pub(crate) fn is_planned(&self) -> bool {
        self.seen.planned.load(Relaxed)
    }

    /// Whether a backfill was started that no instance runs, as far as known here.
    pub(crate) fn is_started(&self) -> bool {
        self.seen.started.load(Relaxed)
    }

    /// Until the control tables are read again, none is known to wait for an instance.
    pub(crate) fn forget_started(&self) {
        self.seen.started.store(false, Relaxed);
    }

    /// From now on a read of any key may go to the side that the ramp is going to.
    pub(crate) fn ramp_by_other_keys(&self) {
        self.ramped.store(true, SeqCst);
    }

    pub(crate) fn is_ramped_by_other_keys(&self) -> bool {
        self.ramped.load(SeqCst)
    }

    pub(crate) fn mark_dirty(&self) {
        self.seen.dirty.store(true, Relaxed);
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
        if self.lease.is_closed() {
            return self.shutting_down();
        }
        Error::new(
            ErrorKind::StageUnknown,
            "the control tables have not been reached for longer than the lease, so the stage is \
             unknown; reads resume by themselves when they are",
        )
        .of(&self.name)
    }

    #[cold]
    pub(crate) fn shutting_down(&self) -> Error {
        Error::shutting_down().of(&self.name)
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

    /// In words, a transaction of this process that has been open for a second or more, unless the text names this
    /// instance already.
    pub(crate) fn holding(&self, text: &str) -> Option<String> {
        let open = self.open.oldest(self.clock.now())?.as_secs();
        let ours = format!("instance `{}`", self.instance);
        (open > 0 && !text.contains(&ours))
            .then(|| format!("{ours}, this one, has had one open for {open} s"))
    }

    /// Reads the control tables now.
    pub(crate) async fn refresh(&self) -> Result<Record, Error> {
        let records = self.control.load().await?;
        let Some(record) = records.into_iter().find(|record| *record.name == *self.name) else {
            self.explain_missing().await?;
            return Err(unknown_migration(&self.name));
        };
        self.adopt(&record).await?;
        Ok(record)
    }

    /// An error where the migration's row is there and cannot be read.
    pub(crate) async fn explain_missing(&self) -> Result<(), Error> {
        match self.control.facts(&self.name).await {
            Err(error) if error.kind() != ErrorKind::UnknownMigration => Err(error),
            _ => Ok(()),
        }
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
        let Known { position, token } = *self.known();
        Pin { name: Arc::clone(&self.name), fence: self.fence, position, token }
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

    /// Everything counted so far.
    pub(crate) fn figures(&self) -> Figures {
        Figures {
            methods: self.methods().iter().map(|method| method.figures()).collect(),
            counters: self.counters.report(),
            breaches: self.breaches.sum(),
            cohorts: self.compared.cohorts.sum(),
        }
    }

    /// A look at the counters, for [`Window`].
    pub(crate) fn snapshot(&self) -> Snapshot {
        let drained = self.drained();
        let totals = self.figures();
        Snapshot { drained, totals, epoch: self.position().epoch, now: self.clock.now() }
    }

    /// Tells the service, if it wants to hear.
    pub(crate) fn emit(&self, event: impl FnOnce() -> RuntimeEvent) {
        if !self.events.send(event) {
            count(&self.counters.events_dropped);
        }
    }

    fn publish_position(&self, before: u64, now: u64) {
        if before != now {
            let (from, to) = (Position::from_bits(before), Position::from_bits(now));
            let migration = self.name.to_string();
            self.emit(|| RuntimeEvent::PositionChanged { migration, from, to });
        }
    }

    pub(crate) fn methods(&self) -> Vec<Arc<MethodStats>> {
        self.methods.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn closed_tracker() -> TaskTracker {
    let tracker = TaskTracker::new();
    tracker.close();
    tracker
}

pub(crate) fn unknown_migration(name: &str) -> Error {
    Error::new(ErrorKind::UnknownMigration, "the control tables do not know it; register it first")
        .of(name)
}

/// How often each guard was breached.
fn breaches(options: &Options) -> Tally {
    Tally::new(GUARDS_MAX, options.guards.iter().flat_map(Guards::iter).map(Guard::name))
}
