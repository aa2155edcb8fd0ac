//! What operators do, in a SQL database: each change and its record in one transaction.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::control::commands::{Commands, Job, JobKind, Open, RecordedChange, Taken, moved};
use crate::control::tasks::StartedBackfill;
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlRow};
use crate::error::Error;
use crate::rollout::command::NewRolloutCommand;
use crate::stages::position::Epoch;
use crate::stages::stale::StaleKind;
use crate::state::unknown_migration;
use crate::store::changed::tell;
use crate::store::marks;
use crate::store::sql::recorded::record;
use crate::store::sql::steps::{Step, steps, text};
use crate::store::sql::tasks::{TASKS, task_of};
use crate::store::sql::{Conn, SqlControl};

const DOING: &str = "carrying out a command";
impl<DB: Backend> SqlControl<DB> {
    async fn execute_in(
        &self,
        name: &str,
        change: &RecordedChange,
        expected: Option<Epoch>,
        audit: &NewRolloutCommand,
    ) -> Result<Taken, Error> {
        let executing = self.working.within(DOING, async {
            let mut lent = self.working.begin().await?;
            let found = match epoch::<DB>(&mut lent, name).await? {
                None => Found::Nobody,
                Some(found) if expected.is_some_and(|epoch| epoch != found) => Found::Moved(found),
                Some(_) => Found::At(take::<DB>(&mut lent, name, change, audit).await?),
            };
            if !matches!(found, Found::At(Taken::Done)) {
                lent.rollback().await?;
                return Ok(found);
            }
            if matches!(change, RecordedChange::StopWriter(_)) {
                // What it wrote until now is verified after that.
                marks::mark::<DB>(&mut lent, name, StaleKind::Writer).await?;
            }
            if !matches!(change, RecordedChange::ReadCatalogue) {
                record::<DB>(&mut lent, name, audit).await?;
            }
            tell::<DB>(&mut lent, name).await?;
            lent.commit().await?;
            Ok(found)
        });
        match executing.await.map_err(|error| error.of(name))? {
            Found::Nobody => Err(unknown_migration(name)),
            Found::Moved(found) => Err(moved(name, expected.unwrap_or_default(), found)),
            Found::At(taken) => Ok(taken),
        }
    }
}

enum Found {
    Nobody,
    Moved(Epoch),
    At(Taken),
}

async fn epoch<DB: Backend>(conn: &mut Conn<DB>, name: &str) -> sqlx::Result<Option<Epoch>> {
    let sql = "SELECT epoch FROM dualwrite_migration WHERE name = ?";
    let rows = DB::Adapter::fetch(conn, sql, &[name.into()]).await?;
    rows.first().map(|row| row.unsigned(0).map(Epoch)).transpose()
}

async fn take<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    change: &RecordedChange,
    audit: &NewRolloutCommand,
) -> sqlx::Result<Taken> {
    let steps = steps(&DB::Adapter::DIALECT, name, change, audit);
    Ok(match run::<DB>(conn, &steps).await? {
        true => Taken::Done,
        false if holds::<DB>(conn, name, change).await? => Taken::Already,
        false => Taken::Nothing,
    })
}

async fn run<DB: Backend>(conn: &mut Conn<DB>, steps: &[Step]) -> sqlx::Result<bool> {
    let (mut taken, mut found) = (false, false);
    for step in steps {
        if step.otherwise && found {
            continue;
        }
        let affected = DB::Adapter::execute(conn, &step.sql, &step.values).await? > 0;
        found = affected;
        taken |= affected && step.counts;
    }
    Ok(taken)
}

/// Whether nothing had to be changed, because it was so before.
async fn holds<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    change: &RecordedChange,
) -> sqlx::Result<bool> {
    let (sql, values) = match change {
        RecordedChange::Unkill
        | RecordedChange::ForgetSamples
        | RecordedChange::Sample(..)
        | RecordedChange::ReadCatalogue => return Ok(true),
        RecordedChange::StopWriter(writer) => (
            "SELECT count(*) FROM dualwrite_hazard WHERE migration = ? AND name = ? \
             AND stopped_at IS NOT NULL",
            vec![name.into(), writer.as_str().into()],
        ),
        RecordedChange::Job(kind, key) => (
            "SELECT count(*) FROM dualwrite_task WHERE migration = ? AND side = ? \
             AND state = 'wanted' AND coalesce(subject, '') = ?",
            vec![name.into(), kind.as_str().into(), key.as_ref().map_or("", |key| &*key.0).into()],
        ),
        RecordedChange::StartBackfill(task) => (
            "SELECT count(*) FROM dualwrite_task WHERE migration = ? AND side = ? \
             AND state = 'wanted' AND workers = ? AND coalesce(rate, 0) = ?",
            vec![
                name.into(),
                task.side.as_str().into(),
                u64::from(task.workers).into(),
                task.rate.unwrap_or(0).into(),
            ],
        ),
        RecordedChange::Kill
        | RecordedChange::Waive(..)
        | RecordedChange::Verification(_)
        | RecordedChange::Backfill(..)
        | RecordedChange::Tune(..)
        | RecordedChange::Maintain(_) => return Ok(false),
    };
    let rows = DB::Adapter::fetch(conn, sql, &values).await?;
    rows.first().map_or(Ok(false), |row| row.integer(0).map(|count| count > 0))
}

/// Of a row of `TASKS`.
pub(crate) fn job_of(row: &SqlRow) -> sqlx::Result<Option<Job>> {
    let Some(kind) = JobKind::named(row.text(0)?) else { return Ok(None) };
    let text = |column| row.optional_text(column).map(|text| text.map(str::to_owned));
    let state = row.text(9)?;
    Ok(Some(Job {
        kind,
        key: text(11)?,
        actor: row.text(4)?.to_owned(),
        reason: row.text(5)?.to_owned(),
        at: row.moment(6)?,
        runner: text(7)?,
        answer: text(8)?,
        done: state != "wanted",
        failed: state == "halted",
        waiting: None,
    }))
}

fn add_open(
    row: &SqlRow,
    tasks: &mut Vec<StartedBackfill>,
    jobs: &mut Vec<Job>,
) -> sqlx::Result<()> {
    match row.text(0)? {
        "old" | "new" => tasks.push(task_of(row)?),
        _ => jobs.extend(job_of(row)?),
    }
    Ok(())
}

impl<DB: Backend> Commands for SqlControl<DB> {
    fn command<'a>(
        &'a self,
        name: &'a str,
        change: &'a RecordedChange,
        expected: Option<Epoch>,
        audit: &'a NewRolloutCommand,
    ) -> BoxFuture<'a, Result<Taken, Error>> {
        match change {
            RecordedChange::Maintain(change) => {
                Box::pin(self.maintain(name, *change, expected, audit))
            }
            change => Box::pin(self.execute_in(name, change, expected, audit)),
        }
    }

    fn jobs<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<Job>, Error>> {
        Box::pin(async move {
            let doing = "reading the jobs";
            let sql = format!(
                "{TASKS} WHERE migration = ? AND side NOT IN ('old', 'new') ORDER BY at, side"
            );
            let rows = self.fetch(doing, &sql, &[name.into()]).await?;
            let jobs = rows.iter().filter_map(|row| job_of(row).transpose());
            let jobs = jobs.collect::<sqlx::Result<_>>();
            jobs.map_err(|error| Error::database(doing, error).of(name))
        })
    }

    fn all_started<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Open, Error>> {
        Box::pin(async move {
            let doing = "reading what was started";
            let failed = |error| Error::database(doing, error).of(name);
            let sql = format!("{TASKS} WHERE migration = ? ORDER BY at, side");
            let (mut tasks, mut jobs) = (Vec::new(), Vec::new());
            for row in &self.fetch(doing, &sql, &[name.into()]).await? {
                add_open(row, &mut tasks, &mut jobs).map_err(failed)?;
            }
            Ok((tasks, jobs))
        })
    }

    fn all_open(&self) -> BoxFuture<'_, Result<HashMap<String, Open>, Error>> {
        Box::pin(async move {
            let doing = "reading what was started";
            let failed = |error| Error::database(doing, error);
            let sql = format!(
                "{TASKS} WHERE side IN ('old', 'new') OR state = 'wanted' ORDER BY at, side"
            );
            let mut all: HashMap<String, Open> = HashMap::new();
            for row in &self.fetch(doing, &sql, &[]).await? {
                let name = row.text(10).map_err(failed)?.to_owned();
                let (tasks, jobs) = all.entry(name).or_default();
                add_open(row, tasks, jobs).map_err(failed)?;
            }
            Ok(all)
        })
    }

    fn take_job<'a>(
        &'a self,
        name: &'a str,
        kind: JobKind,
        instance: &'a str,
        lease: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.take(name, kind.as_str(), instance, lease))
    }

    fn end_job<'a>(
        &'a self,
        name: &'a str,
        kind: JobKind,
        instance: &'a str,
        failed: bool,
        answer: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let sql = "UPDATE dualwrite_task SET waiting = ?, state = ?, runner_until = 0 \
                       WHERE migration = ? AND side = ? AND runner = ?";
            let state = if failed { "halted" } else { "done" };
            let values =
                [text(answer), state.into(), name.into(), kind.as_str().into(), instance.into()];
            self.execute("ending a job", sql, &values).await.map(drop)
        })
    }
}
