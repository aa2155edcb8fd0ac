//! [`Operator`]: migrations as somebody sees and orders them who runs no part of the service.

mod backfills;
pub(crate) mod command;
mod contract;
mod doctor;
pub(crate) mod execute;
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

use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::backfill::decide::FAILURES_MAX;
use crate::backfill::options::WORKERS_MAX;
use crate::control::commands::Job;
use crate::control::tasks::{NewTask, StartedBackfill, explained};
use crate::control::{BackfillProgress, Control, Order};
use crate::database::Backend;
use crate::error::{Closed, Error, ErrorKind, Maintenance};
use crate::migration::transition::{check_named, check_reason};
use crate::operator::mirror::MirrorOverview;
use crate::preflight::report::PreflightReport;
use crate::stages::facts::Facts;
use crate::stages::hazard::Hazard;
use crate::stages::position::Epoch;
use crate::stages::sample::OrderedSample;
use crate::stages::stage::Side;
use crate::stages::verification::VerifyReport;
use crate::store::sql::SqlControl;

/// Within so much each statement of an operator is answered, or given up.
const ANSWER_WITHIN: Duration = Duration::from_millis(1_500);
/// How many migrations one statement asks after.
const NAMES_MAX: usize = 500;

/// Looks at the control tables, and gives orders to backfills, beside the service: it is no instance, so
/// nobody waits for it, and it has no copy function, so it copies nothing itself.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use dualwrite::{Error, Operator};
///
/// async fn slow_down(pool: sqlx::SqlitePool) -> Result<(), Error> {
///     let operator = Operator::new(pool);
///     for migration in operator.migrations().await? {
///         println!("{}: {}", migration.name, migration.position);
///     }
///     operator.backfill("customer-email").set_rate(Some(500)).await?;
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
    /// `keys_per_second` and, in seconds, `eta_s`.
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
    pub sample: OrderedSample,
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
    /// Jobs that were started for any instance, ended or not. They are read for one migration only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<Job>,
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
        facts: &Facts,
        name: String,
    ) -> Self {
        Self {
            name,
            position: facts.position.to_string(),
            epoch: facts.position.epoch,
            killed_by: facts.killed.clone(),
            maintenance: facts.maintenance.clone(),
            generation: facts.generation.0,
            backfill,
            started: explained(started, &facts.instances),
            dead_letters: facts.dead_letters,
            dead_letters_to_old: facts.old_dead_letters,
            instances: usize::try_from(facts.live()).unwrap_or(usize::MAX),
            mirror: MirrorOverview::of(&facts.instances),
            sample: facts.sample,
            hazards: facts.hazards.clone(),
            preflight: None,
            verification: None,
            jobs: Vec::new(),
            unreadable: None,
        }
    }

    fn unreadable(name: &str, error: &Error) -> Self {
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
            sample: OrderedSample::default(),
            hazards: Vec::new(),
            preflight: None,
            verification: None,
            jobs: Vec::new(),
            unreadable: Some(error.to_string()),
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
        let mut names = self.control.names().await?;
        names.sort();
        match self.overviews(&names).await {
            Err(error) if error.is_unreadable() => self.one_by_one(&names).await,
            found => found,
        }
    }

    /// A fixed number of statements, however many there are.
    async fn overviews(&self, names: &[String]) -> Result<Vec<MigrationOverview>, Error> {
        let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut facts = Vec::with_capacity(names.len());
        for some in wanted.chunks(NAMES_MAX) {
            facts.extend(self.control.summaries(some).await?);
        }
        let mut backfills = self.control.backfills().await?;
        let mut tasks = self.control.all_tasks().await?;
        let overview = |(name, facts): (String, Facts)| {
            let started = tasks.remove(&name).unwrap_or_default();
            MigrationOverview::of(backfills.remove(&name), started, &facts, name)
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
        let facts = self.control.facts(name).await?;
        let backfill = self.control.backfill(name).await?;
        let started = self.control.tasks(name).await?;
        let overview = MigrationOverview::of(backfill, started, &facts, name.to_owned());
        let preflight = self.control.preflight(name).await?;
        let verification = self.control.verification(name).await?.map(|state| state.report);
        let jobs = self.control.jobs(name).await?;
        Ok(MigrationOverview { preflight, verification, jobs, ..overview })
    }

    /// Orders to the backfill of a migration.
    pub fn backfill<'o>(&'o self, name: &'o str) -> BackfillControl<'o> {
        BackfillControl::of(&*self.control, name, Side::New)
    }
}

/// Orders to the backfill of a migration, whichever instance runs it.
#[derive(Clone, Copy)]
#[must_use = "give an order"]
pub struct BackfillControl<'o> {
    control: &'o dyn Control,
    name: &'o str,
    side: Side,
    workers: u32,
    rate: Option<u64>,
    stop_after_failures: u64,
}

impl std::fmt::Debug for BackfillControl<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("BackfillControl");
        shown.field("migration", &self.name).field("side", &self.side).finish_non_exhaustive()
    }
}

impl<'o> BackfillControl<'o> {
    pub(crate) fn of(control: &'o dyn Control, name: &'o str, side: Side) -> Self {
        Self { control, name, side, workers: 1, rate: None, stop_after_failures: FAILURES_MAX }
    }

    /// To the one that copies from new to old; see [`Backfill::reverse`](crate::Backfill::reverse).
    pub fn reverse(mut self) -> Self {
        self.side = Side::Old;
        self
    }

    /// How many workers the instance has that runs it; one by default, at most
    /// [`WORKERS_MAX`](crate::WORKERS_MAX).
    pub fn workers(mut self, workers: u32) -> Self {
        self.workers = workers.clamp(1, WORKERS_MAX);
        self
    }

    /// The most keys a second, of all workers together, from the start on; none by default.
    pub fn rate(mut self, keys: Option<u64>) -> Self {
        self.rate = keys;
        self
    }

    /// Halts it after so many keys that cannot be copied; see
    /// [`Backfill::stop_after_failures`](crate::Backfill::stop_after_failures).
    pub fn stop_after_failures(mut self, keys: u64) -> Self {
        self.stop_after_failures = keys;
        self
    }

    /// Has it run, by one of the instances that have a copy function: the first one that sees it, and another one
    /// when that ends before the backfill does. What was paused or cancelled goes on. `by` has 1 to 100 bytes, `because`
    /// 1 to 2,000 characters, and neither has control characters.
    /// Answers `false` where it was started already and has not ended. What keeps it from going on is in
    /// [`StartedBackfill::waiting`](crate::StartedBackfill::waiting).
    ///
    /// # Errors
    /// `UnknownMigration`, `InvalidInput` for an actor or a reason as it must not be, `Database`.
    pub async fn start(self, by: &str, because: &str) -> Result<bool, Error> {
        let checked = check_named("actor", by).and_then(|()| check_reason(because));
        checked.map_err(|error| error.of(self.name))?;
        self.control.check_version().await?;
        let (actor, reason) = (by.to_owned(), because.to_owned());
        let Self { control, name, side, workers, rate, stop_after_failures } = self;
        let task = NewTask { side, workers, rate, stop_after_failures, actor, reason };
        control.start_task(name, &task).await
    }

    /// Makes its workers wait until it is resumed; see [`Backfill::pause`](crate::Backfill::pause). Returns whether it
    /// is paused then: also where it was already.
    ///
    /// # Errors
    /// `UnknownMigration`, `Database`.
    pub async fn pause(self) -> Result<bool, Error> {
        self.give(Order::Pause).await
    }

    /// Lets what was paused go on, by whoever runs it; see [`Backfill::resume`](crate::Backfill::resume). Returns
    /// whether it may go on then: also where it was not paused. What was cancelled has nobody to run it:
    /// [`start`](Self::start) it.
    ///
    /// # Errors
    /// `UnknownMigration`, `Database`.
    pub async fn resume(self) -> Result<bool, Error> {
        self.give(Order::GoOn).await
    }

    /// Ends its workers. What is copied stays copied; see [`Backfill::cancel`](crate::Backfill::cancel). Returns
    /// whether it is cancelled then.
    ///
    /// # Errors
    /// `UnknownMigration`, `Database`.
    pub async fn cancel(self) -> Result<bool, Error> {
        self.give(Order::Cancel).await
    }

    /// Changes the most keys a second; see [`Backfill::set_rate`](crate::Backfill::set_rate).
    ///
    /// # Errors
    /// `UnknownMigration`, `Database`.
    pub async fn set_rate(self, keys: Option<u64>) -> Result<bool, Error> {
        self.give(Order::Rate(keys)).await
    }

    async fn give(self, order: Order) -> Result<bool, Error> {
        self.control.check_version().await?;
        if give(self.control, self.name, self.side, order).await? {
            return Ok(true);
        }
        // A name that nobody bears is no backfill that does not run.
        self.control.facts(self.name).await.map(|_| false)
    }
}

/// Gives an order to a backfill; answers whether it holds then, also where it did before.
pub(crate) async fn give(
    control: &dyn Control,
    name: &str,
    side: Side,
    order: Order,
) -> Result<bool, Error> {
    if control.order(name, side, order).await? {
        return Ok(true);
    }
    let newest = control.backfill(name).await?.filter(|newest| newest.side == side);
    Ok(newest.is_some_and(|newest| order.holds(&newest)))
}
