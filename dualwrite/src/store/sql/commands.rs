//! What operators do, in a SQL database: each change and its record in one transaction.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::control::commands::{
    Commands, Compared, Job, JobKind, Open, RecordedChange, Taken, moved,
};
use crate::control::settings::BackfillSetting;
use crate::control::tasks::{NewTask, StartedBackfill};
use crate::control::{BackfillCommand, VerifyCommand};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, Dialect, SqlRow, SqlValue};
use crate::error::Error;
use crate::rollout::command::NewRolloutCommand;
use crate::stages::position::Epoch;
use crate::stages::stage::Side;
use crate::stages::stale::StaleKind;
use crate::state::unknown_migration;
use crate::store::ledger::{Phase, limit};
use crate::store::sql::recorded::record;
use crate::store::sql::tasks::{TASKS, task_of};
use crate::store::sql::{Conn, SqlControl, tasks, verification};
use crate::store::{backfill_commands, marks};

const DOING: &str = "carrying out a command";
/// What fits into the columns of every database.
const TEXT_CHARS_MAX: usize = 2_000;

/// A statement of a change.
struct Step {
    sql: String,
    values: Vec<SqlValue>,
    /// Whether the rows affected say that there was something to take the command.
    counts: bool,
    /// It is run only where the statements before have found nothing.
    otherwise: bool,
}

impl Step {
    fn counted(sql: impl Into<String>, values: impl Into<Vec<SqlValue>>) -> Self {
        Self { sql: sql.into(), values: values.into(), counts: true, otherwise: false }
    }

    fn uncounted(sql: impl Into<String>, values: impl Into<Vec<SqlValue>>) -> Self {
        Self { counts: false, ..Self::counted(sql, values) }
    }
}

fn text(text: &str) -> SqlValue {
    SqlValue::Text(Some(text.chars().take(TEXT_CHARS_MAX).collect()))
}

/// The statements of a change.
fn steps(
    dialect: &Dialect,
    name: &str,
    change: &RecordedChange,
    audit: &NewRolloutCommand,
) -> Vec<Step> {
    let own = || vec![SqlValue::from(name)];
    match change {
        RecordedChange::Kill => {
            let sql = format!(
                "INSERT INTO dualwrite_kill (migration, actor, reason, at) VALUES (?, ?, ?, {{now}}){}",
                dialect.upsert("migration", &["actor", "reason", "at"])
            );
            let values = [name.into(), audit.actor.as_str().into(), text(&audit.reason)];
            vec![Step::counted(sql, values)]
        }
        RecordedChange::Unkill => {
            vec![Step::counted("DELETE FROM dualwrite_kill WHERE migration = ?", own())]
        }
        RecordedChange::Waive(side, key) => {
            let sql = "UPDATE dualwrite_failure SET waived_by = ?, waived_because = ?, \
                       waived_at = {now} WHERE migration = ? AND side = ? AND key_text = ?";
            let values = [
                audit.actor.as_str().into(),
                text(&audit.reason),
                name.into(),
                side.as_str().into(),
                key.0.as_str().into(),
            ];
            vec![Step::counted(sql, values)]
        }
        RecordedChange::ForgetSamples => {
            vec![Step::counted("DELETE FROM dualwrite_mismatch WHERE migration = ?", own())]
        }
        RecordedChange::Sample(of, share) => {
            let column = match of {
                Compared::Reads => "read_share",
                Compared::Writes => "write_share",
            };
            let add = format!(
                "INSERT INTO dualwrite_sample (migration, read_share, write_share) \
                 SELECT m.name, -1, -1 FROM dualwrite_migration m WHERE m.name = ? AND NOT EXISTS \
                 (SELECT 1 FROM dualwrite_sample s WHERE s.migration = m.name){}",
                dialect.upsert("migration", &[])
            );
            let set = format!(
                "UPDATE dualwrite_sample SET {column} = ? WHERE migration = ? AND {column} <> ?"
            );
            let points =
                || SqlValue::from(share.map_or(-1, |share| i64::from(share.basis_points())));
            vec![Step::uncounted(add, own()), Step::counted(set, [points(), name.into(), points()])]
        }
        RecordedChange::StopWriter(writer) => {
            let sql = "UPDATE dualwrite_hazard SET stopped_by = ?, stopped_because = ?, \
                       stopped_at = {now} WHERE migration = ? AND name = ? \
                       AND stopped_at IS NULL AND kind NOT IN ('watch', 'sequence')";
            let actor = audit.actor.as_str().into();
            vec![Step::counted(
                sql,
                [actor, text(&audit.reason), name.into(), writer.as_str().into()],
            )]
        }
        RecordedChange::ReadCatalogue => {
            start(dialect, name, (JobKind::Catalogue.as_str(), None), None, audit)
        }
        RecordedChange::Verification(ordered) => {
            let values = [ordered.code().into(), name.into()];
            vec![Step::counted(verification::command(*ordered), values)]
        }
        RecordedChange::Job(kind, key) => {
            let subject = key.as_ref().map(|key| &*key.0);
            let mut steps = start(dialect, name, (kind.as_str(), subject), None, audit);
            if *kind == JobKind::Verify {
                // One that was paused or cancelled would keep this one waiting.
                let goes_on = VerifyCommand::GoOn;
                let values = [goes_on.code().into(), name.into()];
                steps.push(Step::uncounted(verification::command(goes_on), values));
            }
            steps
        }
        RecordedChange::StartBackfill(task) => {
            let side = task.side;
            let mut steps = start(dialect, name, (side.as_str(), None), Some(task), audit);
            // In the same transaction: nobody takes it before it may go on.
            steps.extend(command_backfill(dialect, name, side, BackfillCommand::Resume, false));
            steps
        }
        RecordedChange::Tune(side, set) => set
            .iter()
            .map(|(setting, value)| tune(dialect, name, *side, *setting, *value))
            .collect(),
        RecordedChange::Backfill(side, ordered) => {
            command_backfill(dialect, name, *side, *ordered, true)
        }
        // It is no such change: see `maintain`.
        RecordedChange::Maintain(_) => Vec::new(),
    }
}

/// Puts into a slot what any instance may run, unless something is there that has not ended.
fn start(
    dialect: &Dialect,
    name: &str,
    (slot, subject): (&str, Option<&str>),
    task: Option<&NewTask>,
    audit: &NewRolloutCommand,
) -> Vec<Step> {
    let ended = "DELETE FROM dualwrite_task WHERE migration = ? AND side = ? \
                 AND state IN ('halted', 'done')";
    let sql = format!(
        "INSERT INTO dualwrite_task (migration, side, subject, workers, rate, failures_max, actor, reason, at, state) \
         SELECT m.name, ?, ?, ?, ?, ?, ?, ?, {{now}}, 'wanted' FROM dualwrite_migration m \
         WHERE m.name = ? AND NOT EXISTS \
         (SELECT 1 FROM dualwrite_task t WHERE t.migration = m.name AND t.side = ?){}",
        dialect.upsert("migration, side", &[])
    );
    let values = [
        slot.into(),
        SqlValue::Text(subject.map(str::to_owned)),
        task.map_or(1, |task| u64::from(task.workers)).into(),
        limit(task.and_then(|task| task.rate)),
        limit(Some(task.map_or(0, |task| task.stop_after_failures))),
        audit.actor.as_str().into(),
        text(&audit.reason),
        name.into(),
        slot.into(),
    ];
    vec![Step::uncounted(ended, [name.into(), slot.into()]), Step::counted(sql, values)]
}

/// Sets something of the backfill of this generation, where that is under way or was started.
fn tune(
    dialect: &Dialect,
    name: &str,
    side: Side,
    setting: BackfillSetting,
    value: Option<u64>,
) -> Step {
    let generation = backfill_commands::generation(side);
    let sql = format!(
        "INSERT INTO dualwrite_setting (migration, side, generation, name, value) \
         SELECT m.name, ?, m.{generation}, ?, ? FROM dualwrite_migration m WHERE m.name = ? \
         AND (EXISTS (SELECT 1 FROM dualwrite_task t WHERE t.migration = m.name AND t.side = ?) \
         OR EXISTS (SELECT 1 FROM dualwrite_backfill b WHERE b.migration = m.name AND b.phase LIKE ? \
         AND b.generation = m.{generation})) AND NOT EXISTS (SELECT 1 FROM dualwrite_backfill c \
         WHERE c.migration = m.name AND c.phase = ? AND c.generation = m.{generation} \
         AND c.state = 'complete'){}",
        dialect.upsert("migration, side, generation, name", &["value"])
    );
    let values = [
        side.as_str().into(),
        setting.as_str().into(),
        limit(value),
        name.into(),
        side.as_str().into(),
        Phase::of(side),
        side.as_str().into(),
    ];
    Step::counted(sql, values)
}

/// A command to a backfill. `counts`: whether it must find something.
fn command_backfill(
    dialect: &Dialect,
    name: &str,
    side: Side,
    audit: BackfillCommand,
    counts: bool,
) -> Vec<Step> {
    let mut steps = Vec::new();
    match audit {
        BackfillCommand::Cancel => {
            let (sql, values) = tasks::cancel(name, side);
            steps.push(Step::counted(sql, values));
        }
        BackfillCommand::Rate(rate) => {
            let (sql, values) = tasks::set_rate(name, side, rate);
            steps.push(Step::counted(sql, values));
        }
        BackfillCommand::Pause | BackfillCommand::Resume | BackfillCommand::GoOn => {}
    }
    for (number, (sql, values)) in
        backfill_commands::give(dialect, name, side, audit).into_iter().enumerate()
    {
        steps.push(Step { sql, values, counts, otherwise: number > 0 });
    }
    for step in &mut steps {
        step.counts = counts;
    }
    steps
}

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
                Some(_) => {
                    let steps = steps(&DB::Adapter::DIALECT, name, change, audit);
                    match run::<DB>(&mut lent, &steps).await? {
                        true => Found::At(Taken::Done),
                        false if holds::<DB>(&mut lent, name, change).await? => {
                            Found::At(Taken::Already)
                        }
                        false => Found::At(Taken::Nothing),
                    }
                }
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
            DB::Adapter::notify(&mut lent, name).await?;
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
        at_us: row.integer(6)?,
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
