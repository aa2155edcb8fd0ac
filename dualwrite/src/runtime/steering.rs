//! What moves migrations without an operator: kill switches, flags and rollouts, looked at by the runtime's
//! background task. One task at a time, and one more for the work of a rollout.

use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::task::JoinHandle;

use crate::clock;
use crate::control::Record;
use crate::copier::joined::Joined;
use crate::error::BoxError;
use crate::flags::desired::DesiredState;
use crate::flags::report::FlagReport;
use crate::flags::source::{AnySource, KILL, Lookup, describe, is_killed, unknown_in};
use crate::rollout::decide::{Work, Working};
use crate::runtime::flags::kill;
use crate::stages::position::Epoch;

/// How long a source of flags may take to answer.
pub const FLAG_TIMEOUT: Duration = Duration::from_secs(1);
/// What fits into the control tables.
const SWITCH_CHARS_MAX: usize = 60;

/// The sources of a runtime, and what they said.
pub(crate) struct Steering {
    pub(super) sources: Vec<Arc<dyn AnySource>>,
    pub(super) environment: Lookup,
    /// One entry for each registered migration.
    seen: Mutex<HashMap<Arc<str>, Seen>>,
    /// What the kill switch was complained of last.
    misnamed: Mutex<String>,
}

/// What is known of one migration.
#[derive(Default)]
pub(super) struct Seen {
    /// The last good answer of each source.
    said: Vec<Option<DesiredState>>,
    /// When it is looked at again, by our clock, unless the epoch is another one.
    pub(super) next: u64,
    epoch: Epoch,
    pub(super) work: Option<(Work, JoinHandle<Result<(), String>>)>,
    pub(super) failed: Option<String>,
    /// Why the rollout could not be looked at, as told last.
    pub(super) complaint: Option<String>,
}

impl Steering {
    /// No sources, and a kill switch that nobody can set.
    pub(crate) fn none() -> Self {
        Self {
            sources: Vec::new(),
            environment: Arc::new(|_| None),
            seen: Mutex::default(),
            misnamed: Mutex::default(),
        }
    }

    /// No sources, and the kill switch of this process' environment.
    pub(crate) fn of_process() -> Self {
        Self { environment: Arc::new(|name| std::env::var(name).ok()), ..Self::none() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn with<T>(&self, shared: &Joined, act: impl FnOnce(&mut Seen) -> T) -> T {
        act(self.lock().entry(Arc::clone(&shared.name)).or_default())
    }

    /// Whether there is anything to look at.
    pub(super) fn concerns(&self, shared: &Joined) -> bool {
        !self.sources.is_empty()
            || shared.is_planned()
            || shared.flags().killed_by.is_some()
            || shared.killed().is_some()
            || (self.environment)(KILL).is_some()
            || !shared.flags().problems.is_empty()
    }

    fn switch(&self, shared: &Joined) -> Option<String> {
        let value = (self.environment)(KILL)?;
        is_killed(&value, &shared.name).then(|| KILL.to_owned())
    }

    /// Warns once of names in the kill switch that no migration of these control tables bears: a switch that
    /// is misspelt kills nothing.
    pub(crate) fn check_switch(&self, records: &[Record]) {
        let value = (self.environment)(KILL).unwrap_or_default();
        let known: Vec<String> = records.iter().map(|record| record.name.clone()).collect();
        let names = unknown_in(&value, &known).join(", ");
        let mut told = self.misnamed.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != names {
            told.clone_from(&names);
            if !names.is_empty() {
                tracing::warn!(
                    names,
                    known = known.join(", "),
                    "{KILL} names an unknown migration; the name is ignored"
                );
            }
        }
    }

    /// The names that were warned of.
    fn misnamed(&self) -> Option<String> {
        let told = self.misnamed.lock().unwrap_or_else(PoisonError::into_inner);
        (!told.is_empty()).then(|| format!("{KILL} names no migration: {told}"))
    }

    /// Asks every source. What one said before holds where it fails now.
    pub(crate) async fn ask(&self, shared: &Joined) {
        let name = &*shared.name;
        let answers = join_all(self.sources.iter().map(|source| ask(&**source, name))).await;
        let mut report = self.said(shared, answers);
        report.killed_by = self.switch(shared).or_else(|| shared.killed()).or(report.killed_by);
        report.problems.extend(self.misnamed());
        let before = shared.flags();
        let is_same = (&before.wanted, &before.killed_by) == (&report.wanted, &report.killed_by);
        if is_same {
            report.waiting = before.waiting.clone();
        }
        shared.set_flags(report.clone());
        if before.problems != report.problems && !report.problems.is_empty() {
            let problems = report.problems.join("; ");
            tracing::warn!(
                migration = name,
                problems,
                "there is trouble with the flags; what they said last holds"
            );
        }
        if !is_same {
            let FlagReport { wanted, killed_by, source, .. } = &report;
            tracing::info!(
                migration = name,
                ?wanted,
                ?source,
                ?killed_by,
                "flags say something else"
            );
            self.with(shared, |seen| seen.next = 0);
            shared.wake.notify_one(); // the others shall know
        }
    }

    /// What the sources say, now or before: the first that wants a position, and the first that has a kill switch set.
    fn said(
        &self,
        shared: &Joined,
        answers: Vec<Result<Option<DesiredState>, String>>,
    ) -> FlagReport {
        let mut report = FlagReport::default();
        self.with(shared, |seen| {
            seen.said.resize(self.sources.len(), None);
            for ((source, answer), said) in self.sources.iter().zip(answers).zip(&mut seen.said) {
                match answer {
                    Ok(wanted) => *said = wanted,
                    Err(problem) => report.problems.push(format!("{}: {problem}", source.name())),
                }
                match said {
                    Some(DesiredState::Kill) if report.killed_by.is_none() => {
                        let switch = format!("of the flags in {}", source.name());
                        report.killed_by = Some(switch.chars().take(SWITCH_CHARS_MAX).collect());
                    }
                    Some(wanted @ DesiredState::Position { .. }) if report.wanted.is_none() => {
                        report.wanted = Some(wanted.to_string());
                        report.source = Some(source.name().to_owned());
                    }
                    _ => {}
                }
            }
        });
        report
    }

    /// Goes back where a kill switch is set. Returns whether one is.
    pub(crate) async fn kill(&self, shared: &Joined) -> bool {
        let Some(switch) = shared.flags().killed_by else { return false };
        match kill(shared, &switch).await {
            Ok(waiting) => shared.set_waiting(waiting),
            Err(error) => {
                tracing::warn!(migration = &*shared.name, %error, "the kill switch did not roll back yet");
            }
        }
        true
    }

    /// Whether it is time for flags and rollout, which is noted.
    pub(super) fn is_due(&self, shared: &Joined, every: Duration) -> bool {
        let (now, epoch) = (shared.clock.now(), shared.position().epoch);
        self.with(shared, |seen| {
            let due = now >= seen.next || epoch != seen.epoch;
            if due {
                let every = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX);
                (seen.next, seen.epoch) = (now.saturating_add(every), epoch);
            }
            due
        })
    }

    /// What is under way for the rollout.
    pub(super) async fn working(&self, shared: &Joined) -> Working {
        let ended = self.with(shared, |seen| match &seen.work {
            Some((_, task)) if task.is_finished() => seen.work.take(),
            _ => None,
        });
        if let Some((_, task)) = ended {
            let failed = match task.await {
                Ok(result) => result.err(),
                Err(_) => {
                    Some("the rollout's work panicked; see the log, then `resume`".to_owned())
                }
            };
            self.with(shared, |seen| seen.failed = failed);
        }
        self.with(shared, |seen| match (&seen.work, &seen.failed) {
            (Some((work, _)), _) => Working::Busy(*work),
            (None, Some(problem)) => Working::Failed(problem.clone()),
            (None, None) => Working::Idle,
        })
    }
}

async fn ask(source: &dyn AnySource, migration: &str) -> Result<Option<DesiredState>, String> {
    // Called inside, so that a panic of the call itself is caught as well.
    let asked = AssertUnwindSafe(async { source.desired(migration).await }).catch_unwind();
    match clock::limit(FLAG_TIMEOUT, asked).await {
        Ok(Ok(answer)) => answer.map_err(|error: BoxError| describe(&error)),
        Ok(Err(_)) => Err("it panicked".to_owned()),
        Err(()) => Err(format!("it did not answer within {FLAG_TIMEOUT:?}")),
    }
}

impl fmt::Debug for Steering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources: Vec<&str> = self.sources.iter().map(|source| source.name()).collect();
        f.debug_struct("Steering").field("sources", &sources).finish_non_exhaustive()
    }
}
