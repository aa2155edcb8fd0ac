//! [`Operator`]: migrations as somebody sees and orders them who runs no part of the service.

mod contract;
#[cfg(feature = "page")]
pub(crate) mod page;

use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::backfill::decide::FAILURES_MAX;
use crate::backfill::options::WORKERS_MAX;
use crate::control::tasks::{NewTask, StartedBackfill};
use crate::control::{BackfillProgress, Control, Order};
use crate::database::Backend;
use crate::error::{Error, ErrorKind};
use crate::migration::moving::check_named;
use crate::stages::stage::Side;
use crate::store::sql::SqlControl;

/// Within so much each statement of an operator is answered, or given up.
const ANSWER_WITHIN: Duration = Duration::from_millis(1_500);

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
    /// The generation of new.
    pub generation: u64,
    /// The newest backfill. Serialized with what follows from it: `done`, `remaining`, `percent`,
    /// `keys_per_second` and, in seconds, `eta_s`.
    #[serde(serialize_with = "with_figures")]
    pub backfill: Option<BackfillProgress>,
    /// Backfills that somebody started and that have not ended.
    pub started: Vec<StartedBackfill>,
    /// Keys that could not be copied to new, without those that were waived.
    pub dead_letters: u64,
    /// Live instances.
    pub instances: usize,
    /// Why its rows in the control tables cannot be read, where that is so; the rest is empty then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

impl MigrationOverview {
    fn unreadable(name: &str, error: &Error) -> Self {
        Self {
            name: name.to_owned(),
            position: "unreadable".to_owned(),
            generation: 0,
            backfill: None,
            started: Vec::new(),
            dead_letters: 0,
            instances: 0,
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
    /// `Database`, also where there are no control tables.
    pub async fn migrations(&self) -> Result<Vec<MigrationOverview>, Error> {
        let mut names = self.control.names().await?;
        names.sort();
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            match self.migration(&name).await {
                Ok(overview) => found.push(overview),
                Err(error) if error.is_unreadable() => {
                    found.push(MigrationOverview::unreadable(&name, &error));
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
    /// `UnknownMigration`, `Database`.
    pub async fn migration(&self, name: &str) -> Result<MigrationOverview, Error> {
        let facts = self.control.facts(name).await?;
        Ok(MigrationOverview {
            name: name.to_owned(),
            position: facts.position.to_string(),
            generation: facts.generation.0,
            backfill: self.control.backfill(name).await?,
            started: self.control.tasks(name).await?,
            dead_letters: facts.dead_letters,
            instances: facts.instances.len(),
            unreadable: None,
        })
    }

    /// Orders to the backfill of a migration.
    pub fn backfill<'o>(&'o self, name: &'o str) -> BackfillOrders<'o> {
        BackfillOrders::of(&*self.control, name, Side::New)
    }
}

/// Orders to the backfill of a migration, whichever instance runs it.
#[derive(Clone, Copy)]
#[must_use = "give an order"]
pub struct BackfillOrders<'o> {
    control: &'o dyn Control,
    name: &'o str,
    side: Side,
    workers: u32,
    rate: Option<u64>,
    stop_after_failures: u64,
}

impl std::fmt::Debug for BackfillOrders<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("BackfillOrders");
        shown.field("migration", &self.name).field("side", &self.side).finish_non_exhaustive()
    }
}

impl<'o> BackfillOrders<'o> {
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
    /// when that ends before the backfill does. What was paused or cancelled goes on. `by` has 1 to 100 bytes.
    /// Answers `false` where it was started already and has not ended. What keeps it from going on is in
    /// [`StartedBackfill::waiting`](crate::StartedBackfill::waiting).
    ///
    /// # Errors
    /// `UnknownMigration`, `InvalidInput` for a name without bytes or with more than 100, `Database`.
    pub async fn start(self, by: &str, because: &str) -> Result<bool, Error> {
        check_named("actor", by).map_err(|error| error.of(self.name))?;
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
