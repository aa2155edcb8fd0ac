//! A short look at the control tables: whether a poll would find anything that the last one did not. An idle instance
//! on a database that does not notify asks this between two heartbeats; it costs the server a fifth of a poll.

use crate::control::Fingerprint;
use crate::database::{Backend, SqlRow};
use crate::error::Error;
use crate::store::sql::SqlControl;

const DOING: &str = "asking whether a position has changed";

/// What somebody works on is read with every poll. The rest of what a poll reads is as old as the last heartbeat, at
/// the most: whether a proof was withdrawn.
const SQL: &str = "SELECT m.epoch, m.token, m.generation, m.verified_generation, {now}, \
     (SELECT s.read_share * 100000 + s.write_share FROM dualwrite_sample s WHERE s.migration = m.name), \
     CASE WHEN EXISTS (SELECT 1 FROM dualwrite_dirty) OR EXISTS (SELECT 1 FROM dualwrite_failure) \
     OR EXISTS (SELECT 1 FROM dualwrite_unsettled) OR EXISTS (SELECT 1 FROM dualwrite_mark) \
     OR EXISTS (SELECT 1 FROM dualwrite_kill) OR EXISTS (SELECT 1 FROM dualwrite_task WHERE state = 'wanted') \
     OR EXISTS (SELECT 1 FROM dualwrite_plan WHERE state = 'running') THEN 1 ELSE 0 END, \
     (SELECT count(*) FROM dualwrite_backfill WHERE state = 'complete') \
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
                active: first.integer(6)? != 0,
                backfilled: first.integer(7)?,
            })
        };
        read().map_err(|error: sqlx::Error| Error::database(DOING, error))
    }
}

fn read(row: &SqlRow) -> sqlx::Result<[Option<i64>; 5]> {
    Ok([
        row.optional_integer(0)?,
        row.optional_integer(1)?,
        row.optional_integer(2)?,
        row.optional_integer(3)?,
        row.optional_integer(5)?,
    ])
}
