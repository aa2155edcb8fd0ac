//! What `Shared` keeps of what was read last, each under a lock of its own.

use std::sync::Mutex;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64};

use crate::control::{BackfillProgress, Record};
use crate::error::Maintenance;
#[cfg(feature = "testing")]
use crate::observe::CounterReport;
#[cfg(feature = "metrics")]
use crate::observe::figures::Figures;
use crate::observe::traffic::Told;
use crate::observe::window::Window;
use crate::shadow::cohort::Cohorts;
use crate::shadow::noise::Baseline;
use crate::shadow::report::Reports;
use crate::shadow::samples::Stored;
use crate::stages::facts::Facts;
use crate::stages::lineage::{Mark, Token};
use crate::stages::position::{Generation, Position};
#[cfg(feature = "testing")]
use crate::state::faults::FaultPlan;

/// What the control tables said of a migration beside its position, taken over from its record.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) generation: AtomicU64,
    /// No key can be missing in new any more.
    pub(super) copied: AtomicBool,
    pub(super) dirty: AtomicBool,
    pub(super) dead_letters: AtomicBool,
    /// Some dead letter is to be tried again.
    pub(super) due: AtomicBool,
    /// A rollout is running.
    pub(super) planned: AtomicBool,
    /// Somebody started a backfill that no instance runs.
    pub(super) started: AtomicBool,
    /// What operators want compared.
    pub(super) sample: AtomicU32,
    /// Who has set the kill switch in the control tables.
    pub(super) killed: Mutex<Option<String>>,
    /// Which calls are closed, and why.
    pub(super) maintenance: Mutex<Option<Maintenance>>,
}

impl Seen {
    pub(super) fn of(record: &Record) -> Self {
        Self {
            generation: AtomicU64::new(record.generation.0),
            copied: AtomicBool::new(record.is_copied()),
            dirty: AtomicBool::new(record.dirty),
            dead_letters: AtomicBool::new(record.letters),
            due: AtomicBool::new(record.due),
            planned: AtomicBool::new(record.planned),
            started: AtomicBool::new(record.started),
            sample: AtomicU32::new(record.sample.to_bits()),
            killed: Mutex::new(record.killed.clone()),
            maintenance: Mutex::new(record.maintenance.clone()),
        }
    }

    /// Takes over what a record says. Maintenance is taken over before the position, and the kill switch by
    /// itself, see `Shared::publish`.
    pub(super) fn update(&self, record: &Record) {
        self.generation.store(record.generation.0, SeqCst);
        self.copied.store(record.is_copied(), SeqCst);
        self.dirty.store(record.dirty, Relaxed);
        self.dead_letters.store(record.letters, Relaxed);
        self.due.store(record.due, Relaxed);
        self.planned.store(record.planned, Relaxed);
        self.started.store(record.started, Relaxed);
        self.sample.store(record.sample.to_bits(), Relaxed);
    }

    /// What changes with what is published of it.
    pub(super) fn flags(&self) -> [bool; 6] {
        let flags = [
            &self.copied,
            &self.dirty,
            &self.dead_letters,
            &self.due,
            &self.planned,
            &self.started,
        ];
        flags.map(|flag| flag.load(Relaxed))
    }
}

/// What this process does for a migration in the background.
#[derive(Debug, Default)]
pub(crate) struct Background {
    /// It looks after the migration.
    pub(crate) following: AtomicBool,
    /// It asks for the jobs that were started.
    pub(crate) finding_jobs: AtomicBool,
    /// The kinds of jobs that it is doing, a bit for each.
    pub(crate) jobs: AtomicU16,
}

/// What comparisons have left.
#[derive(Default)]
pub(crate) struct Compared {
    pub(crate) baseline: Baseline,
    pub(crate) cohorts: Cohorts,
    /// Samples of mismatches stored from here.
    pub(crate) stored: Mutex<Stored>,
    /// What hooks of the service have not heard yet.
    pub(crate) reports: Reports,
}

/// What was counted, cut into slices of time, and how much of it was told.
pub(crate) struct Measured {
    pub(crate) window: Mutex<Window>,
    /// The calls that the control tables know of.
    pub(crate) traffic: Mutex<Told>,
    /// When the guards were evaluated last.
    pub(crate) evaluated: AtomicU64,
    /// What the control tables said for guards and metrics.
    pub(super) gathered: Mutex<Gathered>,
    /// What the recorder of metrics knows.
    #[cfg(feature = "metrics")]
    pub(crate) published: Mutex<Option<Figures>>,
}

impl Measured {
    /// Nothing yet, at this time in ticks.
    pub(super) fn since(now: u64) -> Self {
        Self {
            window: Mutex::default(),
            traffic: Mutex::new(Told::nothing(now)),
            evaluated: AtomicU64::new(now),
            gathered: Mutex::default(),
            #[cfg(feature = "metrics")]
            published: Mutex::default(),
        }
    }
}

/// What tests of services make of calls.
#[cfg(feature = "testing")]
#[derive(Default)]
pub(crate) struct ForTests {
    /// What becomes of the calls of the sides.
    pub(crate) faults: Mutex<Option<FaultPlan>>,
    /// The counters when samples of mismatches were forgotten last.
    pub(crate) forgotten: Mutex<CounterReport>,
}

/// What was read for guards and metrics.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) facts: Option<Facts>,
    /// Its newest backfill.
    pub(super) backfill: Option<BackfillProgress>,
    /// When, by our clock.
    pub(super) at: Option<u64>,
    /// How many instances lived then, or when they were counted.
    pub(super) live: u64,
    /// Nothing was read yet, and they were counted, by our clock.
    pub(super) counted: Option<u64>,
    /// What a look had found by then.
    pub(super) news: Option<News>,
    /// It was read since it was published last.
    #[cfg_attr(not(feature = "metrics"), expect(dead_code, reason = "nothing is published"))]
    pub(super) fresh: bool,
}

/// What changes with what is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct News {
    pub(super) mark: Mark,
    pub(super) generation: Generation,
    pub(super) flags: [bool; 6],
}

/// A position with its token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) position: Position,
    pub(super) token: Token,
}

impl Known {
    pub(super) fn of(record: &Record) -> Self {
        Self { position: record.position, token: record.token }
    }

    pub(super) fn mark(self) -> Mark {
        Mark { epoch: self.position.epoch, token: self.token }
    }
}

/// What the catalogue says of old that keeps new from being written alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalogue {
    /// Old columns of the one table that an `INSERT` cannot leave out.
    pub(crate) needed_columns: Vec<String>,
    /// What is missing of new before it is written.
    pub(crate) unexpanded: Vec<String>,
    /// Constraints of old that reject what is written to new alone.
    pub(crate) rejecting: Vec<String>,
}
