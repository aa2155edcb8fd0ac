//! A check right after a deployment: does this build run where the migration stands? Nothing is changed.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;

use crate::clock;
use crate::database::{Backend, Isolation};
use crate::error::{BoxError, Error, ErrorKind};
use crate::migration::Migration;
use crate::stages::position::Position;
use crate::stages::stage::Stage;
use crate::transaction::Tx;

/// How long one check of a [`Smoke`] may take.
pub const SMOKE_LIMIT: Duration = Duration::from_secs(5);

type Write<'m, DB> =
    Box<dyn for<'t> FnOnce(&'t mut Tx<'m, DB>) -> BoxFuture<'t, Result<(), BoxError>> + Send + 'm>;

/// Checks of a migration after a deployment, before the instance gets traffic; see [`Migration::smoke`].
///
/// Every check has a limit of time of its own, and one that fails keeps none of the others from running; one that panics has failed.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use dualwrite::{Error, Migration, Stage};
///
/// async fn after_deployment(migration: &Migration, pool: &sqlx::SqlitePool) -> Result<(), Error> {
///     let report = migration
///         .smoke(pool)
///         .at(Stage::Live)
///         .write(|tx| Box::pin(async move {
///             // A write of your repository, through both sides; it is rolled back.
///             sqlx::query("UPDATE customer SET name = name WHERE id = 1").execute(&mut **tx).await?;
///             Ok(())
///         }))
///         .run()
///         .await;
///     println!("{report}");
///     report.into_result()
/// }
/// # }
/// ```
#[must_use = "the checks run with `run`"]
pub struct Smoke<'m, DB: Backend> {
    migration: &'m Migration,
    pool: &'m sqlx::Pool<DB>,
    expected: Option<Stage>,
    write: Option<Write<'m, DB>>,
    read: Option<BoxFuture<'m, Result<(), BoxError>>>,
    limit: Duration,
}

impl<DB: Backend> fmt::Debug for Smoke<'_, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smoke").field("expected", &self.expected).finish_non_exhaustive()
    }
}

impl Migration {
    /// Begins a check after a deployment: that the position is the expected one, that the tables and columns are
    /// there, that this build may run in this stage, that the pool gives a connection and the fence can be taken, and
    /// that a read and a write of yours work. The write is rolled back; nothing else writes.
    ///
    /// `pool` is the application's pool.
    pub fn smoke<'m, DB: Backend>(&'m self, pool: &'m sqlx::Pool<DB>) -> Smoke<'m, DB> {
        Smoke { migration: self, pool, expected: None, write: None, read: None, limit: SMOKE_LIMIT }
    }
}

impl<'m, DB: Backend> Smoke<'m, DB> {
    /// The stage that the migration is expected at. Without it any stage is right.
    pub fn at(mut self, stage: Stage) -> Self {
        self.expected = Some(stage);
        self
    }

    /// A write through both sides, in a transaction that is fenced and then rolled back.
    pub fn write(
        mut self,
        write: impl for<'t> FnOnce(&'t mut Tx<'m, DB>) -> BoxFuture<'t, Result<(), BoxError>>
        + Send
        + 'm,
    ) -> Self {
        self.write = Some(Box::new(write));
        self
    }

    /// A read through the wrapper; what it answers is dropped.
    pub fn read<T, E: Into<BoxError>>(
        mut self,
        read: impl Future<Output = Result<T, E>> + Send + 'm,
    ) -> Self {
        self.read = Some(Box::pin(async move { read.await.map(drop).map_err(Into::into) }));
        self
    }

    /// The limit on each check; by default [`SMOKE_LIMIT`].
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs the checks, one after the other.
    pub async fn run(self) -> SmokeReport {
        let Self { migration, pool, expected, write, read, limit } = self;
        let mut checks = Checks { limit, done: Vec::new() };
        checks.run("position", position(migration, expected)).await;
        checks.run("release", release(migration)).await;
        checks.run("tables", tables(migration)).await;
        checks.run("connections", connection(pool)).await;
        checks.run("fence", fence(migration, pool)).await;
        if let Some(read) = read {
            checks.run("read", async { said(read.await, "read") }).await;
        }
        if let Some(write) = write {
            checks.run("write", rolled_back(migration, pool, write)).await;
        }
        let name = migration.name().to_owned();
        SmokeReport { migration: name, position: migration.position(), checks: checks.done }
    }
}

/// What the checks of a [`Smoke`] found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SmokeReport {
    /// The name of the migration.
    pub migration: String,
    /// Where it stood.
    pub position: Position,
    /// The checks, in the order in which they ran.
    pub checks: Vec<SmokeCheck>,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SmokeCheck {
    /// `position`, `release`, `tables`, `connections`, `fence`, `read` or `write`.
    pub name: &'static str,
    /// Whether all is well.
    pub passed: bool,
    /// What was found, or what is wrong and what to do; never a row's contents.
    pub detail: String,
}

impl SmokeReport {
    /// Whether every check passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }

    /// # Errors
    /// `SmokeFailed`, with what each failed check found.
    pub fn into_result(self) -> Result<(), Error> {
        if self.passed() {
            return Ok(());
        }
        let failed = self.checks.iter().filter(|check| !check.passed);
        let failed: Vec<String> = failed.map(|c| format!("{}: {}", c.name, c.detail)).collect();
        let message = format!("the check after the deployment failed: {}", failed.join("; "));
        Err(Error::new(ErrorKind::SmokeFailed, message).of(&self.migration))
    }
}

impl fmt::Display for SmokeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.migration, self.position)?;
        for SmokeCheck { name, passed, detail } in &self.checks {
            let sign = if *passed { "ok  " } else { "FAIL" };
            write!(f, "\n  {sign} {name}: {detail}")?;
        }
        Ok(())
    }
}

struct Checks {
    limit: Duration,
    done: Vec<SmokeCheck>,
}

impl Checks {
    async fn run(
        &mut self,
        name: &'static str,
        check: impl Future<Output = Result<String, String>>,
    ) {
        let check = AssertUnwindSafe(check).catch_unwind();
        let found = match clock::limit(self.limit, check).await {
            Ok(Ok(found)) => found,
            Ok(Err(_)) => Err("it panicked".to_owned()),
            Err(()) => Err(format!("no answer within {:?}", self.limit)),
        };
        let passed = found.is_ok();
        let detail = found.unwrap_or_else(|wrong| wrong);
        self.done.push(SmokeCheck { name, passed, detail });
    }
}

fn without_values(error: &Error) -> String {
    Error::without_values(error)
}

async fn position(migration: &Migration, expected: Option<Stage>) -> Result<String, String> {
    let position = migration.refresh().await.map_err(|error| without_values(&error))?;
    match expected {
        Some(stage) if stage != position.stage => {
            Err(format!("it is at {position}, and expected at {stage}"))
        }
        _ => Ok(position.to_string()),
    }
}

/// Whether this build may run in the present stage, and the others that live may.
async fn release(migration: &Migration) -> Result<String, String> {
    let shared = migration.shared();
    let facts = shared.control.facts(&shared.name).await.map_err(|error| without_values(&error))?;
    let own = facts.instances.iter().find(|instance| instance.id == *shared.instance);
    let Some(own) = own else {
        return Err(
            "this instance is not among those that live: its heartbeat does not arrive".to_owned()
        );
    };
    let (stage, first, last) = (facts.position.stage, own.min_stage, own.max_stage);
    if stage < first || last < stage {
        return Err(format!(
            "release {} runs from {first} to {last}, and the migration is at {stage}: deploy one that runs there",
            own.release
        ));
    }
    Ok(format!(
        "release {} runs from {first} to {last}; {} instances live",
        own.release,
        facts.instances.len()
    ))
}

async fn tables(migration: &Migration) -> Result<String, String> {
    let found = migration.preflight().await.map_err(|error| without_values(&error))?;
    let refused: Vec<String> = found.refusals().map(ToString::to_string).collect();
    if !refused.is_empty() {
        return Err(refused.join("; "));
    }
    match (migration.shared().copier.is_some(), found.complete) {
        (false, _) => {
            Ok("not looked at: the migration has no copy function that names them".to_owned())
        }
        (true, false) => Err("the old or the new table is missing".to_owned()),
        (true, true) => Ok("both tables are as the copy function needs them".to_owned()),
    }
}

async fn connection<DB: Backend>(pool: &sqlx::Pool<DB>) -> Result<String, String> {
    let failed = |error| Error::without_values(&error);
    drop(pool.acquire().await.map_err(failed)?);
    let (open, idle, most) = (pool.size(), pool.num_idle(), pool.options().get_max_connections());
    Ok(format!("{open} of {most} are open, {idle} of them idle"))
}

async fn fence<DB: Backend>(
    migration: &Migration,
    pool: &sqlx::Pool<DB>,
) -> Result<String, String> {
    // Also while calls are closed for maintenance: then somebody deploys.
    let tx = Tx::begin_shared(pool, &[migration.shared()], Isolation::default()).await;
    let tx = tx.map_err(|error| without_values(&error))?;
    tx.rollback().await.map_err(|error| without_values(&error))?;
    Ok("a fenced transaction begins".to_owned())
}

async fn rolled_back<'m, DB: Backend>(
    migration: &Migration,
    pool: &sqlx::Pool<DB>,
    write: Write<'m, DB>,
) -> Result<String, String> {
    // Of the lifetime of what the write borrows, so that its future may borrow both.
    let begun = Tx::begin_shared(pool, &[migration.shared()], Isolation::default()).await;
    let mut tx: Tx<'m, DB> = begun.map_err(|error| without_values(&error))?;
    let written = write(&mut tx).await;
    let ended = tx.rollback().await;
    said(written, "write")?;
    ended.map_err(|error| without_values(&error))?;
    Ok("it worked, and was rolled back".to_owned())
}

fn is_closed(error: &(dyn std::error::Error + 'static)) -> bool {
    Error::find(error).is_some_and(|error| error.kind() == ErrorKind::Maintenance)
}

fn said(result: Result<(), BoxError>, what: &str) -> Result<String, String> {
    match result {
        Ok(()) => Ok("it worked".to_owned()),
        Err(error) if is_closed(&*error) => {
            Ok(format!("not looked at: the {what} is closed for maintenance"))
        }
        Err(error) => Err(format!("the {what} failed: {}", Error::without_values(&*error))),
    }
}
