//! A short look at the control tables: whether a poll would find anything that the last one did not. An idle instance
//! on a database that does not notify asks this between two heartbeats; it costs the server a fifth of a poll.

use crate::control::Fingerprint;
use crate::database::{Backend, SqlRow};
use crate::error::Error;
use crate::store::sql::SqlControl;

const DOING: &str = "asking whether a position has changed";

/// What an operator starts or kills is seen at once. The rest of what a poll reads is as old as the last heartbeat, at
/// the most, as on a database that notifies: keys to be repaired, dead letters, a backfill that is complete, a proof that
/// was withdrawn. MariaDB plans each subquery at each execution, so one more costs as much as reading another table.
const SQL: &str = "SELECT m.epoch, m.token, m.generation, m.verified_generation, {now}, \
     CASE WHEN EXISTS (SELECT 1 FROM dualwrite_kill) OR EXISTS (SELECT 1 FROM dualwrite_task WHERE state = 'wanted') \
     OR EXISTS (SELECT 1 FROM dualwrite_plan WHERE state = 'running') THEN 1 ELSE 0 END \
     FROM dualwrite_migration m ORDER BY m.name";

impl<DB: Backend> SqlControl<DB> {
    pub(super) async fn fingerprint_in(&self) -> Result<Fingerprint, Error> {
        let rows = self.heartbeats.fetch(DOING, SQL, &[]).await?;
        let read = || {
            let migrations = rows.iter().map(read).collect::<sqlx::Result<_>>()?;
            let Some(first) = rows.first() else {
                return Ok(Fingerprint { migrations, ..Fingerprint::default() });
            };
            Ok(Fingerprint {
                migrations,
                at_us: Some(first.integer(4)?),
                active: first.integer(5)? != 0,
            })
        };
        read().map_err(|error: sqlx::Error| Error::database(DOING, error))
    }
}

fn read(row: &SqlRow) -> sqlx::Result<[Option<i64>; 4]> {
    Ok([
        row.optional_integer(0)?,
        row.optional_integer(1)?,
        row.optional_integer(2)?,
        row.optional_integer(3)?,
    ])
}
