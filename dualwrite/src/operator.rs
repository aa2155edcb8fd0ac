//! Operating migrations from outside the service: queries, [`COMMANDS`], and the page to mount in a router. Begin with
//! [`Operator`].

mod backfills;
pub(crate) mod command;
mod contract;
#[cfg(feature = "page")]
pub(crate) mod details;
mod doctor;
pub(crate) mod exact;
pub(crate) mod execute;
pub(crate) mod execution;
mod expand;
mod fields;
mod maintenance;
pub(crate) mod mirror;
mod moves;
#[cfg(feature = "page")]
pub(crate) mod page;
pub(crate) mod queries;
mod removal;
mod rollouts;
pub(crate) mod specs;

pub use crate::control::Mismatch;
pub use crate::control::commands::Compared;
pub use crate::control::contracts::ContractEvent;
pub use crate::control::traffic::{TrafficFigures, TrafficMinute, TrafficReport, TrafficSide};

pub use crate::control::AuditEvent;
pub use crate::control::commands::{Job, JobKind};
pub use crate::control::exact::{ExactOverview, ExactState, ExactVerification};
pub use crate::operator::command::Command;
pub use crate::operator::contract::ContractOverview;
pub use crate::operator::execution::{CommandOptions, CommandOutcome};
pub use crate::operator::mirror::MirrorOverview;
#[cfg(feature = "page")]
pub use crate::operator::page::access::{Access, Caller};
#[cfg(feature = "page")]
pub use crate::operator::page::page;
pub use crate::operator::removal::RemovalOverview;
pub use crate::operator::specs::{COMMANDS, CommandField, CommandSpec};
pub use crate::stages::facts::InstanceReport;

use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::control::exact::ExactRow;
use crate::control::tasks::{StartedBackfill, explained};
use crate::control::{BackfillProgress, Control};
use crate::database::Backend;
use crate::error::{Closed, Error, ErrorKind, Maintenance};
use crate::preflight::report::PreflightReport;
use crate::stages::facts::Facts;
use crate::stages::hazard::Hazard;
use crate::stages::position::Epoch;
use crate::stages::sample::SampleOverride;
use crate::stages::stage::Side;
use crate::stages::verification::VerifyReport;
use crate::store::sql::SqlControl;

/// Within so much each statement of an operator is answered, or given up.
const ANSWER_WITHIN: Duration = Duration::from_millis(1_500);
/// How many migrations one statement asks after.
const NAMES_MAX: usize = 500;

/// Looks at the control tables, and gives commands, beside the service: it is no instance, so
/// nobody waits for it, and it has no copy function, so it copies nothing itself.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use dualwrite::{Error, operator::{Command, CommandOptions, Operator}, Side};
///
/// async fn slow_down(pool: sqlx::SqlitePool) -> Result<(), Error> {
///     let operator = Operator::new(pool);
///     for migration in operator.migrations().await? {
///         println!("{}: {}", migration.name, migration.position);
///     }
///     let slower = Command::BackfillRate(Side::New, Some(500));
///     let options = CommandOptions::new("ada", "the replicas lag");
///     operator.command("customer-email", &slower, &options).await?;
///     Ok(())
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct Operator {
    control: Arc<dyn Control>,
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operator").finish_non_exhaustive()
    }
}

/// What an operator sees of a migration.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MigrationOverview {
    /// Its name.
    pub name: String,
    /// Where it stands: stage, ramp and epoch.
    pub position: String,
    /// The epoch of that, for commands that must not be given to another position.
    pub epoch: Epoch,
    /// Who has set the kill switch in the control tables.
    pub killed_by: Option<String>,
    /// Which calls are closed for maintenance, by whom, why, and until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
    /// The generation of new.
    pub generation: u64,
    /// The newest backfill. Serialized with what follows from it: `done`, `remaining`, `percent`,
    /// `keys_per_second`, `recent_keys_per_second` and, in seconds, `eta_s`.
    #[serde(serialize_with = "with_figures")]
    pub backfill: Option<BackfillProgress>,
    /// Backfills that somebody started and that have not ended.
    pub started: Vec<StartedBackfill>,
    /// Keys that could not be copied to new, without those that were waived. Among all
    /// [`migrations`](Operator::migrations) they are counted up to 1,000.
    pub dead_letters: u64,
    /// Keys that could not be copied to old by a reverse copy, without those that were waived.
    pub dead_letters_to_old: u64,
    /// Live instances.
    pub instances: usize,
    /// The shares of the calls that operators want compared.
    pub sample: SampleOverride,
    /// Mirror writes that failed of late, where some did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorOverview>,
    /// Writers of the old table that no trigger sees, and sequences of the new table that are behind, as an instance
    /// found them last. `Complete` waits for each.
    pub hazards: Vec<Hazard>,
    /// What the newest preflight of an instance found. It is read for [one migration](Operator::migration) only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preflight: Option<PreflightReport>,
    /// What the newest verification found, or has found so far. It is read for one migration only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<VerifyReport>,
    /// Jobs that were started for any instance; those that have ended are read for one migration only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<Job>,
    /// Of a migration in [exact mode](crate::guide::exact): how it stands. `generation`, `backfill`, `hazards` and what belongs to
    /// other modes are empty then, and `instances` is 1 where an instance has reported in the last 20 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<ExactOverview>,
    /// Why its rows in the control tables cannot be read, where that is so; the rest is empty then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

impl MigrationOverview {
    /// Why somebody should look after it, in a few words; `None` where all is as it should be.
    #[must_use]
    pub fn attention(&self) -> Option<&'static str> {
        let backfill = self.backfill.as_ref().filter(|backfill| !backfill.complete);
        if self.unreadable.is_some() {
            return Some("its rows cannot be read");
        }
        if self.killed_by.is_some() {
            return Some("killed");
        }
        match self.maintenance.as_ref().map(|maintenance| maintenance.closed) {
            Some(Closed::Writes) => return Some("writes closed"),
            Some(Closed::Calls) => return Some("all calls closed"),
            Some(Closed::Nothing) | None => {}
        }
        if let Some(exact) = &self.exact
            && exact.state.as_ref().is_some_and(|state| state.error.is_some())
        {
            return Some("a database cannot be reached");
        }
        if self.started.iter().any(|task| task.halted) {
            return Some("backfill halted");
        }
        if self.dead_letters + self.dead_letters_to_old > 0 {
            return Some("dead letters");
        }
        if self.mirror.as_ref().is_some_and(|mirror| mirror.failing) {
            return Some("mirror writes fail");
        }
        if self.instances == 0 {
            return Some("no live instance");
        }
        if self.started.iter().any(|task| task.runner.is_none()) {
            return Some("nobody runs the backfill yet");
        }
        if self.jobs.iter().any(|job| job.waiting.is_some()) {
            return Some("nobody does the job yet");
        }
        match backfill {
            Some(backfill) if backfill.cancelled => Some("backfill cancelled"),
            Some(backfill) if backfill.paused => Some("backfill paused"),
            Some(backfill) if !backfill.is_running() => Some("backfill without a worker"),
            _ => None,
        }
    }

    fn of(
        backfill: Option<BackfillProgress>,
        started: Vec<StartedBackfill>,
        jobs: Vec<Job>,
        facts: &Facts,
        name: String,
    ) -> Self {
        let jobs = jobs.into_iter().map(|job| job.explain(&facts.instances));
        Self {
            name,
            position: facts.position.to_string(),
            epoch: facts.position.epoch,
            killed_by: facts.operated.killed.clone(),
            maintenance: facts.operated.maintenance.clone(),
            generation: facts.new.generation.0,
            backfill,
            started: explained(started, &facts.instances),
            dead_letters: facts.new.dead_letters,
            dead_letters_to_old: facts.old.dead_letters,
            instances: usize::try_from(facts.live()).unwrap_or(usize::MAX),
            mirror: MirrorOverview::of(&facts.instances),
            sample: facts.operated.sample,
            hazards: facts.hazards.clone(),
            preflight: None,
            verification: None,
            jobs: jobs.collect(),
            exact: None,
            unreadable: None,
        }
    }

    fn unreadable(name: &str, error: &Error) -> Self {
        Self { unreadable: Some(error.to_string()), ..Self::empty(name) }
    }

    pub(crate) fn of_exact(row: ExactRow) -> Self {
        let failures = row.overview.state.as_ref().map_or(0, |state| state.failures.len() as u64);
        let primary = row.overview.state.as_ref().map(|state| state.primary);
        let to_old = primary == Some(Side::New);
        Self {
            position: format!("{}, epoch {}", row.stage(), row.epoch()),
            epoch: row.epoch(),
            maintenance: row.maintenance.clone(),
            dead_letters: if to_old { 0 } else { failures },
            dead_letters_to_old: if to_old { failures } else { 0 },
            instances: usize::from(row.is_reported()),
            exact: Some(row.overview.clone()),
            ..Self::empty(&row.name)
        }
    }

    fn empty(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            position: "unreadable".to_owned(),
            epoch: Epoch(0),
            killed_by: None,
            maintenance: None,
            generation: 0,
            backfill: None,
            started: Vec::new(),
            dead_letters: 0,
            dead_letters_to_old: 0,
            instances: 0,
            mirror: None,
            sample: SampleOverride::default(),
            hazards: Vec::new(),
            preflight: None,
            verification: None,
            jobs: Vec::new(),
            exact: None,
            unreadable: None,
        }
    }
}

#[derive(Serialize)]
struct Figures<'p> {
    #[serde(flatten)]
    progress: &'p BackfillProgress,
    done: u64,
    remaining: u64,
    percent: f64,
    keys_per_second: f64,
    recent_keys_per_second: f64,
    eta_s: Option<u64>,
}

fn with_figures<S: Serializer>(
    progress: &Option<BackfillProgress>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let figures = progress.as_ref().map(|progress| Figures {
        progress,
        done: progress.done(),
        remaining: progress.remaining(),
        percent: progress.percent(),
        keys_per_second: progress.keys_per_second(),
        recent_keys_per_second: progress.recent_keys_per_second(),
        eta_s: progress.eta().map(|left| left.as_secs()),
    });
    figures.serialize(serializer)
}

impl Operator {
    /// Of the control tables in the database of this pool. They are made by the service.
    pub fn new<DB: Backend>(pool: sqlx::Pool<DB>) -> Self {
        Self { control: Arc::new(SqlControl::new(pool, ANSWER_WITHIN)) }
    }

    /// All migrations, by name. One whose rows cannot be read is shown as that, beside the others.
    ///
    /// # Errors
    /// `Database`, also where there are no control tables; `NewerControlTables` and `Unsupported` where they are those
    /// of another release.
    pub async fn migrations(&self) -> Result<Vec<MigrationOverview>, Error> {
        self.control.check_version().await?;
        let (mut names, exact) = self.control.names_and_exact().await?;
        names.sort();
        let mut found = match self.overviews(&names).await {
            Err(error) if error.is_unreadable() => self.one_by_one(&names).await?,
            found => found?,
        };
        found.extend(exact.into_iter().map(MigrationOverview::of_exact));
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    /// A fixed number of statements, however many there are.
    async fn overviews(&self, names: &[String]) -> Result<Vec<MigrationOverview>, Error> {
        let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut facts = Vec::with_capacity(names.len());
        for some in wanted.chunks(NAMES_MAX) {
            facts.extend(self.control.summaries(some).await?);
        }
        let mut backfills = self.control.backfills().await?;
        let mut open = self.control.all_open().await?;
        let overview = |(name, facts): (String, Facts)| {
            let (started, jobs) = open.remove(&name).unwrap_or_default();
            MigrationOverview::of(backfills.remove(&name), started, jobs, &facts, name)
        };
        let mut found: Vec<_> = facts.into_iter().map(overview).collect();
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    /// So that one that cannot be read does not hide the others.
    async fn one_by_one(&self, names: &[String]) -> Result<Vec<MigrationOverview>, Error> {
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            match self.overview(name).await {
                Ok(overview) => found.push(overview),
                Err(error) if error.is_unreadable() => {
                    found.push(MigrationOverview::unreadable(name, &error));
                }
                // It was removed meanwhile.
                Err(error) if error.kind() == ErrorKind::UnknownMigration => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// One migration.
    ///
    /// # Errors
    /// `UnknownMigration`, `Database`; `NewerControlTables` and `Unsupported` where the control tables are those of
    /// another release.
    pub async fn migration(&self, name: &str) -> Result<MigrationOverview, Error> {
        self.control.check_version().await?;
        self.overview(name).await
    }

    async fn overview(&self, name: &str) -> Result<MigrationOverview, Error> {
        let overview = match self.overview_and_facts(name).await {
            Ok((overview, _)) => overview,
            Err(error) => return self.exact_overview(name).await?.ok_or(error),
        };
        let preflight = self.control.preflight(name).await?;
        Ok(MigrationOverview { preflight, ..overview })
    }

    /// Without what the preflight found.
    async fn overview_and_facts(&self, name: &str) -> Result<(MigrationOverview, Facts), Error> {
        let (facts, verification) = self.control.facts_and_verification(name).await?;
        let backfill = self.control.backfill(name).await?;
        let (started, jobs) = self.control.all_started(name).await?;
        let overview = MigrationOverview::of(backfill, started, jobs, &facts, name.to_owned());
        let verification = verification.map(|state| state.report);
        Ok((MigrationOverview { verification, ..overview }, facts))
    }
}
