//! What operators and instances of a migration in exact mode leave for each other in the control tables of one of its two
//! databases: jobs, reports, what is closed, and records that are waived.

use std::time::Duration;

use crate::control::commands::{Job, JobKind};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlValue};
use crate::error::Maintenance;
use crate::key::EncodedKey;
use crate::rollout::command::NewRolloutCommand;
use crate::store::exact::version;
use crate::store::sql::commands::job_of;
use crate::store::sql::tasks::{TASKS, TEXT_CHARS_MAX};

/// The jobs that were started and have not ended.
pub(crate) async fn jobs<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
) -> sqlx::Result<Vec<Job>> {
    let sql = format!("{TASKS} WHERE migration = ? AND state = 'wanted' ORDER BY at, side");
    let rows = DB::Adapter::fetch(conn, &sql, &[migration.into()]).await?;
    rows.iter().filter_map(|row| job_of(row).transpose()).collect()
}

/// Takes one that nobody runs, or extends the lease on it.
pub(crate) async fn take_job<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    kind: JobKind,
    (instance, lease): (&str, Duration),
) -> sqlx::Result<bool> {
    let sql = "UPDATE dualwrite_task SET runner = ?, runner_until = {now} + ? \
               WHERE migration = ? AND side = ? AND state = 'wanted' AND (runner = ? OR runner_until <= {now})";
    let lease = u64::try_from(lease.as_micros()).unwrap_or(u64::MAX);
    let values =
        [instance.into(), lease.into(), migration.into(), kind.as_str().into(), instance.into()];
    Ok(DB::Adapter::execute(conn, sql, &values).await? > 0)
}

/// Its runner says how it ended.
pub(crate) async fn end_job<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    kind: JobKind,
    instance: &str,
    (failed, answer): (bool, &str),
) -> sqlx::Result<()> {
    let sql = "UPDATE dualwrite_task SET waiting = ?, state = ?, runner_until = 0 \
               WHERE migration = ? AND side = ? AND runner = ?";
    let state = if failed { "halted" } else { "done" };
    let answer: String = answer.chars().take(TEXT_CHARS_MAX).collect();
    let values = [
        answer.as_str().into(),
        state.into(),
        migration.into(),
        kind.as_str().into(),
        instance.into(),
    ];
    DB::Adapter::execute(conn, sql, &values).await.map(drop)
}

/// How old the oldest record of the outbox is, in microseconds; zero where there is none.
pub(crate) async fn lag<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
) -> sqlx::Result<u64> {
    let sql =
        "SELECT {now} - since FROM dualwrite_outbox WHERE aggregatetype = ? ORDER BY seq LIMIT 1";
    let rows = DB::Adapter::fetch(conn, sql, &[migration.into()]).await?;
    // The clock of the database may have been set back.
    rows.first().map_or(Ok(0), |row| Ok(u64::try_from(row.integer(0)?).unwrap_or(0)))
}

/// Keeps what an instance says.
pub(crate) async fn report<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    report: &str,
) -> sqlx::Result<()> {
    let sql = "UPDATE dualwrite_relay SET report = ?, reported_at = {now} WHERE migration = ?";
    DB::Adapter::execute(conn, sql, &[report.into(), migration.into()]).await.map(drop)
}

/// Keeps what a verification found.
pub(crate) async fn verified<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    found: &str,
) -> sqlx::Result<()> {
    let sql = "UPDATE dualwrite_relay SET verified = ? WHERE migration = ?";
    DB::Adapter::execute(conn, sql, &[found.into(), migration.into()]).await.map(drop)
}

/// Closes calls of this database, or opens them. Under the fence, which the caller holds alone.
pub(crate) async fn maintain<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    maintenance: Option<&Maintenance>,
) -> sqlx::Result<()> {
    let sql = "UPDATE dualwrite_authority SET closed = ?, closed_by = ?, closed_because = ?, closed_until = ? \
               WHERE migration = ?";
    let text = |of: fn(&Maintenance) -> &str| {
        SqlValue::Text(maintenance.map(|maintenance| of(maintenance).to_owned()))
    };
    let closed = maintenance.map_or(0, |maintenance| i64::from(maintenance.closed.code()));
    let values = [
        closed.into(),
        text(|maintenance| &maintenance.actor),
        text(|maintenance| &maintenance.reason),
        maintenance.map(|maintenance| maintenance.until).into(),
        migration.into(),
    ];
    DB::Adapter::execute(conn, sql, &values).await.map(drop)
}

/// Leaves a line in the audit.
pub(crate) async fn audit<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    line: &NewRolloutCommand,
) -> sqlx::Result<()> {
    let sql = "SELECT epoch FROM dualwrite_authority WHERE migration = ?";
    let rows = DB::Adapter::fetch(conn, sql, &[migration.into()]).await?;
    let Some(epoch) = rows.first().map(|row| row.unsigned(0)).transpose()? else {
        return Ok(()); // the migration is gone
    };
    let sql = "INSERT INTO dualwrite_command (migration, at, what, detail, actor, reason, epoch) \
               VALUES (?, {now}, ?, ?, ?, ?, ?)";
    let reason: String = line.reason.chars().take(TEXT_CHARS_MAX).collect();
    let values = [
        migration.into(),
        line.kind.as_str().into(),
        SqlValue::Text(line.detail.clone()),
        line.actor.as_str().into(),
        reason.as_str().into(),
        epoch.into(),
    ];
    DB::Adapter::execute(conn, sql, &values).await.map(drop)
}

/// The database's clock, in microseconds since 1970.
pub(crate) async fn now<DB: Backend>(conn: &mut DB::Connection) -> sqlx::Result<i64> {
    let rows = DB::Adapter::fetch(conn, "SELECT {now}", &[]).await?;
    rows.first().map_or(Ok(0), |row| row.integer(0))
}

/// Counts this version of a key as applied, which it is not: a verification finds the key different from then on.
pub(crate) async fn skip<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    key: &EncodedKey,
    to: u64,
) -> sqlx::Result<()> {
    version::take_all::<DB>(conn, migration, &[(key, to, false)]).await.map(drop)
}

/// Takes the records of a key that could not be applied out of the outbox. Whether there was such a key.
pub(crate) async fn waive<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    key: &EncodedKey,
) -> sqlx::Result<bool> {
    let values = [migration.into(), key.0.as_str().into()];
    let sql = "DELETE FROM dualwrite_outbox_failure WHERE migration = ? AND key_text = ?";
    if DB::Adapter::execute(conn, sql, &values).await? == 0 {
        return Ok(false);
    }
    let sql = "DELETE FROM dualwrite_outbox WHERE aggregatetype = ? AND aggregateid = ?";
    DB::Adapter::execute(conn, sql, &values).await.map(|_| true)
}
