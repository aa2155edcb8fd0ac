//! How far a backfill has come, as operators and rollouts see it.

use crate::control::{BackfillProgress, WORKERS_SHOWN_MAX, WorkerProgress};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlRow};
use crate::stages::stage::Side;
use crate::store::ledger::{Ledger, Part, State};

impl Ledger<'_> {
    /// How far this part has come.
    pub(crate) async fn progress<DB: Backend>(
        &self,
        conn: &mut DB::Connection,
    ) -> sqlx::Result<BackfillProgress> {
        let sql =
            format!("SELECT {PROGRESS} WHERE b.migration = ? AND b.part = ? AND b.generation = ?");
        // Of the rest no keys are shown but those of the part before.
        let part = if self.part == Part::Rest { Part::Back } else { self.part };
        let rows = DB::Adapter::fetch(conn, &sql, &Ledger { part, ..self.clone() }.id()).await?;
        match rows.first() {
            Some(row) => {
                let progress = progress_of(row)?;
                with_workers::<DB>(conn, self.migration, progress).await
            }
            None => Ok(BackfillProgress {
                side: self.part.to(),
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
                elapsed_us: 0,
                workers: Vec::new(),
            }),
        }
    }
}

/// What is shown of a part. Where keys were copied back before the rest, it is the keys that were copied,
/// and the state of the rest (`r`) when that has begun; and what was ordered between two parts (`n`).
const PROGRESS: &str = "b.generation, b.total, b.migrated, b.skipped, b.failed + COALESCE(r.failed, 0), \
     CASE WHEN n.state IN ('paused', 'cancelled') THEN n.state WHEN b.part = 'old_back' AND b.state = 'complete' THEN COALESCE(r.state, 'running') \
     ELSE b.state END, b.part, COALESCE(r.throttled, b.throttled), CASE WHEN r.state IS NULL THEN b.rate ELSE r.rate END, \
     COALESCE(CASE WHEN b.part = 'old_back' THEN r.finished_at ELSE b.finished_at END, {now}) \
     - b.started_at \
     FROM dualwrite_backfill b LEFT JOIN dualwrite_backfill r ON b.part = 'old_back' \
     AND r.part = 'old' AND r.migration = b.migration AND r.generation = b.generation \
     LEFT JOIN dualwrite_backfill n ON n.part = CASE WHEN b.part LIKE 'old%' THEN 'old_next' \
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
        elapsed_us: row.optional_integer(9)?.and_then(|us| u64::try_from(us).ok()).unwrap_or(0),
        workers: Vec::new(),
    })
}

/// The newest backfill of a migration.
pub(crate) async fn progress<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
) -> sqlx::Result<Option<BackfillProgress>> {
    let sql = format!(
        "SELECT {PROGRESS} WHERE b.migration = ? AND (b.part IN ('new', 'old_back') OR b.part = 'old' \
         AND NOT EXISTS (SELECT 1 FROM dualwrite_backfill k WHERE k.migration = b.migration \
         AND k.part = 'old_back' AND k.generation = b.generation)) \
         ORDER BY b.started_at DESC, b.generation DESC LIMIT 1"
    );
    let rows = DB::Adapter::fetch(conn, &sql, &[migration.into()]).await?;
    match rows.first() {
        Some(row) => with_workers::<DB>(conn, migration, progress_of(row)?).await.map(Some),
        None => Ok(None),
    }
}

/// Adds the ranges that are claimed, whichever of its parts they belong to.
async fn with_workers<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    mut progress: BackfillProgress,
) -> sqlx::Result<BackfillProgress> {
    if progress.complete {
        return Ok(progress);
    }
    let side = progress.side;
    let sql = format!(
        "SELECT owner, cursor_key, last_key, done, expires_at - {{now}} FROM dualwrite_batch \
         WHERE migration = ? AND generation = ? AND part LIKE ? ORDER BY number \
         LIMIT {WORKERS_SHOWN_MAX}"
    );
    let values = [migration.into(), progress.generation.into(), Part::of(side)];
    for row in DB::Adapter::fetch(conn, &sql, &values).await? {
        progress.workers.push(WorkerProgress {
            owner: row.text(0)?.to_owned(),
            after: row.optional_text(1)?.map(str::to_owned),
            last: row.text(2)?.to_owned(),
            done: row.unsigned(3)?,
            lease_left_us: u64::try_from(row.integer(4)?).unwrap_or(0),
        });
    }
    Ok(progress)
}
