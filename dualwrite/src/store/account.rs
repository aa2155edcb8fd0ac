//! How far a backfill has come, as operators and rollouts see it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use crate::control::settings::{BackfillSetting, BackfillSettings};
use crate::control::{BackfillProgress, WORKERS_SHOWN_MAX, WorkerProgress};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlRow, SqlValue};
use crate::stages::stage::Side;
use crate::store::ledger::{Ledger, Phase, State};

/// How many ranges are read of all migrations together.
const RANGES_MAX: u32 = 2_000;

impl Ledger<'_> {
    /// How far this phase has come.
    pub(crate) async fn progress<DB: Backend>(
        &self,
        conn: &mut DB::Connection,
    ) -> sqlx::Result<BackfillProgress> {
        let sql = format!(
            "SELECT {PROGRESS} {PROGRESS_FROM} WHERE b.migration = ? AND b.phase = ? AND b.generation = ?"
        );
        // Of the rest no keys are shown but those of the phase before.
        let phase = if self.phase == Phase::Rest { Phase::Back } else { self.phase };
        let rows = DB::Adapter::fetch(conn, &sql, &Ledger { phase, ..self.clone() }.id()).await?;
        match rows.first() {
            Some(row) => {
                let progress = progress_of(row)?;
                with_workers::<DB>(conn, self.migration, progress).await
            }
            None => Ok(BackfillProgress {
                side: self.phase.to(),
                generation: self.generation.0,
                total: 0,
                migrated: 0,
                skipped: 0,
                failed: 0,
                complete: false,
                paused: false,
                cancelled: false,
                throttled: None,
                rate: None,
                settings: BackfillSettings::default(),
                elapsed: Duration::ZERO,
                worked: Duration::ZERO,
                recent_keys: 0,
                recent: Duration::ZERO,
                batch: 0,
                workers: Vec::new(),
            }),
        }
    }
}

/// What is shown of a phase. Where keys were copied back before the rest, it is the keys that were copied,
/// and the state of the rest (`r`) when that has begun; and what was ordered between two phases (`n`).
const PROGRESS: &str = "b.generation, b.total, b.migrated, b.skipped, b.failed + COALESCE(r.failed, 0), \
     CASE WHEN n.state IN ('paused', 'cancelled') THEN n.state WHEN b.phase = 'old_back' AND b.state = 'complete' THEN COALESCE(r.state, 'running') \
     ELSE b.state END, b.phase, COALESCE(r.throttled, b.throttled), CASE WHEN r.state IS NULL THEN b.rate ELSE r.rate END, \
     COALESCE(CASE WHEN b.phase = 'old_back' THEN r.finished_at ELSE b.finished_at END, {now}) \
     - b.started_at, b.worked_us, b.migrated + b.skipped + b.failed - b.recent_done, b.worked_us - b.recent_us, b.batch_keys";
const PROGRESS_FROM: &str = "FROM dualwrite_backfill b LEFT JOIN dualwrite_backfill r ON b.phase = 'old_back' \
     AND r.phase = 'old' AND r.migration = b.migration AND r.generation = b.generation \
     LEFT JOIN dualwrite_backfill n ON n.phase = CASE WHEN b.phase LIKE 'old%' THEN 'old_next' \
     ELSE 'new_next' END AND n.migration = b.migration AND n.generation = b.generation";

fn progress_of(row: &SqlRow) -> sqlx::Result<BackfillProgress> {
    let state = State::of(row.optional_text(5)?);
    Ok(BackfillProgress {
        side: if row.text(6)?.starts_with("old") { Side::Old } else { Side::New },
        generation: row.unsigned(0)?,
        total: row.unsigned(1)?,
        migrated: row.unsigned(2)?,
        skipped: row.unsigned(3)?,
        failed: row.unsigned(4)?,
        complete: state == State::Complete,
        paused: state == State::Paused,
        cancelled: state == State::Cancelled,
        throttled: row.optional_text(7)?.map(str::to_owned),
        rate: row.optional_integer(8)?.and_then(|rate| u64::try_from(rate).ok()),
        settings: BackfillSettings::default(),
        elapsed: span(row.optional_integer(9)?.unwrap_or_default()),
        worked: Duration::from_micros(row.unsigned(10)?),
        recent_keys: row.unsigned(11)?,
        recent: Duration::from_micros(row.unsigned(12)?),
        batch: row.unsigned(13)?,
        workers: Vec::new(),
    })
}

/// The newest backfill of a migration.
pub(crate) async fn progress<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
) -> sqlx::Result<Option<BackfillProgress>> {
    let sql = format!(
        "SELECT {PROGRESS} {PROGRESS_FROM} WHERE b.migration = ? AND (b.phase IN ('new', 'old_back') OR b.phase = 'old' \
         AND NOT EXISTS (SELECT 1 FROM dualwrite_backfill k WHERE k.migration = b.migration \
         AND k.phase = 'old_back' AND k.generation = b.generation)) \
         ORDER BY b.started_at DESC, b.generation DESC LIMIT 1"
    );
    let rows = DB::Adapter::fetch(conn, &sql, &[migration.into()]).await?;
    match rows.first() {
        Some(row) => with_workers::<DB>(conn, migration, progress_of(row)?).await.map(Some),
        None => Ok(None),
    }
}

/// The newest backfill of each migration that has any, in two statements.
pub(crate) async fn progress_of_all<DB: Backend>(
    conn: &mut DB::Connection,
) -> sqlx::Result<HashMap<String, BackfillProgress>> {
    let sql = format!(
        "SELECT {PROGRESS}, b.migration {PROGRESS_FROM} WHERE (b.phase IN ('new', 'old_back') OR b.phase = 'old' \
         AND NOT EXISTS (SELECT 1 FROM dualwrite_backfill k WHERE k.migration = b.migration \
         AND k.phase = 'old_back' AND k.generation = b.generation)) \
         ORDER BY b.started_at DESC, b.generation DESC"
    );
    let mut all: HashMap<String, BackfillProgress> = HashMap::new();
    for row in &DB::Adapter::fetch(conn, &sql, &[]).await? {
        if let Entry::Vacant(vacant) = all.entry(row.text(14)?.to_owned()) {
            vacant.insert(progress_of(row)?);
        }
    }
    let sql = format!(
        "SELECT owner, cursor_key, last_key, done, expires_at - {{now}}, migration, generation, phase \
         FROM dualwrite_batch ORDER BY migration, number LIMIT {RANGES_MAX}"
    );
    for row in &DB::Adapter::fetch(conn, &sql, &[]).await? {
        let Some(progress) = all.get_mut(row.text(5)?) else { continue };
        let own = progress.generation == row.unsigned(6)?
            && row.text(7)?.starts_with(progress.side.as_str());
        if own && !progress.complete && progress.workers.len() < WORKERS_SHOWN_MAX as usize {
            progress.workers.push(worker_of(row, 0)?);
        }
    }
    Ok(all)
}

/// From this column on.
fn worker_of(row: &SqlRow, column: usize) -> sqlx::Result<WorkerProgress> {
    Ok(WorkerProgress {
        owner: row.text(column)?.to_owned(),
        after: row.optional_text(column + 1)?.map(str::to_owned),
        last: row.text(column + 2)?.to_owned(),
        done: row.unsigned(column + 3)?,
        lease_left: span(row.integer(column + 4)?),
    })
}

/// Adds the ranges that are claimed, whichever of its phases they belong to.
async fn with_workers<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    mut progress: BackfillProgress,
) -> sqlx::Result<BackfillProgress> {
    if progress.complete {
        return Ok(progress);
    }
    let side = progress.side;
    // Settings and ranges in one statement.
    let most = WORKERS_SHOWN_MAX as usize + BackfillSetting::ALL.len();
    let sql = format!(
        "SELECT 0, 0, name, NULL, '', value, 0 FROM dualwrite_setting \
         WHERE migration = ? AND side = ? AND generation = ? \
         UNION ALL SELECT 1, number, owner, cursor_key, last_key, done, expires_at - {{now}} \
         FROM dualwrite_batch WHERE migration = ? AND generation = ? AND phase LIKE ? \
         ORDER BY 1, 2 LIMIT {most}"
    );
    let generation = SqlValue::from(progress.generation);
    let values = [
        migration.into(),
        side.as_str().into(),
        generation.clone(),
        migration.into(),
        generation,
        Phase::of(side),
    ];
    for row in DB::Adapter::fetch(conn, &sql, &values).await? {
        if row.integer(0)? == 0 {
            let set = row.optional_integer(5)?.and_then(|value| u64::try_from(value).ok());
            if let Some(setting) = BackfillSetting::named(row.text(2)?) {
                progress.settings.set(setting, set);
            }
        } else if progress.workers.len() < WORKERS_SHOWN_MAX as usize {
            progress.workers.push(worker_of(&row, 2)?);
        }
    }
    Ok(progress)
}

/// Of a difference of times: none where the clock went back between them.
fn span(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}
