//! The audit of changes of the position.

use crate::control::AuditEvent;
use crate::database::{Backend, SqlRow, unexpected};
use crate::error::Error;
use crate::stages::position::{Epoch, Generation, Percent};
use crate::stages::stage::Stage;
use crate::store::sql::SqlControl;

impl<DB: Backend> SqlControl<DB> {
    pub(super) async fn events_of(&self, name: &str, limit: u32) -> Result<Vec<AuditEvent>, Error> {
        let doing = "reading the audit";
        let sql = format!(
            "SELECT at, actor, reason, from_stage, from_ramp, to_stage, to_ramp, epoch, generation, \
             overridden FROM dualwrite_event WHERE migration = ? ORDER BY epoch DESC LIMIT {limit}"
        );
        let rows = self.fetch(doing, &sql, &[name.into()]).await?;
        let events = rows.iter().map(event_of).collect::<sqlx::Result<_>>();
        events.map_err(|error| Error::database(doing, error).of(name))
    }
}

fn event_of(row: &SqlRow) -> sqlx::Result<AuditEvent> {
    let at = |column: usize| -> sqlx::Result<(Stage, Percent)> {
        let ramp = u16::try_from(row.integer(column + 1)?).ok();
        let ramp = ramp.and_then(|ramp| Percent::from_basis_points(ramp).ok());
        Ok((row.stage(column)?, ramp.ok_or_else(|| unexpected(column + 1, "a ramp"))?))
    };
    let ((from_stage, from_ramp), (to_stage, to_ramp)) = (at(3)?, at(5)?);
    Ok(AuditEvent {
        at: row.moment(0)?,
        actor: row.text(1)?.to_owned(),
        reason: row.text(2)?.to_owned(),
        from_stage,
        from_ramp,
        to_stage,
        to_ramp,
        epoch: Epoch(row.unsigned(7)?),
        generation: Generation(row.unsigned(8)?),
        overridden: row
            .text(9)?
            .split(',')
            .filter(|name| !name.is_empty())
            .map(String::from)
            .collect(),
    })
}
