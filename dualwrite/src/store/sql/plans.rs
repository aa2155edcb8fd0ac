//! Rollouts and flags in a SQL database.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::control::plans::{NewPlan, Plans, under_way};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlRow, SqlValue, unexpected};
use crate::error::{Error, ErrorKind};
use crate::rollout::command::RolloutCommand;
use crate::rollout::state::{PlanMove, PlanRow, PlanUpdate, RolloutState};
use crate::stages::position::Epoch;
use crate::store::sql::{Conn, SqlControl};

const HOUR_US: u64 = 3_600_000_000;
/// What fits into the columns of every database.
const NOTE_CHARS_MAX: usize = 2_000;

fn row_of(row: &SqlRow) -> sqlx::Result<PlanRow> {
    let age =
        |column| row.integer(column).map(|us| Duration::from_micros(us.max(0).unsigned_abs()));
    let state = RolloutState::from_name(row.text(2)?);
    Ok(PlanRow {
        version: row.unsigned(0)?,
        text: row.text(1)?.to_owned(),
        state: state.ok_or_else(|| unexpected(2, "a state of a rollout"))?,
        step: usize::try_from(row.unsigned(3)?).map_err(|_| unexpected(3, "a step"))?,
        epoch: Epoch(row.unsigned(4)?),
        at_step: age(5)?,
        soak_skipped: row.integer(6)? != 0,
        leader: row.optional_text(7)?.map(str::to_owned),
        led: age(8)?,
        note: row.text(9)?.to_owned(),
        waiting: row.optional_text(10)?.map(str::to_owned),
        hour: (row.unsigned(11)? / HOUR_US % 24) as u8,
    })
}

fn short(text: &str) -> SqlValue {
    SqlValue::Text(Some(text.chars().take(NOTE_CHARS_MAX).collect()))
}

fn micros(duration: Duration) -> SqlValue {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).into()
}

/// Takes a step, in the transaction that changes the position. Returns whether the row was as expected.
pub(super) async fn take_step<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    step: &PlanMove,
    epoch: u64,
) -> sqlx::Result<bool> {
    let sql = "UPDATE dualwrite_plan SET version = version + 1, step = ?, epoch = ?, \
               step_since = {now}, soak_skipped = 0, waiting = NULL \
               WHERE migration = ? AND version = ? AND leader = ? AND state = 'running'";
    let values = [
        (step.step as u64).into(),
        epoch.into(),
        name.into(),
        step.version.into(),
        step.leader.as_str().into(),
    ];
    Ok(DB::Adapter::execute(conn, sql, &values).await? == 1)
}

/// Remembers what a flag has done, in the transaction that changes the position.
pub(super) async fn flag_moved<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    wanted: &str,
    epoch: u64,
) -> sqlx::Result<()> {
    let sql = "UPDATE dualwrite_migration SET flag_wanted = ?, flag_epoch = ? WHERE name = ?";
    DB::Adapter::execute(conn, sql, &[wanted.into(), epoch.into(), name.into()]).await.map(drop)
}

const START_ATTEMPTS: u32 = 5;

impl<DB: Backend> Plans for SqlControl<DB> {
    fn plan<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<PlanRow>, Error>> {
        Box::pin(async move {
            let doing = "reading the rollout";
            let sql = "SELECT version, plan, state, step, epoch, {now} - step_since, soak_skipped, \
                       leader, leader_until - {now}, note, waiting, {now} \
                       FROM dualwrite_plan WHERE migration = ?";
            let rows = self.fetch(doing, sql, &[name.into()]).await?;
            let row = rows.first().map(row_of).transpose();
            row.map_err(|error| Error::database(doing, error).of(name))
        })
    }

    fn start_plan<'a>(
        &'a self,
        name: &'a str,
        plan: &'a NewPlan,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let mut attempt = 1;
            loop {
                match self.try_start_plan(name, plan).await {
                    // Of several that start at once, InnoDB may give up one before any of them is through.
                    Err(error)
                        if error.is_retryable()
                            && error.kind() != ErrorKind::Conflict
                            && attempt < START_ATTEMPTS =>
                    {
                        attempt += 1;
                    }
                    result => return result,
                }
            }
        })
    }

    fn update_plan<'a>(
        &'a self,
        name: &'a str,
        version: u64,
        update: &'a PlanUpdate,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let since = if update.restarts { "{now}" } else { "step_since" };
            let sql = format!(
                "UPDATE dualwrite_plan SET version = version + 1, state = ?, step = ?, epoch = ?, \
                 step_since = {since}, soak_skipped = ?, note = ?, waiting = NULL \
                 WHERE migration = ? AND version = ?"
            );
            let values = [
                update.state.as_str().into(),
                (update.step as u64).into(),
                update.epoch.0.into(),
                i64::from(update.soak_skipped).into(),
                short(&update.note),
                name.into(),
                version.into(),
            ];
            self.change_and_record("changing the rollout", name, (&sql, &values), &update.audit)
                .await
        })
    }

    fn recorded_commands<'a>(
        &'a self,
        name: &'a str,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<RolloutCommand>, Error>> {
        Box::pin(self.recorded_of(name, limit))
    }

    fn lead_plan<'a>(
        &'a self,
        name: &'a str,
        instance: &'a str,
        lease: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let sql = "UPDATE dualwrite_plan SET leader = ?, leader_until = {now} + ? \
                       WHERE migration = ? AND (leader = ? OR leader IS NULL OR leader_until < {now})";
            let values = [instance.into(), micros(lease), name.into(), instance.into()];
            Ok(self.execute("leading the rollout", sql, &values).await? == 1)
        })
    }

    fn report_plan<'a>(
        &'a self,
        name: &'a str,
        instance: &'a str,
        waiting: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let sql = "UPDATE dualwrite_plan SET waiting = ? WHERE migration = ? AND leader = ?";
            let values = [short(waiting), name.into(), instance.into()];
            self.execute("telling what the rollout waits for", sql, &values).await.map(drop)
        })
    }

    fn flagged<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<(String, Epoch)>, Error>> {
        Box::pin(async move {
            let doing = "reading what flags have done";
            let sql = "SELECT flag_wanted, flag_epoch FROM dualwrite_migration WHERE name = ?";
            let rows = self.fetch(doing, sql, &[name.into()]).await?;
            let read = |row: &SqlRow| -> sqlx::Result<Option<(String, Epoch)>> {
                let Some(wanted) = row.optional_text(0)? else { return Ok(None) };
                Ok(Some((wanted.to_owned(), Epoch(row.unsigned(1)?))))
            };
            let flagged = rows.first().map(read).transpose();
            Ok(flagged.map_err(|error| Error::database(doing, error).of(name))?.flatten())
        })
    }

    fn note_flag<'a>(
        &'a self,
        name: &'a str,
        wanted: &'a str,
        epoch: Epoch,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let sql = "UPDATE dualwrite_migration SET flag_wanted = ?, flag_epoch = ? \
                       WHERE name = ? AND epoch = ?";
            let values = [wanted.into(), epoch.0.into(), name.into(), epoch.0.into()];
            self.change_row("noting what a flag wants", name, sql, &values).await.map(drop)
        })
    }
}

impl<DB: Backend> SqlControl<DB> {
    async fn try_start_plan(&self, name: &str, plan: &NewPlan) -> Result<(), Error> {
        let doing = "starting the rollout";
        // The version goes on counting, or a step decided for the plan before could fit this one.
        let sql = "UPDATE dualwrite_plan SET version = version + 1, plan = ?, state = 'running', \
                   step = ?, epoch = ?, step_since = {now}, soak_skipped = 0, leader = NULL, \
                   leader_until = 0, note = ?, waiting = NULL \
                   WHERE migration = ? AND state IN ('done', 'aborted')";
        let [text, step, epoch, note]: [SqlValue; 4] = [
            plan.text.as_str().into(),
            (plan.step as u64).into(),
            plan.epoch.0.into(),
            short(&plan.note),
        ];
        let values = [text.clone(), step.clone(), epoch.clone(), note.clone(), name.into()];
        if self.change_and_record(doing, name, (sql, &values), &plan.audit).await? {
            return Ok(());
        }
        if self.plan(name).await?.is_some() {
            return Err(under_way(name));
        }
        // Of two that start at once, the second fails on the key.
        let sql = "INSERT INTO dualwrite_plan (migration, version, plan, state, step, epoch, \
                   step_since, soak_skipped, leader, leader_until, note, waiting) \
                   VALUES (?, 1, ?, 'running', ?, ?, {now}, 0, NULL, 0, ?, NULL)";
        let values = [name.into(), text, step, epoch, note];
        match self.change_and_record(doing, name, (sql, &values), &plan.audit).await {
            Ok(_) => Ok(()),
            Err(_) if self.plan(name).await?.is_some() => Err(under_way(name)),
            Err(error) => Err(error.of(name)),
        }
    }
}
