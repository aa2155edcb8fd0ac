//! What the control tables know of a migration: the short [`Record`] that every instance reads, and the
//! [`Facts`] that gates are judged by.

use std::time::Duration;

use crate::control::Record;
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlRow, position_of};
use crate::error::Error;
use crate::stages::facts::{Facts, InstanceReport};
use crate::stages::hazard::Hazard;
use crate::stages::position::{Epoch, Generation};
use crate::stages::stale::{StaleKind, StaleMark};
use crate::state::unknown_migration;
use crate::store::sql::Conn;
use crate::store::sql::hazards::{READ, hazard_of};

/// The columns of a [`Record`], and the joins that they need.
pub(super) const RECORD: &str = "SELECT m.name, m.stage, m.ramp, m.epoch, m.generation, m.stage_epoch, \
     CASE WHEN EXISTS (SELECT 1 FROM dualwrite_stale s WHERE s.migration = m.name) THEN NULL \
     ELSE m.verified_generation END, b.state, \
     (SELECT min(d.side) FROM dualwrite_dirty d WHERE d.migration = m.name), \
     (SELECT min(f.generation) FROM dualwrite_failure f \
     WHERE f.migration = m.name AND f.side = 'new'), m.old_generation, \
     (SELECT p.state FROM dualwrite_plan p WHERE p.migration = m.name), \
     (SELECT min(f.side) FROM dualwrite_failure f WHERE f.migration = m.name), \
     (SELECT min(f.next_attempt_at) FROM dualwrite_failure f WHERE f.migration = m.name) - {now}, \
     (SELECT min(t.runner_until) FROM dualwrite_task t \
     WHERE t.migration = m.name AND t.state = 'wanted') - {now} \
     FROM dualwrite_migration m LEFT JOIN dualwrite_backfill b \
     ON b.migration = m.name AND b.part = 'new' AND b.generation = m.generation";

pub(super) fn record_of(row: &SqlRow) -> sqlx::Result<Record> {
    let verified = row.optional_integer(6)?;
    Ok(Record {
        name: row.text(0)?.to_owned(),
        position: position_of(row, 1)?,
        generation: Generation(row.unsigned(4)?),
        stage_epoch: Epoch(row.unsigned(5)?),
        verified: verified.and_then(|value| u64::try_from(value).ok()).map(Generation),
        backfilled: row.optional_text(7)? == Some("complete"),
        dirty: row.optional_text(8)?.is_some(),
        buried: row.optional_integer(9)?.is_some(),
        old_generation: Generation(row.unsigned(10)?),
        planned: row.optional_text(11)? == Some("running"),
        letters: row.optional_text(12)?.is_some(),
        due: row.optional_integer(13)?.is_some_and(|wait| wait <= 0),
        started: row.optional_integer(14)?.is_some_and(|wait| wait <= 0),
    })
}

pub(super) async fn facts<DB: Backend>(conn: &mut Conn<DB>, name: &str) -> Result<Facts, Error> {
    let failed = |error| Error::database("reading what the gates need", error).of(name);
    let sql = format!("{RECORD} WHERE m.name = ?");
    let rows = DB::Adapter::fetch(conn, &sql, &[name.into()]).await.map_err(failed)?;
    let row = rows.first().ok_or_else(|| unknown_migration(name))?;
    let record = record_of(row).map_err(failed)?;
    let sql = "SELECT {now} - stage_at, \
               (SELECT count(*) FROM dualwrite_dirty d WHERE d.migration = name AND d.side = 'old'), \
               (SELECT count(*) FROM dualwrite_dirty d WHERE d.migration = name AND d.side = 'new'), \
               (SELECT count(*) - count(f.waived_at) FROM dualwrite_failure f \
               WHERE f.migration = name AND f.side = 'new'), \
               (SELECT count(*) - count(f.waived_at) FROM dualwrite_failure f \
               WHERE f.migration = name AND f.side = 'old'), \
               (SELECT b.state FROM dualwrite_backfill b WHERE b.migration = name \
               AND b.part = 'old' AND b.generation = old_generation), \
               CASE WHEN EXISTS (SELECT 1 FROM dualwrite_stale s WHERE s.migration = name) THEN NULL \
               ELSE old_verified_generation END, \
               {now} - (SELECT (max(u.minute) + 1) * 60000000 FROM dualwrite_unaware u \
               WHERE u.migration = name AND u.minute > 0), \
               (SELECT count(f.waived_at) FROM dualwrite_failure f \
               WHERE f.migration = name AND f.side = 'new'), \
               (SELECT count(f.waived_at) FROM dualwrite_failure f \
               WHERE f.migration = name AND f.side = 'old') \
               FROM dualwrite_migration WHERE name = ?";
    let counts = DB::Adapter::fetch(conn, sql, &[name.into()]).await.map_err(failed)?;
    let count =
        |column| counts[0].integer(column).map(|n| u64::try_from(n).unwrap_or(0)).map_err(failed);
    let sql = "SELECT id, release_name, seen_epoch, drained_epoch, min_stage, max_stage, lazy, wanted, killed_by \
               FROM dualwrite_instance WHERE migration = ? AND expires_at > {now} ORDER BY id";
    let rows = DB::Adapter::fetch(conn, sql, &[name.into()]).await.map_err(failed)?;
    let instances = rows.iter().map(instance_of).collect::<sqlx::Result<_>>().map_err(failed)?;
    let optional = |column| counts[0].optional_integer(column).map_err(failed);
    let unsigned = |value: i64| u64::try_from(value).unwrap_or(0);
    let sql = "SELECT name FROM dualwrite_approval WHERE migration = ? AND stage_epoch = ?";
    let approvals =
        DB::Adapter::fetch(conn, sql, &[name.into(), record.stage_epoch.0.into()]).await;
    let sql = "SELECT release_name FROM dualwrite_release WHERE migration = ? AND gone_at IS NULL";
    let releases = DB::Adapter::fetch(conn, sql, &[name.into()]).await;
    Ok(Facts {
        old_generation: record.old_generation,
        old_backfilled: counts[0].optional_text(5).map_err(failed)? == Some("complete"),
        old_verified: optional(6)?.map(unsigned).map(Generation),
        old_dead_letters: count(4)?,
        old_waived: count(9)?,
        stale: stale::<DB>(conn, name).await.map_err(failed)?,
        hazards: hazards::<DB>(conn, name).await.map_err(failed)?,
        approvals: texts(approvals).map_err(failed)?,
        releases: texts(releases).map_err(failed)?,
        unaware: optional(7)?.map(unsigned).map(Duration::from_micros),
        position: record.position,
        generation: record.generation,
        stage_epoch: record.stage_epoch,
        stage_age: Duration::from_micros(count(0)?),
        backfilled: record.backfilled,
        verified: record.verified,
        dirty_old: count(1)?,
        dirty_new: count(2)?,
        dead_letters: count(3)?,
        waived: count(8)?,
        instances,
    })
}

async fn hazards<DB: Backend>(conn: &mut Conn<DB>, name: &str) -> sqlx::Result<Vec<Hazard>> {
    let rows = DB::Adapter::fetch(conn, READ, &[name.into()]).await?;
    rows.iter().map(hazard_of).collect()
}

/// Why the sides may differ, one mark of each kind.
async fn stale<DB: Backend>(conn: &mut Conn<DB>, name: &str) -> sqlx::Result<Vec<StaleMark>> {
    let sql = "SELECT kind, max(at) FROM dualwrite_stale WHERE migration = ? \
               GROUP BY kind ORDER BY kind";
    let rows = DB::Adapter::fetch(conn, sql, &[name.into()]).await?;
    let mark = |row: &SqlRow| {
        Ok(StaleMark { kind: StaleKind::named(row.text(0)?), at_us: row.integer(1)? })
    };
    rows.iter().map(mark).collect()
}

fn texts(rows: sqlx::Result<Vec<SqlRow>>) -> sqlx::Result<Vec<String>> {
    rows?.iter().map(|row| row.text(0).map(str::to_owned)).collect()
}

fn instance_of(row: &SqlRow) -> sqlx::Result<InstanceReport> {
    Ok(InstanceReport {
        id: row.text(0)?.to_owned(),
        release: row.text(1)?.to_owned(),
        seen: Epoch(row.unsigned(2)?),
        drained: Epoch(row.unsigned(3)?),
        min_stage: row.stage(4)?,
        max_stage: row.stage(5)?,
        lazy: row.integer(6)? != 0,
        wanted: row.optional_text(7)?.map(str::to_owned),
        killed_by: row.optional_text(8)?.map(str::to_owned),
    })
}
