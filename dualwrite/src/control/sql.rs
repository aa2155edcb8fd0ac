//! The control tables in a SQL database: statements written once, over the narrow waist of
//! [`backend`](crate::backend).

mod letters;
mod mismatch;
mod orders;
mod plans;
mod verification;

use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::Pool;
use sqlx::pool::PoolConnection;

use super::plans::outdated;
use super::{
    Acknowledgement, BackfillProgress, Change, Control, Event, Heartbeat, Mismatch, Order, Record,
    Sample, VerifyOrder, Watch,
};
use crate::backend::sealed::Adapter as _;
use crate::backend::{Backend, Fenced, Isolation, Pin, SqlRow, SqlValue, position_of, unexpected};
use crate::backfill::ledger;
use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::key::EncodedKey;
use crate::moves::{Destination, destination};
use crate::plan::order::NewOrder;
use crate::position::{Epoch, Generation, Percent};
use crate::readiness::{Facts, InstanceReport, admit, blockers};
use crate::shared::unknown_migration;
use crate::stage::Side;
use crate::transaction::Tx;
use crate::verify::decide::{Recorded, VerifyState};

/// How often a change waits, about a second each time, for writes in flight.
const FENCE_ATTEMPTS: u32 = 5;
const FENCE_PAUSE: Duration = Duration::from_millis(100);

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

/// The columns of a [`Record`], and the joins that they need.
const RECORD: &str = "SELECT m.name, m.stage, m.ramp, m.epoch, m.generation, m.stage_epoch, \
     m.verified_generation, b.state, \
     (SELECT min(d.side) FROM dualwrite_dirty d WHERE d.migration = m.name), \
     (SELECT min(f.generation) FROM dualwrite_failure f \
     WHERE f.migration = m.name AND f.side = 'new'), m.old_generation, \
     (SELECT p.state FROM dualwrite_plan p WHERE p.migration = m.name), \
     (SELECT min(f.side) FROM dualwrite_failure f WHERE f.migration = m.name), \
     (SELECT min(f.next_attempt_at) FROM dualwrite_failure f WHERE f.migration = m.name) - {now} \
     FROM dualwrite_migration m LEFT JOIN dualwrite_backfill b \
     ON b.migration = m.name AND b.part = 'new' AND b.generation = m.generation";

fn record_of(row: &SqlRow) -> sqlx::Result<Record> {
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
    })
}

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

    async fn join_in(&self, name: &str, beat: &Heartbeat, lazy: bool) -> Result<Record, Error> {
        let failed = |error| Error::database("joining", error).of(name);
        let insert = format!(
            "INSERT INTO dualwrite_migration (name, stage, ramp, epoch, generation, stage_epoch, \
             stage_at, created_at, contract_notes) VALUES (?, 0, 0, 1, 1, 1, {{now}}, {{now}}, ''){}",
            DB::Adapter::DIALECT.upsert("name", &[])
        );
        self.execute("registering", &insert, &[name.into()]).await?;
        // Whatever the position is when the fence is ours, it stays until the instance is registered.
        loop {
            let record = self.record(name).await?;
            let mut tx = Tx::opening_control(self.pool.acquire().await.map_err(failed)?);
            let conn = tx.connection();
            let pin = Pin { name: name.into(), position: record.position };
            let position = match DB::Adapter::begin_fenced(conn, &[pin], Isolation::ReadCommitted)
                .await
                .map_err(failed)?
            {
                Fenced::Confirmed => record.position,
                // What is registered here is no write that a trigger would look at.
                Fenced::Read { positions, watched } => {
                    if watched {
                        DB::Adapter::unmark(conn).await.map_err(failed)?;
                    }
                    positions[0].ok_or_else(|| unknown_migration(name))?
                }
                Fenced::Moved => continue,
            };
            tx.opened([].into());
            let seen = Acknowledgement::joining(name, position.epoch, lazy);
            acknowledge::<DB>(tx.connection(), beat, &seen).await.map_err(failed)?;
            tx.commit().await?;
            return self.record(name).await;
        }
    }

    async fn record(&self, name: &str) -> Result<Record, Error> {
        let sql = format!("{RECORD} WHERE m.name = ?");
        let rows = self.fetch("reading a migration", &sql, &[name.into()]).await?;
        let row = rows.first().ok_or_else(|| unknown_migration(name))?;
        record_of(row).map_err(|error| Error::database("reading a migration", error).of(name))
    }

    async fn change_in(&self, name: &str, change: &Change) -> Result<Record, Error> {
        let failed = |error| Error::database("changing the position", error).of(name);
        for attempt in 1.. {
            let mut tx = Tx::opening_control(self.pool.acquire().await.map_err(failed)?);
            match DB::Adapter::begin_exclusive(tx.connection(), name).await {
                Ok(()) => tx.opened([].into()),
                Err(error) if DB::Adapter::is_lock_timeout(&error) && attempt < FENCE_ATTEMPTS => {
                    drop(tx);
                    clock::sleep(FENCE_PAUSE).await;
                    continue;
                }
                Err(error) if DB::Adapter::is_lock_timeout(&error) => {
                    let message = "writes in flight did not end in time, so the stage stays; look for \
                                   a transaction that is held open";
                    return Err(Error::new(ErrorKind::Timeout, message).caused_by(error).of(name));
                }
                Err(error) => return Err(failed(error)),
            }
            let conn = tx.connection();
            if let Some((facts, to)) = decide::<DB>(conn, name, change).await? {
                apply::<DB>(conn, name, change, &facts, to).await.map_err(failed)?;
                let epoch = facts.position.epoch.0 + 1;
                if let Some(step) = &change.plan
                    && !plans::take_step::<DB>(conn, name, step, epoch).await.map_err(failed)?
                {
                    tx.rollback().await?;
                    return Err(outdated(name));
                }
                if let Some(wanted) = &change.flag {
                    let flagged = plans::flag_moved::<DB>(conn, name, wanted, epoch).await;
                    flagged.map_err(failed)?;
                }
                DB::Adapter::notify(conn, name).await.map_err(failed)?;
            }
            tx.commit().await?;
            return self.record(name).await;
        }
        Err(Error::new(ErrorKind::Timeout, "no attempt was made").of(name))
    }
}

/// Under the exclusive fence: where does the change lead, and do the gates let it through? `None` where
/// it changes nothing.
async fn decide<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    change: &Change,
) -> Result<Option<(Facts, Destination)>, Error> {
    let facts = facts::<DB>(conn, name).await?;
    decide_change(&facts, change).map_err(|error| error.of(name)).map(|to| to.map(|to| (facts, to)))
}

/// The decision of every adapter.
pub(crate) fn decide_change(facts: &Facts, change: &Change) -> Result<Option<Destination>, Error> {
    let now = facts.position;
    if let Some(expected) = change.expected
        && expected != now.epoch
    {
        let message = format!(
            "somebody else changed the position first: it is {now}, and epoch {expected} was expected; \
             look at it and decide again"
        );
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    let to = destination(now, facts.generation, change.wish)?;
    if (to.stage, to.ramp) == (now.stage, now.ramp) {
        return Ok(None);
    }
    admit(&blockers(facts, change.wish, to, &change.terms), &change.overridden)?;
    Ok(Some(to))
}

async fn apply<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    change: &Change,
    facts: &Facts,
    to: Destination,
) -> sqlx::Result<()> {
    let from = facts.position;
    let epoch = from.epoch.0 + 1;
    let stage_epoch = if to.stage == from.stage { facts.stage_epoch.0 } else { epoch };
    let code = |stage: crate::stage::Stage| SqlValue::from(i64::from(stage.code()));
    let ramp = |ramp: Percent| SqlValue::from(i64::from(ramp.basis_points()));
    // MySQL assigns from left to right: `stage_at` must come before `stage`, which it looks at.
    let sql = "UPDATE dualwrite_migration SET \
               stage_at = CASE WHEN stage = ? THEN stage_at ELSE {now} END, stage = ?, ramp = ?, \
               epoch = ?, generation = ?, old_generation = ?, stage_epoch = ? WHERE name = ? AND epoch = ?";
    let values = [
        code(to.stage),
        code(to.stage),
        ramp(to.ramp),
        epoch.into(),
        to.generation.0.into(),
        to.old_generation(from, facts.old_generation).0.into(),
        stage_epoch.into(),
        name.into(),
        from.epoch.0.into(),
    ];
    if DB::Adapter::execute(conn, sql, &values).await? != 1 {
        return Err(unexpected(0, "at the epoch that the fence guards"));
    }
    let old_generation = to.old_generation(from, facts.old_generation);
    let raised = [
        (Side::New, to.generation != facts.generation),
        (Side::Old, old_generation != facts.old_generation),
    ];
    for (side, _) in raised.into_iter().filter(|(_, is_raised)| *is_raised) {
        let values = [name.into(), side.as_str().into()];
        DB::Adapter::execute(conn, letters::FORGET_WAIVERS, &values).await?;
    }
    let overridden: Vec<&str> = change.overridden.iter().map(|gate| gate.as_str()).collect();
    let sql = "INSERT INTO dualwrite_event (migration, at, actor, reason, from_stage, from_ramp, \
               to_stage, to_ramp, epoch, generation, overridden) \
               VALUES (?, {now}, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let values = [
        name.into(),
        change.actor.as_str().into(),
        change.reason.as_str().into(),
        code(from.stage),
        ramp(from.ramp),
        code(to.stage),
        ramp(to.ramp),
        epoch.into(),
        to.generation.0.into(),
        overridden.join(",").as_str().into(),
    ];
    DB::Adapter::execute(conn, sql, &values).await.map(drop)
}

async fn facts<DB: Backend>(conn: &mut Conn<DB>, name: &str) -> Result<Facts, Error> {
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
               AND b.part = 'old' AND b.generation = old_generation), old_verified_generation, \
               {now} - (SELECT (max(u.minute) + 1) * 60000000 FROM dualwrite_unaware u \
               WHERE u.migration = name), \
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

async fn acknowledge<DB: Backend>(
    conn: &mut Conn<DB>,
    beat: &Heartbeat,
    seen: &Acknowledgement,
) -> sqlx::Result<()> {
    let sql = format!(
        "INSERT INTO dualwrite_instance (id, migration, release_name, min_stage, max_stage, lazy, \
         wanted, killed_by, seen_epoch, drained_epoch, expires_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, {{now}} + ?){}",
        DB::Adapter::DIALECT.upsert(
            "id, migration",
            &["wanted", "killed_by", "seen_epoch", "drained_epoch", "expires_at"]
        )
    );
    let lease = u64::try_from(beat.lease.as_micros()).unwrap_or(u64::MAX);
    let values = [
        beat.instance.as_str().into(),
        seen.migration.as_str().into(),
        beat.release.as_str().into(),
        i64::from(beat.min_stage.code()).into(),
        i64::from(beat.max_stage.code()).into(),
        i64::from(seen.lazy).into(),
        SqlValue::Text(seen.wanted.clone()),
        SqlValue::Text(seen.killed_by.clone()),
        seen.seen.0.into(),
        seen.drained.0.into(),
        lease.into(),
    ];
    DB::Adapter::execute(conn, &sql, &values).await.map(drop)
}

fn event_of(row: &SqlRow) -> sqlx::Result<Event> {
    let at = |column: usize| -> sqlx::Result<(crate::stage::Stage, Percent)> {
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
            let failed = |error| Error::database("reading the progress", error).of(name);
            let mut lent = self.lend().await.map_err(failed)?;
            let progress = ledger::progress::<DB>(&mut lent.conn, name).await.map_err(failed);
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
            let (sql, values) = ledger::order(name, side, order);
            Ok(self.execute("giving an order to the backfill", &sql, &values).await? > 0)
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
            let watch = DB::Adapter::watch(&self.pool).await;
            watch.map_err(|error| Error::database("listening for changes", error))
        })
    }
}
