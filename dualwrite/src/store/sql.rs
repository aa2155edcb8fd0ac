//! The control tables in a SQL database: statements written once, over the narrow waist of
//! [`backend`](crate::database).

pub(crate) mod change;
mod facts;
mod instances;
mod letters;
mod mismatch;
mod orders;
mod plans;
pub(crate) mod summary;
mod tasks;
mod verification;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::Pool;

use self::facts::{READ_AT, record_of, record_sql};
use crate::clock::Clock;
use crate::control::{
    Acknowledgement, BackfillProgress, Change, Control, Event, Heartbeat, Looked, Mismatch, Order,
    Pulse, Record, Sample, VerifyOrder, Watch,
};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlRow, SqlValue, unexpected};
use crate::error::Error;
use crate::key::EncodedKey;
use crate::rollout::order::NewOrder;
use crate::stages::facts::Facts;
use crate::stages::lineage::Mark;
use crate::stages::position::{Epoch, Generation, Percent};
use crate::stages::stage::Side;
use crate::state::unknown_migration;
use crate::store::account;
use crate::store::connections::Connections;
use crate::store::ordering;
use crate::verify::decide::{Recorded, VerifyState};

const LOADING: &str = "reading the positions";
/// How many statements may be under way beside the heartbeat, and how many moves.
const WORKING_MAX: usize = 2;
const MOVING_MAX: usize = 4;

/// The default limit on a statement.
pub(crate) const STATEMENT_MAX: Duration = Duration::from_secs(3);
const STATEMENT_MIN: Duration = Duration::from_millis(500);
/// One of a move waits a second for the fence.
const MOVE_STATEMENT_MIN: Duration = Duration::from_secs(2);

/// The limit on a statement of an instance with this lease: a heartbeat that hangs, and the one that is sent in its
/// place, leave half of it.
pub(crate) fn statement_limit(lease: Duration) -> Duration {
    (lease / 5).clamp(STATEMENT_MIN, STATEMENT_MAX)
}

/// The control tables in a database.
pub(crate) struct SqlControl<DB: Backend> {
    pool: Pool<DB>,
    /// For heartbeats and looks alone: the one connection that lasts.
    beating: Connections<DB>,
    working: Connections<DB>,
    /// For those who wait for the fence.
    moving: Connections<DB>,
    /// Of moves of one migration one has the fence at a time, and the others need no connection to wait.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// By how much the database's clock has lately gone ahead, in microseconds, and until when that matters.
    stepped: Mutex<Option<(i64, u64)>>,
    clock: Clock,
}

type Conn<DB> = <DB as sqlx::Database>::Connection;

impl<DB: Backend> SqlControl<DB> {
    /// With this limit on each statement.
    pub(crate) fn new(pool: Pool<DB>, limit: Duration) -> Self {
        Self {
            beating: Connections::new(&pool, 1, true, limit),
            working: Connections::new(&pool, WORKING_MAX, false, limit),
            moving: Connections::new(&pool, MOVING_MAX, false, limit.max(MOVE_STATEMENT_MIN)),
            pool,
            turns: Mutex::default(),
            stepped: Mutex::default(),
            clock: Clock::system(),
        }
    }

    async fn fetch(
        &self,
        doing: &str,
        sql: &str,
        values: &[SqlValue],
    ) -> Result<Vec<SqlRow>, Error> {
        self.working.fetch(doing, sql, values).await
    }

    async fn execute(&self, doing: &str, sql: &str, values: &[SqlValue]) -> Result<u64, Error> {
        self.working.execute(doing, sql, values).await
    }

    async fn record(&self, name: &str) -> Result<Record, Error> {
        let sql = record_sql("WHERE m.name = ?");
        let rows = self.fetch("reading a migration", &sql, &[name.into()]).await?;
        let row = rows.first().ok_or_else(|| unknown_migration(name))?;
        record_of(row).map_err(|error| Error::database("reading a migration", error).of(name))
    }

    /// How long ago an instance may have expired by the database's clock, which has gone ahead, in microseconds.
    fn slack(&self) -> i64 {
        let stepped = *self.stepped.lock().unwrap_or_else(PoisonError::into_inner);
        stepped.filter(|(_, until)| self.clock.now() < *until).map_or(0, |(by, _)| by)
    }
}

fn event_of(row: &SqlRow) -> sqlx::Result<Event> {
    let at = |column: usize| -> sqlx::Result<(crate::stages::stage::Stage, Percent)> {
        let ramp = u16::try_from(row.integer(column + 1)?).ok();
        let ramp = ramp.and_then(|ramp| Percent::from_basis_points(ramp).ok());
        Ok((row.stage(column)?, ramp.ok_or_else(|| unexpected(column + 1, "a ramp"))?))
    };
    let ((from_stage, from_ramp), (to_stage, to_ramp)) = (at(3)?, at(5)?);
    Ok(Event {
        at_us: row.integer(0)?,
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

impl<DB: Backend> Control for SqlControl<DB> {
    fn install(&self) -> BoxFuture<'_, Result<(), Error>> {
        DB::Adapter::install(&self.pool)
    }

    fn enlist<'a>(&'a self, names: &'a [&'a str]) -> BoxFuture<'a, Result<Vec<Record>, Error>> {
        Box::pin(self.enlist_in(names))
    }

    fn join<'a>(
        &'a self,
        beat: &'a Heartbeat,
        number: u64,
        acknowledged: &'a [Acknowledgement],
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.join_in(beat, number, acknowledged))
    }

    fn descends<'a>(&'a self, name: &'a str, from: Mark) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.descends_in(name, from))
    }

    fn load(&self) -> BoxFuture<'_, Result<Vec<Record>, Error>> {
        Box::pin(async move {
            let rows = self.working.fetch(LOADING, &record_sql(""), &[]).await?;
            let records = rows.iter().map(record_of).collect::<sqlx::Result<_>>();
            records.map_err(|error| Error::database(LOADING, error))
        })
    }

    fn look(&self) -> BoxFuture<'_, Result<Looked, Error>> {
        Box::pin(async move {
            let rows = self.beating.fetch(LOADING, &record_sql(""), &[]).await?;
            let failed = |error| Error::database(LOADING, error);
            let at_us = rows.first().map(|row| row.integer(READ_AT)).transpose().map_err(failed)?;
            let records = rows.iter().map(record_of).collect::<sqlx::Result<_>>();
            Ok(Looked { records: records.map_err(failed)?, at_us })
        })
    }

    fn clock_stepped<'a>(
        &'a self,
        by_us: i64,
        lease: Duration,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.clock_stepped_in(by_us, lease))
    }

    fn close(&self) {
        self.beating.close();
        self.working.close();
        self.moving.close();
    }

    fn trim(&self) {
        self.working.trim();
        self.moving.trim();
    }

    fn heartbeat<'a>(
        &'a self,
        beat: &'a Heartbeat,
        pulse: Pulse,
        changed: &'a [Acknowledgement],
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.heartbeat_in(beat, pulse, changed))
    }

    fn leave<'a>(&'a self, instance: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            self.forget(instance).await?;
            let sql = "UPDATE dualwrite_plan SET leader = NULL WHERE leader = ?";
            self.execute("leaving the rollouts", sql, &[instance.into()]).await?;
            let sql = "UPDATE dualwrite_task SET runner_until = 0 WHERE runner = ?";
            self.execute("leaving what was started", sql, &[instance.into()]).await?;
            let sql = "UPDATE dualwrite_batch SET expires_at = 0 WHERE owner LIKE ?";
            let workers = format!("{instance}/%");
            self.execute("leaving ranges of keys", sql, &[workers.as_str().into()]).await?;
            let sql = "DELETE FROM dualwrite_unaware WHERE minute < {now} / 60000000 - 129600";
            self.execute("forgetting what was written 90 days ago", sql, &[]).await.map(drop)
        })
    }

    fn change<'a>(
        &'a self,
        name: &'a str,
        change: &'a Change,
    ) -> BoxFuture<'a, Result<Record, Error>> {
        Box::pin(self.change_in(name, change))
    }

    fn facts<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Facts, Error>> {
        Box::pin(async move { self.facts_in(name).await })
    }

    fn summaries<'a>(
        &'a self,
        names: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<(String, Facts)>, Error>> {
        Box::pin(async move {
            let reading = self.working.within("reading what is published", async {
                let mut lent = self.working.lend().await?;
                lent.busy();
                let found = summary::summaries::<DB>(&mut lent, names, self.slack()).await;
                lent.ended(found)
            });
            reading.await
        })
    }

    fn events<'a>(&'a self, name: &'a str, limit: u32) -> BoxFuture<'a, Result<Vec<Event>, Error>> {
        Box::pin(async move {
            let sql = format!(
                "SELECT at, actor, reason, from_stage, from_ramp, to_stage, to_ramp, epoch, generation, \
                 overridden FROM dualwrite_event WHERE migration = ? ORDER BY epoch DESC LIMIT {limit}"
            );
            let rows = self.fetch("reading the audit", &sql, &[name.into()]).await?;
            let events = rows.iter().map(event_of).collect::<sqlx::Result<_>>();
            events.map_err(|error| Error::database("reading the audit", error).of(name))
        })
    }

    fn verified<'a>(
        &'a self,
        name: &'a str,
        [new, old]: [Generation; 2],
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let sql = "UPDATE dualwrite_migration SET verified_generation = ?, \
                       old_verified_generation = ? \
                       WHERE name = ? AND generation = ? AND old_generation = ?";
            let values = [new.0.into(), old.0.into(), name.into(), new.0.into(), old.0.into()];
            Ok(self.execute("recording the verification", sql, &values).await? > 0)
        })
    }

    fn begin_verification<'a>(
        &'a self,
        name: &'a str,
        owner: &'a str,
        fresh: &'a VerifyState,
        afresh: bool,
    ) -> BoxFuture<'a, Result<VerifyState, Error>> {
        Box::pin(async move {
            let known = self.verification(name).await?;
            let state = VerifyState::begin(known.as_ref(), fresh, afresh);
            let sql = verification::begin(&DB::Adapter::DIALECT);
            let values = verification::values(owner, &state, name)?;
            self.execute("beginning a verification", &sql, &values).await?;
            Ok(state)
        })
    }

    fn record_verification<'a>(
        &'a self,
        name: &'a str,
        owner: &'a str,
        state: &'a VerifyState,
    ) -> BoxFuture<'a, Result<Recorded, Error>> {
        Box::pin(async move {
            let sql = verification::record(state.done);
            let mut values = verification::values(owner, state, name)?;
            values.rotate_left(1); // the owner goes last
            let doing = "recording how far a verification is";
            if self.execute(doing, &sql, &values).await? == 0 {
                return Ok(Recorded::Superseded);
            }
            let sql = "SELECT ordered FROM dualwrite_verification WHERE migration = ?";
            let rows = self.fetch(doing, sql, &[name.into()]).await?;
            let code = rows.first().map_or(Ok(0), |row| row.integer(0));
            let code = code.map_err(|error| Error::database(doing, error).of(name))?;
            Ok(match VerifyOrder::of(code) {
                VerifyOrder::GoOn => Recorded::Kept,
                VerifyOrder::Pause => Recorded::Paused,
                VerifyOrder::Cancel => Recorded::Cancelled,
            })
        })
    }

    fn order_verification<'a>(
        &'a self,
        name: &'a str,
        order: VerifyOrder,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let values = [order.code().into(), name.into()];
            let sql = verification::order(order);
            Ok(self.execute("giving an order to a verification", sql, &values).await? > 0)
        })
    }

    fn verification<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<VerifyState>, Error>> {
        Box::pin(async move {
            let doing = "reading the verification";
            let sql = verification::read();
            let rows = self.fetch(doing, &sql, &[name.into()]).await?;
            let state = rows.first().map(verification::state_of).transpose();
            state.map_err(|error| Error::database(doing, error).of(name))
        })
    }

    fn backfill<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<BackfillProgress>, Error>> {
        Box::pin(async move {
            let reading = self.working.within("reading the progress", async {
                let mut lent = self.working.lend().await?;
                lent.busy();
                let progress = account::progress::<DB>(&mut lent, name).await;
                lent.ended(progress)
            });
            reading.await.map_err(|error| error.of(name))
        })
    }

    fn order<'a>(
        &'a self,
        name: &'a str,
        side: Side,
        order: Order,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let doing = "giving an order to the backfill";
            let of_task = match order {
                Order::Cancel => {
                    let (sql, values) = tasks::cancel(name, side);
                    self.execute(doing, sql, &values).await? > 0
                }
                Order::Rate(rate) => {
                    let (sql, values) = tasks::set_rate(name, side, rate);
                    self.execute(doing, sql, &values).await? > 0
                }
                Order::Pause | Order::Resume => false,
            };
            for (sql, values) in ordering::give(&DB::Adapter::DIALECT, name, side, order) {
                if self.execute(doing, &sql, &values).await? > 0 {
                    return Ok(true);
                }
            }
            Ok(of_task)
        })
    }

    fn dirty<'a>(
        &'a self,
        name: &'a str,
        side: Side,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<EncodedKey>, Error>> {
        Box::pin(async move {
            let sql = format!(
                "SELECT key_text FROM dualwrite_dirty WHERE migration = ? AND side = ? \
                 ORDER BY marked_at LIMIT {limit}"
            );
            let values = [name.into(), side.as_str().into()];
            let rows = self.fetch("reading dirty keys", &sql, &values).await?;
            let keys = rows.iter().map(|row| Ok(EncodedKey(row.text(0)?.to_owned())));
            let keys = keys.collect::<sqlx::Result<_>>();
            keys.map_err(|error| Error::database("reading dirty keys", error).of(name))
        })
    }

    fn approve<'a>(
        &'a self,
        name: &'a str,
        approval: &'a str,
        actor: &'a str,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let sql = format!(
                "INSERT INTO dualwrite_approval (migration, name, stage_epoch, actor, reason, at) \
                 SELECT m.name, ?, m.stage_epoch, ?, ?, {{now}} FROM dualwrite_migration m \
                 WHERE m.name = ?{}",
                DB::Adapter::DIALECT
                    .upsert("migration, name, stage_epoch", &["actor", "reason", "at"])
            );
            let values = [approval.into(), actor.into(), reason.into(), name.into()];
            let order = NewOrder::approval(approval, actor, reason);
            self.obey("recording an approval", name, (&sql, &values), &order).await.map(drop)
        })
    }

    fn declare<'a>(
        &'a self,
        name: &'a str,
        release: &'a str,
        gone: bool,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let gone = if gone { "{now}" } else { "NULL" };
            let sql = format!(
                "INSERT INTO dualwrite_release (migration, release_name, declared_at, gone_at) \
                 VALUES (?, ?, {{now}}, {gone}){}",
                DB::Adapter::DIALECT.upsert("migration, release_name", &["gone_at"])
            );
            let values = [name.into(), release.into()];
            self.execute("declaring a release", &sql, &values).await.map(drop)
        })
    }

    fn sample<'a>(
        &'a self,
        name: &'a str,
        sample: &'a Sample,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let doing = "storing a mismatch";
            let sql = mismatch::room();
            let rows = self.fetch(doing, sql, &mismatch::room_values(name, sample)).await?;
            let has_room = mismatch::has_room_in(&rows);
            if !has_room.map_err(|error| Error::database(doing, error).of(name))? {
                return Ok(false);
            }
            self.execute(doing, mismatch::insert(), &mismatch::values(name, sample)).await?;
            Ok(true)
        })
    }

    fn samples<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<Mismatch>, Error>> {
        Box::pin(async move {
            let doing = "reading the mismatches";
            let rows = self.fetch(doing, &mismatch::read(), &[name.into()]).await?;
            let found = rows.iter().map(mismatch::mismatch_of).collect::<sqlx::Result<_>>();
            found.map_err(|error| Error::database(doing, error).of(name))
        })
    }

    fn forget_samples<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<u64, Error>> {
        Box::pin(async move {
            let sql = "DELETE FROM dualwrite_mismatch WHERE migration = ?";
            self.execute("forgetting the mismatches", sql, &[name.into()]).await
        })
    }

    fn watch(&self) -> BoxFuture<'_, Result<Option<Box<dyn Watch>>, Error>> {
        Box::pin(async move {
            let doing = "listening for changes";
            self.working.within(doing, DB::Adapter::watch(&self.pool)).await
        })
    }
}
