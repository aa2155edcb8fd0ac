//! Started backfills in a SQL database.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::control::commands::{Commands as _, RecordedChange, Taken};
use crate::control::tasks::{NewTask, StartedBackfill, Tasks};
use crate::database::{Backend, SqlRow, SqlValue};
use crate::error::Error;
use crate::stages::stage::Side;
use crate::store::ledger::limit;
use crate::store::sql::SqlControl;

/// What fits into the columns of every database.
pub(crate) const TEXT_CHARS_MAX: usize = 2_000;

/// Backfills and jobs.
pub(crate) const TASKS: &str = "SELECT side, workers, rate, failures_max, actor, reason, at, \
     CASE WHEN runner_until > {now} THEN runner END, waiting, state, migration, subject FROM dualwrite_task";

fn short(text: Option<&str>) -> SqlValue {
    SqlValue::Text(text.map(|text| text.chars().take(TEXT_CHARS_MAX).collect()))
}

fn of(name: &str, side: Side, instance: &str) -> [SqlValue; 3] {
    [name.into(), side.as_str().into(), instance.into()]
}

/// What a command to a backfill means for one that was started: a cancelled one is not started any more, and a
/// rate holds for whoever runs it next.
pub(super) fn cancel(name: &str, side: Side) -> (&'static str, [SqlValue; 2]) {
    let sql = "DELETE FROM dualwrite_task WHERE migration = ? AND side = ?";
    (sql, [name.into(), side.as_str().into()])
}

pub(super) fn set_rate(name: &str, side: Side, rate: Option<u64>) -> (&'static str, [SqlValue; 3]) {
    let sql = "UPDATE dualwrite_task SET rate = ? WHERE migration = ? AND side = ?";
    (sql, [limit(rate), name.into(), side.as_str().into()])
}

pub(super) fn task_of(row: &SqlRow) -> sqlx::Result<StartedBackfill> {
    let text = |column| row.optional_text(column).map(|text| text.map(str::to_owned));
    Ok(StartedBackfill {
        side: if row.text(0)? == "old" { Side::Old } else { Side::New },
        workers: u32::try_from(row.unsigned(1)?).unwrap_or(u32::MAX),
        rate: row.optional_integer(2)?.and_then(|rate| u64::try_from(rate).ok()),
        stop_after_failures: row.unsigned(3)?,
        actor: row.text(4)?.to_owned(),
        reason: row.text(5)?.to_owned(),
        at: row.moment(6)?,
        runner: text(7)?,
        waiting: text(8)?,
        halted: row.text(9)? == "halted",
    })
}

impl<DB: Backend> SqlControl<DB> {
    /// Takes what was started, or extends the lease on it.
    pub(super) async fn take(
        &self,
        name: &str,
        slot: &str,
        instance: &str,
        lease: Duration,
    ) -> Result<bool, Error> {
        let sql = "UPDATE dualwrite_task SET runner = ?, runner_until = {now} + ? \
                   WHERE migration = ? AND side = ? AND state = 'wanted' \
                   AND (runner = ? OR runner_until <= {now})";
        let lease = u64::try_from(lease.as_micros()).unwrap_or(u64::MAX);
        let values = [instance.into(), lease.into(), name.into(), slot.into(), instance.into()];
        Ok(self.execute("taking what was started", sql, &values).await? > 0)
    }
}

impl<DB: Backend> Tasks for SqlControl<DB> {
    fn start_task<'a>(
        &'a self,
        name: &'a str,
        task: &'a NewTask,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        let audit = task.audit();
        Box::pin(async move {
            let change = RecordedChange::StartBackfill(task.clone());
            let taken = self.command(name, &change, None, &audit).await?;
            Ok(taken == Taken::Done)
        })
    }

    fn tasks<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<StartedBackfill>, Error>> {
        Box::pin(async move {
            let doing = "reading what was started";
            let sql =
                format!("{TASKS} WHERE migration = ? AND side IN ('old', 'new') ORDER BY at, side");
            let rows = self.fetch(doing, &sql, &[name.into()]).await?;
            let tasks = rows.iter().map(task_of).collect::<sqlx::Result<_>>();
            tasks.map_err(|error| Error::database(doing, error).of(name))
        })
    }

    fn take_task<'a>(
        &'a self,
        name: &'a str,
        side: Side,
        instance: &'a str,
        lease: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.take(name, side.as_str(), instance, lease))
    }

    fn report_task<'a>(
        &'a self,
        name: &'a str,
        side: Side,
        instance: &'a str,
        waiting: Option<&'a str>,
        halted: bool,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let sql = "UPDATE dualwrite_task SET waiting = ?, state = ? \
                       WHERE migration = ? AND side = ? AND runner = ?";
            let state = if halted { "halted" } else { "wanted" };
            let [name, side, instance] = of(name, side, instance);
            let values = [short(waiting), state.into(), name, side, instance];
            self.execute("saying what a backfill waits for", sql, &values).await.map(drop)
        })
    }

    fn end_task<'a>(
        &'a self,
        name: &'a str,
        side: Side,
        instance: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let sql = "DELETE FROM dualwrite_task WHERE migration = ? AND side = ? AND runner = ?";
            let values = of(name, side, instance);
            self.execute("ending what was started", sql, &values).await.map(drop)
        })
    }

    fn release_task<'a>(
        &'a self,
        name: &'a str,
        side: Side,
        instance: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let sql = "UPDATE dualwrite_task SET runner_until = 0 \
                       WHERE migration = ? AND side = ? AND runner = ?";
            let values = of(name, side, instance);
            self.execute("leaving what was started", sql, &values).await?;
            self.hint(name).await
        })
    }
}
