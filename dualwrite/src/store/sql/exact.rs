//! Migrations in exact mode as an operator sees them in one of their two databases, and commands to them.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::control::commands::Taken;
use crate::control::exact::{ExactCommand, ExactMigrations, ExactOverview, ExactRow, Named};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlRow, SqlValue};
use crate::error::Error;
use crate::rollout::command::NewRolloutCommand;
use crate::stages::position::Epoch;
use crate::state::unknown_migration;
use crate::store::exact::authority::maintenance_of;
use crate::store::sql::{Conn, SqlControl};

const DOING: &str = "reading migrations in exact mode";
/// How many are answered at the most.
const ROWS_MAX: usize = 500;
/// What fits into the columns of every database.
const TEXT_CHARS_MAX: usize = 2_000;
/// A report that is older says nothing of how it stands now; instances send one at least every five seconds.
pub(crate) const REPORT_HOLDS: Duration = Duration::from_secs(20);

fn row_of(row: &SqlRow) -> sqlx::Result<ExactRow> {
    let parsed = |column| row.optional_text(column).map(|text| text.map(str::to_owned));
    let reported = row.integer(9)?;
    let reported_ago = u64::try_from(reported).ok().filter(|_| row.integer(10).unwrap_or(0) > 0);
    Ok(ExactRow {
        name: row.text(0)?.to_owned(),
        epoch: Epoch(row.unsigned(3)?),
        maintenance: maintenance_of(row, 4)?,
        overview: ExactOverview {
            side: if row.text(1)? == "old" {
                crate::stages::stage::Side::Old
            } else {
                crate::stages::stage::Side::New
            },
            is_primary: row.integer(2)? != 0,
            // What another release has written is as none.
            state: parsed(8)?.and_then(|text| serde_json::from_str(&text).ok()),
            reported_ago: reported_ago.map(Duration::from_micros),
            verification: parsed(11)?.and_then(|text| serde_json::from_str(&text).ok()),
        },
    })
}

impl<DB: Backend> SqlControl<DB> {
    async fn leave(&self, name: &str, command: ExactCommand<'_>) -> Result<Taken, Error> {
        let leaving = self.working.within("leaving a command", async {
            let mut lent = self.working.begin().await?;
            match leave::<DB>(&mut lent, name, command).await? {
                Some(Taken::Done) => lent.commit().await.map(|()| Some(Taken::Done)),
                other => lent.rollback().await.map(|()| other),
            }
        });
        let left = leaving.await.map_err(|error| error.of(name))?;
        left.ok_or_else(|| unknown_migration(name))
    }
}

async fn leave<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    command: ExactCommand<'_>,
) -> sqlx::Result<Option<Taken>> {
    let ExactCommand { kind, subject, epoch, audit } = command;
    let sql = "SELECT 1 FROM dualwrite_authority WHERE migration = ?";
    if DB::Adapter::fetch(conn, sql, &[name.into()]).await?.is_empty() {
        return Ok(None);
    }
    let sql = "DELETE FROM dualwrite_task WHERE migration = ? AND side = ? \
               AND (state <> 'wanted' OR runner_until <= {now})";
    DB::Adapter::execute(conn, sql, &[name.into(), kind.as_str().into()]).await?;
    let sql = format!(
        "INSERT INTO dualwrite_task (migration, side, subject, workers, failures_max, actor, reason, at, state) \
         SELECT a.name, ?, ?, 1, 0, ?, ?, {{now}}, 'wanted' \
         FROM (SELECT migration AS name FROM dualwrite_authority WHERE migration = ?) a WHERE NOT EXISTS \
         (SELECT 1 FROM dualwrite_task t WHERE t.migration = a.name AND t.side = ?){}",
        DB::Adapter::DIALECT.upsert("migration, side", &[])
    );
    let subject = SqlValue::Text(subject.map(str::to_owned));
    let values = [
        kind.as_str().into(),
        subject.clone(),
        audit.actor.as_str().into(),
        reason_of(audit).as_str().into(),
        name.into(),
        kind.as_str().into(),
    ];
    if DB::Adapter::execute(conn, &sql, &values).await? == 0 {
        let sql = "SELECT count(*) FROM dualwrite_task WHERE migration = ? AND side = ? AND coalesce(subject, '') = \
                   coalesce(?, '')";
        let rows =
            DB::Adapter::fetch(conn, sql, &[name.into(), kind.as_str().into(), subject]).await?;
        let same = rows.first().map_or(Ok(0), |row| row.integer(0))? > 0;
        return Ok(Some(if same { Taken::Already } else { Taken::Nothing }));
    }
    record_left::<DB>(conn, name, audit, epoch).await?;
    Ok(Some(Taken::Done))
}

/// The record of a command that was left.
async fn record_left<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    audit: &NewRolloutCommand,
    epoch: Epoch,
) -> sqlx::Result<()> {
    let sql = "INSERT INTO dualwrite_command (migration, at, what, detail, actor, reason, epoch) \
               VALUES (?, {now}, ?, ?, ?, ?, ?)";
    let values = [
        name.into(),
        audit.kind.as_str().into(),
        SqlValue::Text(audit.detail.clone()),
        audit.actor.as_str().into(),
        reason_of(audit).as_str().into(),
        epoch.0.into(),
    ];
    DB::Adapter::execute(conn, sql, &values).await.map(drop)
}

/// Cut to what fits.
fn reason_of(audit: &NewRolloutCommand) -> String {
    audit.reason.chars().take(TEXT_CHARS_MAX).collect()
}

/// As [`row_of`] reads them.
const ROWS: &str = "SELECT a.migration, a.side, a.is_primary, a.epoch, a.closed, a.closed_by, a.closed_because, \
                    a.closed_until, r.report, {now} - r.reported_at, r.reported_at, r.verified \
                    FROM dualwrite_authority a JOIN dualwrite_relay r ON r.migration = a.migration ";
const COLUMNS: usize = 12;

impl<DB: Backend> ExactMigrations for SqlControl<DB> {
    fn exact_row<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<ExactRow>, Error>> {
        Box::pin(async move {
            let sql = format!("{ROWS}WHERE a.migration = ?");
            let rows = self.fetch(DOING, &sql, &[name.into()]).await?;
            let row = rows.first().map(row_of).transpose();
            row.map_err(|error| Error::database(DOING, error))
        })
    }

    fn names_and_exact(&self) -> BoxFuture<'_, Result<Named, Error>> {
        Box::pin(async move {
            let nothing = ["NULL"; COLUMNS - 1].join(", ");
            let sql = format!(
                "SELECT name, {nothing} FROM dualwrite_migration \
                 UNION ALL SELECT * FROM ({ROWS}ORDER BY a.migration LIMIT {ROWS_MAX}) e"
            );
            let (mut names, mut exact) = (Vec::new(), Vec::new());
            let doing = "reading the names";
            let failed = |error| Error::database(doing, error);
            for row in self.fetch(doing, &sql, &[]).await? {
                match row.is_null(1) {
                    true => names.push(row.text(0).map_err(failed)?.to_owned()),
                    false => exact.push(row_of(&row).map_err(failed)?),
                }
            }
            Ok((names, exact))
        })
    }

    fn exact_command<'a>(
        &'a self,
        name: &'a str,
        command: ExactCommand<'a>,
    ) -> BoxFuture<'a, Result<Taken, Error>> {
        Box::pin(self.leave(name, command))
    }
}
