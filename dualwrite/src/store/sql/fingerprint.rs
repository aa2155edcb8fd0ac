//! Short looks at the control tables: whether a poll would find anything that the last one did not. An idle instance
//! on a database that does not notify asks for the fingerprint between two heartbeats. It reads one row, however many
//! migrations there are. With a heartbeat, after which positions are trusted for a lease, it reads the positions
//! themselves. A whole poll costs the server five times as much: it looks for each migration into eight tables.

use crate::control::{Fingerprint, Positions};
use crate::database::{Backend, SqlRow};
use crate::error::Error;
use crate::store::sql::SqlControl;

const DOING: &str = "asking whether a position has changed";

/// What an operator moves, starts or kills is seen at once: see `store/changed.rs`. The rest of what a poll reads
/// is as old as the last heartbeat, at the most, as on a database that notifies: keys to be repaired, dead letters, a
/// backfill that is complete, a proof that was withdrawn.
const SQL: &str = "SELECT token, {now} FROM dualwrite_change WHERE id = 1";

/// Most of these tables are asked once whether they have a row. Dead letters may stay for long: there each migration is looked
/// up in an index. MariaDB plans each subquery at each execution.
const POSITIONS: &str = "SELECT m.epoch, m.token, m.generation, m.verified_generation, \
     (SELECT f.next_attempt_at FROM dualwrite_failure f WHERE f.migration = m.name \
     ORDER BY f.migration, f.next_attempt_at LIMIT 1), \
     CASE WHEN EXISTS (SELECT 1 FROM dualwrite_failure f WHERE f.migration = m.name AND f.side = 'new') \
     THEN 1 ELSE 0 END, {now}, \
     CASE WHEN EXISTS (SELECT 1 FROM dualwrite_dirty) OR EXISTS (SELECT 1 FROM dualwrite_unsettled) \
     OR EXISTS (SELECT 1 FROM dualwrite_mark) OR EXISTS (SELECT 1 FROM dualwrite_kill) OR EXISTS (SELECT 1 FROM dualwrite_task WHERE state = 'wanted') \
     OR EXISTS (SELECT 1 FROM dualwrite_plan WHERE state = 'running') THEN 1 ELSE 0 END, \
     (SELECT c.token FROM dualwrite_change c WHERE c.id = 1), (SELECT count(*) FROM dualwrite_stale), \
     (SELECT max(s.at) FROM dualwrite_stale s), \
     (SELECT count(*) FROM dualwrite_backfill b WHERE b.state = 'complete') \
     FROM dualwrite_migration m ORDER BY m.name";

const READING: &str = "reading where the migrations stand";

impl<DB: Backend> SqlControl<DB> {
    /// `None` where something is under way or waits to be done, and without a migration.
    pub(super) async fn positions_in(&self) -> Result<Option<(Positions, i64)>, Error> {
        let rows = self.heartbeats.fetch(READING, POSITIONS, &[]).await?;
        positions_of(&rows).map_err(|error| Error::database(READING, error))
    }

    /// `None` where nothing was ever changed, or somebody has removed the row.
    pub(super) async fn fingerprint_in(&self) -> Result<Option<Fingerprint>, Error> {
        let rows = self.heartbeats.fetch(DOING, SQL, &[]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let read = || Ok(Fingerprint { token: row.integer(0)?, at_us: row.integer(1)? });
        read().map(Some).map_err(|error: sqlx::Error| Error::database(DOING, error))
    }
}

fn positions_of(rows: &[SqlRow]) -> sqlx::Result<Option<(Positions, i64)>> {
    let Some(first) = rows.first() else { return Ok(None) };
    let (now, busy) = (first.integer(6)?, first.integer(7)? != 0);
    let migrations = rows.iter().map(|row| columns(row, 0)).collect::<sqlx::Result<Vec<_>>>()?;
    let is_due = |columns: &[Option<i64>; 6]| columns[4].is_some_and(|next| next <= now);
    if busy || migrations.iter().any(is_due) {
        return Ok(None);
    }
    Ok(Some((Positions { migrations, others: columns(first, 8)? }, now)))
}

/// So many columns from this one on.
fn columns<const N: usize>(row: &SqlRow, from: usize) -> sqlx::Result<[Option<i64>; N]> {
    let mut found = [None; N];
    for (number, column) in found.iter_mut().enumerate() {
        *column = row.optional_integer(from + number)?;
    }
    Ok(found)
}
