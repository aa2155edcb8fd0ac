//! Commands to a rollout in a SQL database: each in the transaction of the change that makes it come true.

use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlRow, SqlValue, unexpected};
use crate::error::Error;
use crate::rollout::command::{NewRolloutCommand, RolloutCommand, RolloutCommandKind};
use crate::stages::position::Epoch;
use crate::store::changed::tell;
use crate::store::sql::{Conn, SqlControl};

/// What fits into the columns of every database.
const REASON_CHARS_MAX: usize = 2_000;

impl<DB: Backend> SqlControl<DB> {
    /// Makes a change, one statement, and records the order in the same transaction. Returns whether the
    /// statement changed anything; where not, nothing is recorded.
    pub(super) async fn change_and_record(
        &self,
        doing: &'static str,
        name: &str,
        (sql, values): (&str, &[SqlValue]),
        audit: &NewRolloutCommand,
    ) -> Result<bool, Error> {
        let changing = self.working.within(doing, async {
            let mut lent = self.working.begin().await?;
            if DB::Adapter::execute(&mut lent, sql, values).await? == 0 {
                lent.rollback().await?;
                return Ok(false);
            }
            record::<DB>(&mut lent, name, audit).await?;
            tell::<DB>(&mut lent, name).await?;
            lent.commit().await?;
            Ok(true)
        });
        changing.await.map_err(|error| error.of(name))
    }

    pub(super) async fn recorded_of(
        &self,
        name: &str,
        limit: u32,
    ) -> Result<Vec<RolloutCommand>, Error> {
        let doing = "reading the commands";
        let sql = format!(
            "SELECT at, what, approval, actor, reason, epoch, detail FROM dualwrite_command \
             WHERE migration = ? ORDER BY id DESC LIMIT {limit}"
        );
        let rows = self.fetch(doing, &sql, &[name.into()]).await?;
        let orders = rows.iter().map(order_of).collect::<sqlx::Result<_>>();
        orders.map_err(|error| Error::database(doing, error).of(name))
    }
}

pub(super) async fn record<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    audit: &NewRolloutCommand,
) -> sqlx::Result<()> {
    let sql = "INSERT INTO dualwrite_command (migration, at, what, approval, detail, actor, reason, epoch) \
               SELECT m.name, {now}, ?, ?, ?, ?, ?, m.epoch FROM dualwrite_migration m WHERE m.name = ?";
    let reason = audit.reason.chars().take(REASON_CHARS_MAX).collect();
    let values = [
        audit.kind.as_str().into(),
        SqlValue::Text(audit.approval.clone()),
        SqlValue::Text(audit.detail.clone()),
        audit.actor.as_str().into(),
        SqlValue::Text(Some(reason)),
        name.into(),
    ];
    DB::Adapter::execute(conn, sql, &values).await.map(drop)
}

fn order_of(row: &SqlRow) -> sqlx::Result<RolloutCommand> {
    let kind = RolloutCommandKind::from_name(row.text(1)?);
    Ok(RolloutCommand {
        at: row.moment(0)?,
        kind: kind.ok_or_else(|| unexpected(1, "a command to a rollout"))?,
        approval: row.optional_text(2)?.map(str::to_owned),
        actor: row.text(3)?.to_owned(),
        reason: row.text(4)?.to_owned(),
        epoch: Epoch(row.unsigned(5)?),
        detail: row.optional_text(6)?.map(str::to_owned),
    })
}
