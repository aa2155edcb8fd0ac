//! What the control tables keep of a backfill: its range, the ranges that workers claimed, the counters.
//! Every function works inside the transaction of its caller, so a checkpoint and its rows commit
//! together.

use std::time::Duration;

use super::decide::retry_after;
use crate::backend::Backend;
use crate::backend::sealed::Adapter as _;
use crate::backend::{SqlRow, SqlValue};
use crate::control::{BackfillProgress, Order, WORKERS_SHOWN_MAX, WorkerProgress};
use crate::copy::Copied;
use crate::key::EncodedKey;
use crate::position::Generation;
use crate::stage::Side;

/// Dead letters that one statement takes out.
const UNBURIED_AT_ONCE: usize = 200;

/// What a backfill runs over, by the side that is copied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Keys that this side has and the other has not: left from a time when it was not written.
    Strays(Side),
    /// The keys of the other side.
    All(Side),
}

impl Part {
    pub(crate) fn to(self) -> Side {
        match self {
            Self::Strays(side) | Self::All(side) => side,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Strays(Side::New) => "new_strays",
            Self::Strays(Side::Old) => "old_strays",
            Self::All(side) => side.as_str(),
        }
    }
}

/// One part of the backfill of one generation.
#[derive(Clone, Debug)]
pub(crate) struct Ledger<'a> {
    pub(crate) migration: &'a str,
    pub(crate) part: Part,
    pub(crate) generation: Generation,
    pub(crate) owner: &'a str,
    pub(crate) lease: Duration,
}

/// A range of keys that this worker holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) number: u64,
    pub(crate) after: Option<EncodedKey>,
    pub(crate) last: EncodedKey,
}

/// What is to be done, as of the transaction that asks.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    pub(crate) generation: Generation,
    pub(crate) state: State,
    /// Keys a second, of all workers together.
    pub(crate) rate: Option<u64>,
    pub(crate) workers: u64,
    /// The hour of the day, UTC.
    pub(crate) hour: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Or not begun.
    Running,
    Paused,
    Cancelled,
    Complete,
}

impl State {
    fn of(text: Option<&str>) -> Self {
        match text {
            Some("paused") => Self::Paused,
            Some("cancelled") => Self::Cancelled,
            Some("complete") => Self::Complete,
            _ => Self::Running,
        }
    }
}

/// The head of a backfill, locked.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) claimed: Option<EncodedKey>,
    pub(crate) range_end: Option<EncodedKey>,
    pub(crate) batches: u64,
    pub(crate) complete: bool,
}

fn optional_key(row: &SqlRow, column: usize) -> sqlx::Result<Option<EncodedKey>> {
    Ok(row.optional_text(column)?.map(|text| EncodedKey(text.to_owned())))
}

impl Ledger<'_> {
    fn id(&self) -> [SqlValue; 3] {
        [self.migration.into(), self.part.as_str().into(), self.generation.0.into()]
    }

    fn values<const N: usize>(&self, first: [SqlValue; N]) -> Vec<SqlValue> {
        first.into_iter().chain(self.id()).collect()
    }

    fn lease_us(&self) -> SqlValue {
        u64::try_from(self.lease.as_micros()).unwrap_or(u64::MAX).into()
    }

    /// Locks and reads the head; `None` before the start.
    pub(crate) async fn head<DB: Backend>(
        &self,
        conn: &mut DB::Connection,
    ) -> sqlx::Result<Option<Head>> {
        let sql = format!(
            "SELECT claimed, range_end, batches, state FROM dualwrite_backfill \
             WHERE migration = ? AND part = ? AND generation = ?{}",
            DB::Adapter::DIALECT.for_update
        );
        let rows = DB::Adapter::fetch(conn, &sql, &self.id()).await?;
        rows.first()
            .map(|row| {
                Ok(Head {
                    claimed: optional_key(row, 0)?,
                    range_end: optional_key(row, 1)?,
                    batches: row.unsigned(2)?,
                    complete: row.text(3)? == "complete",
                })
            })
            .transpose()
    }

    /// Fixes the range. A worker that comes second finds it fixed.
    pub(crate) async fn start<DB: Backend>(
        &self,
        conn: &mut DB::Connection,
        range_end: Option<&EncodedKey>,
        total: u64,
        rate: Option<u64>,
    ) -> sqlx::Result<()> {
        let sql = format!(
            "INSERT INTO dualwrite_backfill (range_end, total, rate, migration, part, generation, \
             state, started_at) VALUES (?, ?, ?, ?, ?, ?, 'running', {{now}}){}",
            DB::Adapter::DIALECT.upsert("migration, part, generation", &[])
        );
        let end = SqlValue::Text(range_end.map(|key| key.0.clone()));
        DB::Adapter::execute(conn, &sql, &self.values([end, total.into(), limit(rate)]))
            .await
            .map(drop)
    }

    /// Takes over a range whose worker's lease ran out.
    pub(crate) async fn take_over<DB: Backend>(
        &self,
        conn: &mut DB::Connection,
    ) -> sqlx::Result<Option<Range>> {
        let sql = format!(
            "SELECT number, cursor_key, last_key FROM dualwrite_batch \
             WHERE migration = ? AND part = ? AND generation = ? AND expires_at < {{now}} ORDER BY number LIMIT 1{}",
            DB::Adapter::DIALECT.for_update_skip
        );
        let rows = DB::Adapter::fetch(conn, &sql, &self.id()).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let range = Range {
            number: row.unsigned(0)?,
            after: optional_key(row, 1)?,
            last: EncodedKey(row.text(2)?.to_owned()),
        };
        let sql = "UPDATE dualwrite_batch SET owner = ?, expires_at = {now} + ? \
                   WHERE number = ? AND migration = ? AND part = ? AND generation = ?";
        let values = self.values([self.owner.into(), self.lease_us(), range.number.into()]);
        DB::Adapter::execute(conn, sql, &values).await?;
        Ok(Some(range))
    }

    /// Claims the next range, behind the head's lock.
    pub(crate) async fn claim<DB: Backend>(
        &self,
        conn: &mut DB::Connection,
        head: &Head,
        last: &EncodedKey,
    ) -> sqlx::Result<Range> {
        let range =
            Range { number: head.batches + 1, after: head.claimed.clone(), last: last.clone() };
        let sql = "INSERT INTO dualwrite_batch \
                   (number, cursor_key, last_key, owner, expires_at, migration, part, generation) \
                   VALUES (?, ?, ?, ?, {now} + ?, ?, ?, ?)";
        let after = SqlValue::Text(range.after.as_ref().map(|key| key.0.clone()));
        let first = [
            range.number.into(),
            after,
            last.0.as_str().into(),
            self.owner.into(),
            self.lease_us(),
        ];
        DB::Adapter::execute(conn, sql, &self.values(first)).await?;
        let sql = "UPDATE dualwrite_backfill SET claimed = ?, batches = ? \
                   WHERE migration = ? AND part = ? AND generation = ?";
        DB::Adapter::execute(
            conn,
            sql,
            &self.values([last.0.as_str().into(), range.number.into()]),
        )
        .await?;
        Ok(range)
    }

    /// Gives the ranges of this worker back.
    pub(crate) async fn release<DB: Backend>(&self, conn: &mut DB::Connection) -> sqlx::Result<()> {
        let sql = "UPDATE dualwrite_batch SET expires_at = 0 \
                   WHERE owner = ? AND migration = ? AND part = ? AND generation = ?";
        DB::Adapter::execute(conn, sql, &self.values([self.owner.into()])).await.map(drop)
    }

    /// Whether some range is still held by somebody.
    pub(crate) async fn has_open_ranges<DB: Backend>(
        &self,
        conn: &mut DB::Connection,
    ) -> sqlx::Result<bool> {
        let sql = "SELECT number FROM dualwrite_batch WHERE migration = ? AND part = ? AND generation = ? LIMIT 1";
        Ok(!DB::Adapter::fetch(conn, sql, &self.id()).await?.is_empty())
    }

    /// Moves the cursor of a range, or ends the range. `false` where the lease went to another worker, or
    /// where the cursor is not where this worker believes it to be (a commit was applied although it
    /// was answered by an error): then the transaction must not commit.
    pub(crate) async fn checkpoint<DB: Backend>(
        &self,
        conn: &mut DB::Connection,
        range: &Range,
        cursor: Option<&EncodedKey>,
        keys: u64,
    ) -> sqlx::Result<bool> {
        let held = "WHERE number = ? AND owner = ? AND COALESCE(cursor_key, '') = ? \
                    AND migration = ? AND part = ? AND generation = ?";
        let after = range.after.as_ref().map_or("", |key| key.0.as_str());
        let holder = [range.number.into(), self.owner.into(), after.into()];
        let touched = match cursor {
            Some(cursor) => {
                let sql = format!(
                    "UPDATE dualwrite_batch SET cursor_key = ?, done = done + ?, \
                     expires_at = {{now}} + ? {held}"
                );
                let [number, owner, after] = holder;
                let cursor = cursor.0.as_str().into();
                let first = [cursor, keys.into(), self.lease_us(), number, owner, after];
                DB::Adapter::execute(conn, &sql, &self.values(first)).await?
            }
            None => {
                let sql = format!("DELETE FROM dualwrite_batch {held}");
                DB::Adapter::execute(conn, &sql, &self.values(holder)).await?
            }
        };
        Ok(touched > 0)
    }

    /// How far this part has come.
    pub(crate) async fn progress<DB: Backend>(
        &self,
        conn: &mut DB::Connection,
    ) -> sqlx::Result<BackfillProgress> {
        let sql = format!(
            "SELECT {PROGRESS} FROM dualwrite_backfill \
             WHERE migration = ? AND part = ? AND generation = ?"
        );
        let rows = DB::Adapter::fetch(conn, &sql, &self.id()).await?;
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

    /// What is to be done now. Asked under the fence.
    pub(crate) async fn orders<DB: Backend>(
        &self,
        conn: &mut DB::Connection,
    ) -> sqlx::Result<Option<Orders>> {
        let generation = match self.part.to() {
            Side::New => "m.generation",
            Side::Old => "m.old_generation",
        };
        let sql = format!(
            "SELECT {generation}, b.state, b.rate, (SELECT count(DISTINCT t.owner) \
             FROM dualwrite_batch t WHERE t.migration = m.name AND t.part = b.part \
             AND t.generation = b.generation AND t.expires_at > {{now}}), {{now}} \
             FROM dualwrite_migration m LEFT JOIN dualwrite_backfill b \
             ON b.migration = m.name AND b.part = ? AND b.generation = ? WHERE m.name = ?"
        );
        let values = [self.part.as_str().into(), self.generation.0.into(), self.migration.into()];
        let rows = DB::Adapter::fetch(conn, &sql, &values).await?;
        rows.first()
            .map(|row| {
                let rate = row.optional_integer(2)?.and_then(|rate| u64::try_from(rate).ok());
                Ok(Orders {
                    generation: Generation(row.unsigned(0)?),
                    state: State::of(row.optional_text(1)?),
                    rate,
                    workers: row.unsigned(3)?,
                    hour: (row.unsigned(4)? / 3_600_000_000 % 24) as u8,
                })
            })
            .transpose()
    }

    /// Tells why this worker makes way.
    pub(crate) async fn tell<DB: Backend>(
        &self,
        conn: &mut DB::Connection,
        reason: Option<&str>,
    ) -> sqlx::Result<()> {
        let sql = "UPDATE dualwrite_backfill SET throttled = ? \
                   WHERE migration = ? AND part = ? AND generation = ?";
        let reason = reason.map(|reason| reason.chars().take(200).collect());
        let values = self.values([SqlValue::Text(reason)]);
        DB::Adapter::execute(conn, sql, &values).await.map(drop)
    }

    /// Adds to the counters.
    pub(crate) async fn count<DB: Backend>(
        &self,
        conn: &mut DB::Connection,
        copied: Copied,
        failed: u64,
    ) -> sqlx::Result<()> {
        let sql = "UPDATE dualwrite_backfill SET migrated = migrated + ?, skipped = skipped + ?, \
                   failed = failed + ? WHERE migration = ? AND part = ? AND generation = ?";
        let first = [copied.migrated.into(), copied.skipped.into(), failed.into()];
        DB::Adapter::execute(conn, sql, &self.values(first)).await.map(drop)
    }

    /// Records that an empty page, read in this transaction, proved the end.
    pub(crate) async fn complete<DB: Backend>(
        &self,
        conn: &mut DB::Connection,
    ) -> sqlx::Result<()> {
        let sql = "UPDATE dualwrite_backfill SET state = 'complete', throttled = NULL, finished_at = {now} \
                   WHERE migration = ? AND part = ? AND generation = ?";
        DB::Adapter::execute(conn, sql, &self.id()).await.map(drop)
    }
}

fn limit(rate: Option<u64>) -> SqlValue {
    SqlValue::Integer(rate.map(|rate| i64::try_from(rate).unwrap_or(i64::MAX)))
}

/// The statement of an order, with its values.
pub(crate) fn order(migration: &str, side: Side, order: Order) -> (String, Vec<SqlValue>) {
    let (set, states) = match order {
        Order::Pause => ("state = 'paused'", "'running'"),
        Order::Resume => ("state = 'running', throttled = NULL", "'paused', 'cancelled'"),
        Order::Cancel => ("state = 'cancelled', throttled = NULL", "'running', 'paused'"),
        Order::Rate(_) => ("rate = ?", "'running', 'paused', 'cancelled'"),
    };
    let generation = match side {
        Side::New => "generation",
        Side::Old => "old_generation",
    };
    let sql = format!(
        "UPDATE dualwrite_backfill SET {set} WHERE migration = ? AND part IN (?, ?) \
         AND state IN ({states}) AND generation = \
         (SELECT m.{generation} FROM dualwrite_migration m WHERE m.name = ?)"
    );
    let rate = match order {
        Order::Rate(rate) => Some(limit(rate)),
        _ => None,
    };
    let parts = [Part::All(side).as_str().into(), Part::Strays(side).as_str().into()];
    let values = rate.into_iter().chain([migration.into()]).chain(parts);
    (sql, values.chain([migration.into()]).collect())
}

/// Whether old holds everything that was ever written: nothing went to new alone, or it was copied back.
pub(crate) async fn is_old_whole<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
) -> sqlx::Result<bool> {
    let sql = "SELECT m.old_generation, b.state FROM dualwrite_migration m \
               LEFT JOIN dualwrite_backfill b ON b.migration = m.name AND b.part = 'old' \
               AND b.generation = m.old_generation WHERE m.name = ?";
    let rows = DB::Adapter::fetch(conn, sql, &[migration.into()]).await?;
    let Some(row) = rows.first() else { return Ok(false) };
    Ok(row.unsigned(0)? == Generation::FIRST.0 || row.optional_text(1)? == Some("complete"))
}

/// Puts a key into the dead letters, or counts another attempt.
pub(crate) async fn bury<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    side: Side,
    generation: Generation,
    key: &EncodedKey,
    error: &str,
) -> sqlx::Result<()> {
    let error: String = error.chars().take(1_000).collect();
    let pause = u64::try_from(retry_after(1).as_micros()).unwrap_or(u64::MAX);
    let set = match DB::Adapter::DIALECT.on_duplicate_key {
        true => {
            " ON DUPLICATE KEY UPDATE attempts = attempts + 1, error = VALUES(error), \
             generation = VALUES(generation), failed_at = VALUES(failed_at)"
        }
        false => {
            " ON CONFLICT (migration, side, key_text) DO UPDATE SET \
             attempts = dualwrite_failure.attempts + 1, error = excluded.error, \
             generation = excluded.generation, failed_at = excluded.failed_at"
        }
    };
    let sql = format!(
        "INSERT INTO dualwrite_failure (migration, side, key_text, generation, error, attempts, \
         failed_at, next_attempt_at) VALUES (?, ?, ?, ?, ?, 1, {{now}}, {{now}} + ?){set}"
    );
    let values = [
        migration.into(),
        side.as_str().into(),
        key.0.as_str().into(),
        generation.0.into(),
        error.as_str().into(),
        pause.into(),
    ];
    DB::Adapter::execute(conn, &sql, &values).await.map(drop)
}

/// Takes keys out of the dead letters, in the transaction that copied them.
pub(crate) async fn unbury<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
    side: Side,
    keys: &[EncodedKey],
) -> sqlx::Result<()> {
    for keys in keys.chunks(UNBURIED_AT_ONCE) {
        let sql = format!(
            "DELETE FROM dualwrite_failure WHERE migration = ? AND side = ? AND key_text IN ({})",
            vec!["?"; keys.len()].join(", ")
        );
        let keys = keys.iter().map(|key| SqlValue::from(key.0.as_str()));
        let first = [migration.into(), side.as_str().into()];
        let values: Vec<SqlValue> = first.into_iter().chain(keys).collect();
        DB::Adapter::execute(conn, &sql, &values).await?;
    }
    Ok(())
}

const PROGRESS: &str = "generation, total, migrated, skipped, failed, state, part, throttled, rate, \
                        COALESCE(finished_at, {now}) - started_at";

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
        "SELECT {PROGRESS} FROM dualwrite_backfill WHERE migration = ? AND part IN ('new', 'old') \
         ORDER BY started_at DESC, generation DESC LIMIT 1"
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
         WHERE migration = ? AND generation = ? AND part IN (?, ?) ORDER BY number \
         LIMIT {WORKERS_SHOWN_MAX}"
    );
    let parts = [Part::All(side).as_str().into(), Part::Strays(side).as_str().into()];
    let values: Vec<SqlValue> =
        [migration.into(), progress.generation.into()].into_iter().chain(parts).collect();
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
