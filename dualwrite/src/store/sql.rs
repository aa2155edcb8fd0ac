//! The control tables in a SQL database: statements written once, over the narrow waist of
//! [`backend`](crate::database).

pub(crate) mod change;
mod facts;
mod hazards;
mod instances;
mod letters;
mod mismatch;
mod orders;
mod plans;
mod tasks;
mod verification;

use futures_util::future::BoxFuture;
use sqlx::Pool;
use sqlx::pool::PoolConnection;

use self::facts::{RECORD, facts, record_of};
use self::instances::acknowledge;
use crate::control::{
    Acknowledgement, BackfillProgress, Change, Control, DirtyKey, Event, Heartbeat, Mismatch,
    Order, Record, Sample, VerifyOrder, Watch,
};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlRow, SqlValue, unexpected};
use crate::error::Error;
use crate::key::EncodedKey;
use crate::rollout::order::NewOrder;
use crate::stages::facts::Facts;
use crate::stages::position::{Epoch, Generation, Percent};
use crate::stages::stage::Side;
use crate::stages::stale::StaleKind;
use crate::state::unknown_migration;
use crate::store::account;
use crate::store::marks;
use crate::store::ordering;
use crate::verify::decide::{Recorded, VerifyState};

/// Control tables reached through a pool.
pub(crate) struct SqlControl<DB: Backend> {
    pool: Pool<DB>,
}

/// One of the few connections that the control tables have. Dropped in the middle of a statement it is
/// closed, for it may be waiting for an answer that never comes.
struct Lent<DB: Backend> {
    conn: PoolConnection<DB>,
    busy: bool,
}

impl<DB: Backend> Lent<DB> {
    fn done<T>(mut self, result: T) -> T {
        self.busy = false;
        result
    }
}

impl<DB: Backend> Drop for Lent<DB> {
    fn drop(&mut self) {
        if self.busy {
            self.conn.close_on_drop();
        }
    }
}

type Conn<DB> = <DB as sqlx::Database>::Connection;

impl<DB: Backend> SqlControl<DB> {
    pub(crate) fn new(pool: Pool<DB>) -> Self {
        Self { pool }
    }

    async fn lend(&self) -> sqlx::Result<Lent<DB>> {
        Ok(Lent { conn: self.pool.acquire().await?, busy: DB::Adapter::DIALECT.server })
    }

    async fn fetch(
        &self,
        doing: &str,
        sql: &str,
        values: &[SqlValue],
    ) -> Result<Vec<SqlRow>, Error> {
        let failed = |error| Error::database(doing, error);
        let mut lent = self.lend().await.map_err(failed)?;
        let rows = DB::Adapter::fetch(&mut lent.conn, sql, values).await.map_err(failed);
        lent.done(rows)
    }

    async fn execute(&self, doing: &str, sql: &str, values: &[SqlValue]) -> Result<u64, Error> {
        let failed = |error| Error::database(doing, error);
        let mut lent = self.lend().await.map_err(failed)?;
        let affected = DB::Adapter::execute(&mut lent.conn, sql, values).await.map_err(failed);
        lent.done(affected)
    }

    /// The newest verification, and its owner.
    async fn owned_verification(&self, name: &str) -> Result<Option<(String, VerifyState)>, Error> {
        let doing = "reading the verification";
        let rows = self.fetch(doing, &verification::read(), &[name.into()]).await?;
        let state = rows.first().map(verification::owned).transpose();
        state.map_err(|error| Error::database(doing, error).of(name))
    }

    async fn record(&self, name: &str) -> Result<Record, Error> {
        let sql = format!("{RECORD} WHERE m.name = ?");
        let rows = self.fetch("reading a migration", &sql, &[name.into()]).await?;
        let row = rows.first().ok_or_else(|| unknown_migration(name))?;
        record_of(row).map_err(|error| Error::database("reading a migration", error).of(name))
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

    fn join<'a>(
        &'a self,
        name: &'a str,
        beat: &'a Heartbeat,
        lazy: bool,
    ) -> BoxFuture<'a, Result<Record, Error>> {
        Box::pin(self.join_in(name, beat, lazy))
    }

    fn load(&self) -> BoxFuture<'_, Result<Vec<Record>, Error>> {
        Box::pin(async move {
            let rows = self.fetch("reading the positions", RECORD, &[]).await?;
            let records = rows.iter().map(record_of).collect::<sqlx::Result<_>>();
            records.map_err(|error| Error::database("reading the positions", error))
        })
    }

    fn heartbeat<'a>(
        &'a self,
        beat: &'a Heartbeat,
        acknowledged: &'a [Acknowledgement],
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let failed = |error| Error::database("sending the heartbeat", error);
            let mut lent = self.lend().await.map_err(failed)?;
            for seen in acknowledged {
                acknowledge::<DB>(&mut lent.conn, beat, seen).await.map_err(failed)?;
            }
            lent.done(Ok(()))
        })
    }

    fn leave<'a>(&'a self, instance: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            // The expired are taken along, or every restart would leave a row.
            let sql =
                "DELETE FROM dualwrite_instance WHERE id = ? OR expires_at < {now} - 86400000000";
            self.execute("leaving", sql, &[instance.into()]).await?;
            let sql = "UPDATE dualwrite_plan SET leader = NULL WHERE leader = ?";
            self.execute("leaving the rollouts", sql, &[instance.into()]).await?;
            let sql = "UPDATE dualwrite_task SET runner_until = 0 WHERE runner = ?";
            self.execute("leaving what was started", sql, &[instance.into()]).await?;
            let sql = "UPDATE dualwrite_batch SET expires_at = 0 WHERE owner LIKE ?";
            let workers = format!("{instance}/%");
            self.execute("leaving ranges of keys", sql, &[workers.as_str().into()]).await.map(drop)
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
        Box::pin(async move {
            let failed = |error| Error::database("reading what the gates need", error);
            let mut lent = self.lend().await.map_err(failed)?;
            let facts = facts::<DB>(&mut lent.conn, name).await;
            lent.done(facts)
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
        owner: &'a str,
        [new, old]: [Generation; 2],
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let doing = "recording the verification";
            let sql = "UPDATE dualwrite_migration SET verified_generation = ?, \
                       old_verified_generation = ? \
                       WHERE name = ? AND generation = ? AND old_generation = ?";
            let values = [new.0.into(), old.0.into(), name.into(), new.0.into(), old.0.into()];
            if self.execute(doing, sql, &values).await? == 0 {
                return Ok(false);
            }
            // After the generations: until then the marks keep the gates shut.
            let failed = |error| Error::database(doing, error).of(name);
            let mut lent = self.lend().await.map_err(failed)?;
            marks::settle::<DB>(&mut lent.conn, name, owner).await.map_err(failed)?;
            let left = marks::unseen::<DB>(&mut lent.conn, name, owner).await.map_err(failed)?;
            lent.done(Ok(left == 0))
        })
    }

    fn mark_stale<'a>(
        &'a self,
        name: &'a str,
        kind: StaleKind,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let failed = |error| Error::database("withdrawing the proof", error).of(name);
            let mut lent = self.lend().await.map_err(failed)?;
            let marked = marks::mark::<DB>(&mut lent.conn, name, kind).await;
            lent.done(marked.map_err(failed))
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
            let failed = |error| Error::database("beginning a verification", error).of(name);
            let known = self.owned_verification(name).await?;
            let mut lent = self.lend().await.map_err(failed)?;
            let earlier = known.as_ref().map(|(owner, _)| owner.as_str());
            let unseen = marks::unseen::<DB>(&mut lent.conn, name, earlier.unwrap_or("")).await;
            let goes_on = known.as_ref().map(|(_, state)| state).filter(|state| {
                !afresh && state.goes_on_as(fresh, unseen.as_ref().is_ok_and(|marks| *marks > 0))
            });
            unseen.map_err(failed)?;
            let earlier = earlier.filter(|_| goes_on.is_some());
            // Before anything is compared.
            let stamped = marks::stamp::<DB>(&mut lent.conn, name, earlier, owner).await;
            lent.done(stamped.map_err(failed))?;
            let state = VerifyState::begin(goes_on, fresh);
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
        Box::pin(async move { Ok(self.owned_verification(name).await?.map(|(_, state)| state)) })
    }

    fn backfill<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<BackfillProgress>, Error>> {
        Box::pin(async move {
            let failed = |error| Error::database("reading the progress", error).of(name);
            let mut lent = self.lend().await.map_err(failed)?;
            let progress = account::progress::<DB>(&mut lent.conn, name).await.map_err(failed);
            lent.done(progress)
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
        after: Option<&'a DirtyKey>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<DirtyKey>, Error>> {
        Box::pin(async move {
            let mut values = vec![name.into(), side.as_str().into()];
            let beyond = match after {
                Some(DirtyKey { key, marked_at_us }) => {
                    let at = SqlValue::from(*marked_at_us);
                    values.extend([at.clone(), at, key.0.as_str().into()]);
                    " AND (marked_at > ? OR (marked_at = ? AND key_text > ?))"
                }
                None => "",
            };
            let sql = format!(
                "SELECT key_text, marked_at FROM dualwrite_dirty WHERE migration = ? AND side = ?{beyond} \
                 ORDER BY marked_at, key_text LIMIT {limit}"
            );
            let rows = self.fetch("reading dirty keys", &sql, &values).await?;
            let keys = rows.iter().map(|row| {
                let key = EncodedKey(row.text(0)?.to_owned());
                Ok(DirtyKey { key, marked_at_us: row.integer(1)? })
            });
            let keys = keys.collect::<sqlx::Result<_>>();
            keys.map_err(|error| Error::database("reading dirty keys", error).of(name))
        })
    }

    fn set_aside<'a>(
        &'a self,
        name: &'a str,
        key: &'a EncodedKey,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            // In this order: a crash in between must not lose both.
            self.mark_stale(name, StaleKind::Key).await?;
            let sql = "DELETE FROM dualwrite_dirty \
                       WHERE migration = ? AND side = 'new' AND key_text = ?";
            let values = [name.into(), key.0.as_str().into()];
            self.execute("setting a key aside", sql, &values).await.map(drop)
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
            let watch = DB::Adapter::watch(&self.pool).await;
            watch.map_err(|error| Error::database("listening for changes", error))
        })
    }
}
