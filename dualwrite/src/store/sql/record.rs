//! The short [`Record`] of a migration, which every instance reads.

use std::time::SystemTime;

use crate::control::Record;
use crate::database::{SqlRow, position_of};
use crate::error::{Closed, Maintenance};
use crate::stages::lineage::Token;
use crate::stages::position::{Epoch, Generation, Percent};
use crate::stages::sample::SampleOverride;

pub(super) type Conn<DB> = <DB as sqlx::Database>::Connection;

/// The columns of a [`Record`], and the joins that they need. Whether there is a row is asked of indexes, so that
/// it costs the same however many there are.
pub(super) const RECORD_COLUMNS: &str = "m.name, m.stage, m.ramp, m.epoch, m.generation, m.stage_epoch, \
     CASE WHEN EXISTS (SELECT 1 FROM dualwrite_stale s WHERE s.migration = m.name) THEN NULL \
     ELSE m.verified_generation END, b.state, \
     CASE WHEN EXISTS (SELECT 1 FROM dualwrite_dirty d WHERE d.migration = m.name) \
     OR EXISTS (SELECT 1 FROM dualwrite_unsettled u WHERE u.migration = m.name) \
     OR EXISTS (SELECT 1 FROM dualwrite_mark k WHERE k.migration = m.name) THEN 1 ELSE 0 END, \
     CASE WHEN EXISTS (SELECT 1 FROM dualwrite_failure f WHERE f.migration = m.name AND f.side = 'new') \
     THEN 1 ELSE 0 END, m.old_generation, \
     (SELECT p.state FROM dualwrite_plan p WHERE p.migration = m.name), \
     CASE WHEN EXISTS (SELECT 1 FROM dualwrite_failure f WHERE f.migration = m.name) THEN 1 ELSE 0 END, \
     (SELECT f.next_attempt_at FROM dualwrite_failure f WHERE f.migration = m.name \
     ORDER BY f.migration, f.next_attempt_at LIMIT 1) - {now}, \
     (SELECT min(t.runner_until) FROM dualwrite_task t \
     WHERE t.migration = m.name AND t.state = 'wanted') - {now}, m.token, m.from_token, m.fence, \
     (SELECT k.actor FROM dualwrite_kill k WHERE k.migration = m.name), m.closed, m.closed_by, m.closed_because, m.closed_until, \
     (SELECT s.read_share FROM dualwrite_sample s WHERE s.migration = m.name), \
     (SELECT s.write_share FROM dualwrite_sample s WHERE s.migration = m.name), {now}";
pub(super) const RECORD_FROM: &str = "FROM dualwrite_migration m LEFT JOIN dualwrite_backfill b \
     ON b.migration = m.name AND b.phase = 'new' AND b.generation = m.generation";

/// A statement of these.
pub(super) fn record_sql(condition: &str) -> String {
    format!("SELECT {RECORD_COLUMNS} {RECORD_FROM} {condition}")
}

/// Its column with the time of the database.
pub(super) const READ_AT: usize = 25;

pub(super) fn record_of(row: &SqlRow) -> sqlx::Result<Record> {
    let verified = row.optional_integer(6)?;
    let position = position_of(row, 1, CLOSED)?;
    Ok(Record {
        name: row.text(0)?.to_owned(),
        fence: row.unsigned(17)?,
        position,
        maintenance: maintenance_of(row, position.closed)?,
        token: Token(row.unsigned(15)?),
        from_token: Token(row.unsigned(16)?),
        generation: Generation(row.unsigned(4)?),
        stage_epoch: Epoch(row.unsigned(5)?),
        verified: verified.and_then(|value| u64::try_from(value).ok()).map(Generation),
        backfilled: row.optional_text(7)? == Some("complete"),
        dirty: row.integer(8)? != 0,
        has_dead_letter: row.integer(9)? != 0,
        old_generation: Generation(row.unsigned(10)?),
        planned: row.optional_text(11)? == Some("running"),
        letters: row.integer(12)? != 0,
        due: row.optional_integer(13)?.is_some_and(|wait| wait <= 0),
        started: row.optional_integer(14)?.is_some_and(|wait| wait <= 0),
        wanted: row.optional_integer(14)?.is_some(),
        killed: row.optional_text(18)?.map(str::to_owned),
        sample: SampleOverride { reads: share(row, SAMPLE)?, writes: share(row, SAMPLE + 1)? },
    })
}

/// Its column with what is closed; who, why and until when follow.
const CLOSED: usize = 19;

/// Its column with the share of reads that operators want compared; that of writes follows.
const SAMPLE: usize = 23;

fn share(row: &SqlRow, column: usize) -> sqlx::Result<Option<Percent>> {
    let points = row.optional_integer(column)?.and_then(|points| u16::try_from(points).ok());
    Ok(points.and_then(|points| Percent::from_basis_points(points).ok()))
}

fn maintenance_of(row: &SqlRow, closed: Closed) -> sqlx::Result<Option<Maintenance>> {
    if !closed.is_closed() {
        return Ok(None);
    }
    let text = |column| row.optional_text(column).map(|text| text.unwrap_or_default().to_owned());
    let (actor, reason) = (text(CLOSED + 1)?, text(CLOSED + 2)?);
    let until = row.optional_moment(CLOSED + 3)?.unwrap_or(SystemTime::UNIX_EPOCH);
    Ok(Some(Maintenance { closed, actor, reason, until }))
}
