//! What the control tables keep of a backfill: its range, the ranges that workers claimed, the counters.
//! Every function works inside the transaction of its caller, so a checkpoint and its rows commit
//! together.

use std::time::Duration;

use crate::control::copied::Copied;
use crate::control::settings::{BackfillSetting, BackfillSettings};
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::database::{SqlRow, SqlValue};
use crate::key::EncodedKey;
use crate::stages::position::Generation;
use crate::stages::stage::Side;

/// A page that took longer than this counts as this long: nobody was at work in between. A worker copies a key in
/// ten seconds at least.
const PAGE_US_MAX: u64 = 15_000_000;

/// So much work lies between two looks at the keys that are done: the recent speed is that of once to twice this time.
const LOOK_US: u64 = 120_000_000;

/// What a backfill runs over. The end of its last phase proves the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Keys that this side has and the other has not: left from a time when it was not written. They go
    /// first, so that the rest finds no value taken that must be unique.
    Orphans(Side),
    /// The keys of the other side; the last phase.
    All(Side),
    /// The keys of new, to old, where [`Phase::Rest`] follows.
    Back,
    /// Keys that old has and new has not, once more, when every write has ended that passed old before the
    /// keys of new were there; the last phase.
    Rest,
}

impl Phase {
    pub(crate) fn to(self) -> Side {
        match self {
            Self::Orphans(side) | Self::All(side) => side,
            Self::Back | Self::Rest => Side::Old,
        }
    }

    /// Its name in the control tables, which begins with the side. What proves the whole is named as the side.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Orphans(Side::New) => "new_orphans",
            Self::Orphans(Side::Old) => "old_orphans",
            Self::All(side) => side.as_str(),
            Self::Back => "old_back",
            Self::Rest => Side::Old.as_str(),
        }
    }

    /// Whether its end proves the whole.
    fn is_last(self) -> bool {
        matches!(self, Self::All(_) | Self::Rest)
    }

    /// All names of one side, for `LIKE`.
    pub(crate) fn of(side: Side) -> SqlValue {
        SqlValue::from(format!("{side}%").as_str())
    }
}

/// One phase of the backfill of one generation.
#[derive(Clone, Debug)]
pub(crate) struct Ledger<'a> {
    pub(crate) migration: &'a str,
    pub(crate) phase: Phase,
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
pub(crate) struct Instructions {
    pub(crate) generation: Generation,
    pub(crate) state: State,
    /// Keys a second, of all workers together.
    pub(crate) rate: Option<u64>,
    pub(crate) workers: u64,
    pub(crate) settings: BackfillSettings,
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
    pub(crate) fn of(text: Option<&str>) -> Self {
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

/// What these rows, one a setting, have in this column and the next one. A setting of another release is left out.
fn settings_of(rows: &[SqlRow], column: usize) -> sqlx::Result<BackfillSettings> {
    let mut settings = BackfillSettings::default();
    for row in rows {
        if let Some(setting) = row.optional_text(column)?.and_then(BackfillSetting::named) {
            let value = row.optional_integer(column + 1)?;
            settings.set(setting, value.and_then(|value| u64::try_from(value).ok()));
        }
    }
    Ok(settings)
}

/// The rate of a backfill, which is kept with its first phase: so that it can be changed while no phase runs.
fn rate_of(migration: &str) -> String {
    format!(
        "SELECT f.rate FROM dualwrite_backfill f WHERE f.migration = {migration} AND f.phase LIKE ? \
         AND f.generation = ? ORDER BY f.started_at LIMIT 1"
    )
}

impl Ledger<'_> {
    pub(crate) fn id(&self) -> [SqlValue; 3] {
        [self.migration.into(), self.phase.as_str().into(), self.generation.0.into()]
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
             WHERE migration = ? AND phase = ? AND generation = ?{}",
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

    /// Fixes the range. A worker that comes second finds it fixed. The rate is that of the parts before, if any.
    pub(crate) async fn start<DB: Backend>(
        &self,
        conn: &mut DB::Connection,
        range_end: Option<&EncodedKey>,
        total: u64,
        rate: Option<u64>,
    ) -> sqlx::Result<()> {
        let sql = format!(
            "INSERT INTO dualwrite_backfill (range_end, total, rate, migration, phase, generation, \
             state, started_at) VALUES (?, ?, ?, ?, ?, ?, 'running', {{now}}){}",
            DB::Adapter::DIALECT.upsert("migration, phase, generation", &[])
        );
        let before = [self.migration.into(), Phase::of(self.phase.to()), self.generation.0.into()];
        let before = DB::Adapter::fetch(conn, &rate_of("?"), &before).await?;
        let rate = match before.first() {
            Some(row) => row.0[0].clone(),
            None => limit(rate),
        };
        let end = SqlValue::Text(range_end.map(|key| key.0.clone()));
        DB::Adapter::execute(conn, &sql, &self.values([end, total.into(), rate])).await.map(drop)
    }

    /// Takes over a range whose worker's lease ran out.
    pub(crate) async fn take_over<DB: Backend>(
        &self,
        conn: &mut DB::Connection,
    ) -> sqlx::Result<Option<Range>> {
        let sql = format!(
            "SELECT number, cursor_key, last_key FROM dualwrite_batch \
             WHERE migration = ? AND phase = ? AND generation = ? AND expires_at < {{now}} ORDER BY number LIMIT 1{}",
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
                   WHERE number = ? AND migration = ? AND phase = ? AND generation = ?";
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
                   (number, cursor_key, last_key, owner, expires_at, migration, phase, generation) \
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
                   WHERE migration = ? AND phase = ? AND generation = ?";
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
                   WHERE owner = ? AND migration = ? AND phase = ? AND generation = ?";
        DB::Adapter::execute(conn, sql, &self.values([self.owner.into()])).await.map(drop)
    }

    /// Whether some range is still held by somebody.
    pub(crate) async fn has_open_ranges<DB: Backend>(
        &self,
        conn: &mut DB::Connection,
    ) -> sqlx::Result<bool> {
        let sql = "SELECT number FROM dualwrite_batch WHERE migration = ? AND phase = ? AND generation = ? LIMIT 1";
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
                    AND migration = ? AND phase = ? AND generation = ?";
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

    /// What is to be done now. Asked under the fence.
    pub(crate) async fn instructions<DB: Backend>(
        &self,
        conn: &mut DB::Connection,
    ) -> sqlx::Result<Option<Instructions>> {
        let generation = match self.phase.to() {
            Side::New => "m.generation",
            Side::Old => "m.old_generation",
        };
        let rate = rate_of("m.name");
        let sql = format!(
            "SELECT {generation}, CASE WHEN n.state IN ('paused', 'cancelled') THEN n.state \
             ELSE b.state END, ({rate}), (SELECT count(DISTINCT t.owner) \
             FROM dualwrite_batch t WHERE t.migration = m.name AND t.phase = b.phase \
             AND t.generation = b.generation AND t.expires_at > {{now}}), {{now}}, s.name, s.value \
             FROM dualwrite_migration m LEFT JOIN dualwrite_backfill b \
             ON b.migration = m.name AND b.phase = ? AND b.generation = ? \
             LEFT JOIN dualwrite_backfill n ON n.migration = m.name AND n.phase = ? \
             AND n.generation = ? LEFT JOIN dualwrite_setting s ON s.migration = m.name \
             AND s.side = ? AND s.generation = ? WHERE m.name = ?"
        );
        let generation = SqlValue::from(self.generation.0);
        let values = [
            Phase::of(self.phase.to()),
            generation.clone(),
            self.phase.as_str().into(),
            generation.clone(),
            between(self.phase.to()).into(),
            generation.clone(),
            self.phase.to().as_str().into(),
            generation,
            self.migration.into(),
        ];
        let rows = DB::Adapter::fetch(conn, &sql, &values).await?;
        let settings = settings_of(&rows, 5)?;
        rows.first()
            .map(|row| {
                let rate = row.optional_integer(2)?.and_then(|rate| u64::try_from(rate).ok());
                Ok(Instructions {
                    generation: Generation(row.unsigned(0)?),
                    state: State::of(row.optional_text(1)?),
                    rate,
                    workers: row.unsigned(3)?,
                    settings,
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
                   WHERE migration = ? AND phase = ? AND generation = ?";
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
        // MySQL assigns from left to right: each expression stands before what it reads is changed.
        let since = "{now} - COALESCE(progressed_at, started_at)";
        let looks = |new: &str, old: &str| {
            format!(
                "{old} = CASE WHEN worked_us - looked_us >= {LOOK_US} THEN {new} ELSE {old} END"
            )
        };
        let looks = [
            looks("looked_done", "recent_done"),
            looks("looked_us", "recent_us"),
            looks("migrated + skipped + failed", "looked_done"),
            looks("worked_us", "looked_us"),
        ]
        .join(", ");
        let sql = format!(
            "UPDATE dualwrite_backfill SET {looks}, batch_keys = ?, migrated = migrated + ?, skipped = skipped + ?, \
             failed = failed + ?, worked_us = worked_us + CASE WHEN {since} > {PAGE_US_MAX} \
             THEN {PAGE_US_MAX} WHEN {since} > 0 THEN {since} ELSE 0 END, progressed_at = {{now}} \
             WHERE migration = ? AND phase = ? AND generation = ?"
        );
        let batch = copied.migrated + copied.skipped + failed;
        let first = [batch.into(), copied.migrated.into(), copied.skipped.into(), failed.into()];
        DB::Adapter::execute(conn, &sql, &self.values(first)).await.map(drop)
    }

    /// Adds to the counters, where nothing says that a key needed nothing.
    pub(crate) async fn count_migrated<DB: Backend>(
        &self,
        conn: &mut DB::Connection,
        migrated: u64,
        failed: u64,
    ) -> sqlx::Result<()> {
        self.count::<DB>(conn, Copied { migrated, skipped: 0 }, failed).await
    }

    /// Records that an empty page, read in this transaction, proved the end.
    pub(crate) async fn complete<DB: Backend>(
        &self,
        conn: &mut DB::Connection,
    ) -> sqlx::Result<()> {
        let sql = "UPDATE dualwrite_backfill SET state = 'complete', throttled = NULL, finished_at = {now} \
                   WHERE migration = ? AND phase IN (?, ?) AND generation = ?";
        let [migration, phase, generation] = self.id();
        let also = match self.phase.is_last() {
            true => between(self.phase.to()).into(), // nothing is left to be ordered
            false => phase.clone(),
        };
        let values = [migration, phase, also, generation];
        DB::Adapter::execute(conn, sql, &values).await.map(drop)
    }
}

pub(crate) fn limit(rate: Option<u64>) -> SqlValue {
    SqlValue::Integer(rate.map(|rate| i64::try_from(rate).unwrap_or(i64::MAX)))
}

/// Whether old holds everything that was ever written: nothing went to new alone, or it was copied back.
pub(crate) async fn is_old_whole<DB: Backend>(
    conn: &mut DB::Connection,
    migration: &str,
) -> sqlx::Result<bool> {
    let sql = "SELECT m.old_generation, b.state FROM dualwrite_migration m \
               LEFT JOIN dualwrite_backfill b ON b.migration = m.name AND b.phase = 'old' \
               AND b.generation = m.old_generation WHERE m.name = ?";
    let rows = DB::Adapter::fetch(conn, sql, &[migration.into()]).await?;
    let Some(row) = rows.first() else { return Ok(false) };
    Ok(row.unsigned(0)? == Generation::FIRST.0 || row.optional_text(1)? == Some("complete"))
}

/// The name, in place of a phase's, of a command that came between two.
pub(crate) fn between(side: Side) -> &'static str {
    match side {
        Side::New => "new_next",
        Side::Old => "old_next",
    }
}
