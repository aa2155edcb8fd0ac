//! What operators do, in a SQL database: each change and its record in one transaction.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::control::Control as _;
use crate::control::commands::{Commands, Job, JobKind, RecordedChange, moved};
use crate::control::hazards::Hazards as _;
use crate::control::tasks::NewTask;
use crate::control::{Order, VerifyOrder};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, Dialect, SqlRow, SqlValue};
use crate::error::Error;
use crate::rollout::order::NewOrder;
use crate::stages::position::Epoch;
use crate::stages::stage::Side;
use crate::stages::stale::StaleKind;
use crate::state::unknown_migration;
use crate::store::ledger::limit;
use crate::store::ordering;
use crate::store::sql::orders::record;
use crate::store::sql::{Conn, SqlControl, tasks, verification};

const DOING: &str = "carrying out a command";
/// What fits into the columns of every database.
const TEXT_CHARS_MAX: usize = 2_000;

/// A statement of a change.
struct Step {
    sql: String,
    values: Vec<SqlValue>,
    /// Whether it says, by the rows affected, that there was something to take the command.
    tells: bool,
    /// It is run only where the statements before have found nothing.
    otherwise: bool,
}

impl Step {
    fn telling(sql: impl Into<String>, values: impl Into<Vec<SqlValue>>) -> Self {
        Self { sql: sql.into(), values: values.into(), tells: true, otherwise: false }
    }

    fn silent(sql: impl Into<String>, values: impl Into<Vec<SqlValue>>) -> Self {
        Self { tells: false, ..Self::telling(sql, values) }
    }
}

fn text(text: &str) -> SqlValue {
    SqlValue::Text(Some(text.chars().take(TEXT_CHARS_MAX).collect()))
}

/// The statements of a change.
fn steps(dialect: &Dialect, name: &str, change: &RecordedChange, order: &NewOrder) -> Vec<Step> {
    let own = || vec![SqlValue::from(name)];
    match change {
        RecordedChange::Kill => {
            let sql = format!(
                "INSERT INTO dualwrite_kill (migration, actor, reason, at) VALUES (?, ?, ?, {{now}}){}",
                dialect.upsert("migration", &["actor", "reason", "at"])
            );
            let values = [name.into(), order.actor.as_str().into(), text(&order.reason)];
            vec![Step::telling(sql, values)]
        }
        RecordedChange::Unkill => {
            vec![Step::telling("DELETE FROM dualwrite_kill WHERE migration = ?", own())]
        }
        RecordedChange::Waive(side, key) => {
            let sql = "UPDATE dualwrite_failure SET waived_by = ?, waived_because = ?, \
                       waived_at = {now} WHERE migration = ? AND side = ? AND key_text = ?";
            let values = [
                order.actor.as_str().into(),
                text(&order.reason),
                name.into(),
                side.as_str().into(),
                key.0.as_str().into(),
            ];
            vec![Step::telling(sql, values)]
        }
        RecordedChange::ForgetSamples => {
            vec![Step::telling("DELETE FROM dualwrite_mismatch WHERE migration = ?", own())]
        }
        RecordedChange::StopWriter(writer) => {
            let sql = "UPDATE dualwrite_hazard SET stopped_by = ?, stopped_because = ?, \
                       stopped_at = {now} WHERE migration = ? AND name = ?";
            let actor = order.actor.as_str().into();
            vec![Step::telling(
                sql,
                [actor, text(&order.reason), name.into(), writer.as_str().into()],
            )]
        }
        RecordedChange::Verification(ordered) => {
            let values = [ordered.code().into(), name.into()];
            vec![Step::telling(verification::order(*ordered), values)]
        }
        RecordedChange::Job(kind) => {
            let mut steps = started(dialect, name, kind.as_str(), None, order);
            if *kind == JobKind::Verify {
                // One that was paused or cancelled would keep this one waiting.
                let goes_on = VerifyOrder::GoOn;
                let values = [goes_on.code().into(), name.into()];
                steps.push(Step::silent(verification::order(goes_on), values));
            }
            steps
        }
        RecordedChange::StartBackfill(task) => {
            let side = task.side;
            let mut steps = started(dialect, name, side.as_str(), Some(task), order);
            // In the same transaction: nobody takes it before it may go on.
            steps.extend(given(dialect, name, side, Order::Resume, false));
            steps
        }
        RecordedChange::Backfill(side, ordered) => given(dialect, name, *side, *ordered, true),
    }
}

fn started(
    dialect: &Dialect,
    name: &str,
    slot: &str,
    task: Option<&NewTask>,
    order: &NewOrder,
) -> Vec<Step> {
    let ended = "DELETE FROM dualwrite_task WHERE migration = ? AND side = ? \
                 AND state IN ('halted', 'done')";
    let sql = format!(
        "INSERT INTO dualwrite_task (migration, side, workers, rate, failures_max, actor, reason, at, state) \
         SELECT m.name, ?, ?, ?, ?, ?, ?, {{now}}, 'wanted' FROM dualwrite_migration m \
         WHERE m.name = ? AND NOT EXISTS \
         (SELECT 1 FROM dualwrite_task t WHERE t.migration = m.name AND t.side = ?){}",
        dialect.upsert("migration, side", &[])
    );
    let values = [
        slot.into(),
        task.map_or(1, |task| u64::from(task.workers)).into(),
        limit(task.and_then(|task| task.rate)),
        limit(Some(task.map_or(0, |task| task.stop_after_failures))),
        order.actor.as_str().into(),
        text(&order.reason),
        name.into(),
        slot.into(),
    ];
    vec![Step::silent(ended, [name.into(), slot.into()]), Step::telling(sql, values)]
}

/// An order to a backfill. `tells`: whether it must find something.
fn given(dialect: &Dialect, name: &str, side: Side, order: Order, tells: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    match order {
        Order::Cancel => {
            let (sql, values) = tasks::cancel(name, side);
            steps.push(Step::telling(sql, values));
        }
        Order::Rate(rate) => {
            let (sql, values) = tasks::set_rate(name, side, rate);
            steps.push(Step::telling(sql, values));
        }
        Order::Pause | Order::Resume | Order::GoOn => {}
    }
    for (number, (sql, values)) in
        ordering::give(dialect, name, side, order).into_iter().enumerate()
    {
        steps.push(Step { sql, values, tells, otherwise: number > 0 });
    }
    for step in &mut steps {
        step.tells = tells;
    }
    steps
}

impl<DB: Backend> SqlControl<DB> {
    async fn execute_in(
        &self,
        name: &str,
        change: &RecordedChange,
        expected: Option<Epoch>,
        order: &NewOrder,
    ) -> Result<bool, Error> {
        if let RecordedChange::StopWriter(writer) = change {
            let known = self.hazards(name).await?;
            if !known.iter().any(|one| one.name == *writer && one.kind.is_writer()) {
                return Ok(false);
            }
            // What it wrote until now is verified after that; first, so that a crash in between loses nothing.
            self.mark_stale(name, StaleKind::Writer).await?;
        }
        let executing = self.working.within(DOING, async {
            let mut lent = self.working.begin().await?;
            let found = match epoch::<DB>(&mut lent, name).await? {
                None => Found::Nobody,
                Some(found) if expected.is_some_and(|epoch| epoch != found) => Found::At(found),
                Some(_) => {
                    let steps = steps(&DB::Adapter::DIALECT, name, change, order);
                    Found::Taken(run::<DB>(&mut lent, &steps).await?)
                }
            };
            if !matches!(found, Found::Taken(true)) {
                lent.rollback().await?;
                return Ok(found);
            }
            record::<DB>(&mut lent, name, order).await?;
            DB::Adapter::notify(&mut lent, name).await?;
            lent.commit().await?;
            Ok(found)
        });
        match executing.await.map_err(|error| error.of(name))? {
            Found::Nobody => Err(unknown_migration(name)),
            Found::At(found) => Err(moved(name, expected.unwrap_or_default(), found)),
            Found::Taken(taken) => Ok(taken),
        }
    }
}

enum Found {
    Nobody,
    At(Epoch),
    Taken(bool),
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
        taken |= affected && step.tells;
    }
    Ok(taken)
}

fn job_of(row: &SqlRow) -> sqlx::Result<Option<Job>> {
    let Some(kind) = JobKind::named(row.text(0)?) else { return Ok(None) };
    let text = |column| row.optional_text(column).map(|text| text.map(str::to_owned));
    let state = row.text(6)?;
    Ok(Some(Job {
        kind,
        actor: row.text(1)?.to_owned(),
        reason: row.text(2)?.to_owned(),
        at_us: row.integer(3)?,
        runner: text(4)?,
        answer: text(5)?,
        done: state != "wanted",
        failed: state == "halted",
    }))
}

impl<DB: Backend> Commands for SqlControl<DB> {
    fn command<'a>(
        &'a self,
        name: &'a str,
        change: &'a RecordedChange,
        expected: Option<Epoch>,
        order: &'a NewOrder,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.execute_in(name, change, expected, order))
    }

    fn jobs<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<Job>, Error>> {
        Box::pin(async move {
            let doing = "reading the jobs";
            let sql = "SELECT side, actor, reason, at, CASE WHEN runner_until > {now} THEN runner END, \
                       waiting, state FROM dualwrite_task WHERE migration = ? \
                       AND side NOT IN ('old', 'new') ORDER BY at, side";
            let rows = self.fetch(doing, sql, &[name.into()]).await?;
            let jobs = rows.iter().filter_map(|row| job_of(row).transpose());
            let jobs = jobs.collect::<sqlx::Result<_>>();
            jobs.map_err(|error| Error::database(doing, error).of(name))
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
