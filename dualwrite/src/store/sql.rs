//! The control tables in a SQL database: statements written once, over the narrow waist of
//! [`backend`](crate::database).

mod alter;
pub(crate) mod change;
pub(crate) mod commands;
mod contracts;
mod dead_letters;
mod doctor;
mod events;
pub(crate) mod exact;
mod expands;
mod facts;
mod fingerprint;
mod hazards;
mod holders;
mod instances;
mod live;
mod maintenance;
mod mismatch;
mod names;
mod plans;
mod record;
mod recorded;
mod removals;
mod row;
pub(crate) mod steps;
mod summary;
mod tables;
pub(crate) mod tasks;
mod traffic;
mod verification;

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::BoxFuture;

use self::record::{Conn, READ_AT, record_of, record_sql};
#[cfg(test)]
pub(crate) use self::tables::STATEMENT_MAX;
pub(crate) use self::tables::{SqlControl, statement_limit};
use crate::clock;
use crate::control::{
    Acknowledgement, AuditEvent, BackfillProgress, Change, Control, DirtyKey, Fingerprint,
    Heartbeat, Mismatch, Polled, Positions, Pulse, Record, Sample, VerifyCommand, Watch,
};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlRow, SqlValue};
use crate::error::Error;
use crate::key::EncodedKey;
use crate::rollout::command::NewRolloutCommand;
use crate::stages::facts::Facts;
use crate::stages::lineage::Mark;
use crate::stages::position::Generation;
use crate::stages::stage::Side;
use crate::stages::stale::StaleKind;
use crate::stages::verification::{Recorded, VerifyState};
use crate::store::account;

const LOADING: &str = "reading the positions";
/// One that cannot be read does not hide the others; who asks for it by name is told.
fn readable(rows: &[SqlRow]) -> Vec<Record> {
    let read = |row: &SqlRow| match record_of(row) {
        Ok(record) => Some(record),
        Err(error) => {
            let (name, error) = (row.text(0).ok(), Error::without_values(&error));
            tracing::error!(migration = name, error, "a control row cannot be read");
            None
        }
    };
    rows.iter().filter_map(read).collect()
}

impl<DB: Backend> Control for SqlControl<DB> {
    fn install(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            // The application may hold all connections of its own.
            let own = DB::Adapter::control_source(&self.pool, self.working.limit());
            DB::Adapter::install(own.as_ref().unwrap_or(&self.pool)).await
        })
    }

    fn check_version(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let doing = "reading the version of the control tables";
            let _turn = self.working.turn(doing).await?;
            let reading = async {
                let lent = self.working.lend().await;
                let mut lent = lent.map_err(|error| self.working.failed(doing, error))?;
                lent.busy();
                let checked = DB::Adapter::check_version(&mut lent).await;
                lent.all_ended(checked)
            };
            let limit = self.working.limit();
            clock::limit(limit, reading)
                .await
                .unwrap_or_else(|()| Err(self.working.too_late(doing)))
        })
    }

    fn enlist<'a>(&'a self, names: &'a [&'a str]) -> BoxFuture<'a, Result<Vec<Record>, Error>> {
        Box::pin(self.enlist_in(names))
    }

    fn join<'a>(
        &'a self,
        heartbeat: &'a Heartbeat,
        number: u64,
        acknowledged: &'a [Acknowledgement],
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.join_in(heartbeat, number, acknowledged))
    }

    fn descends<'a>(&'a self, name: &'a str, from: Mark) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.descends_in(name, from))
    }

    fn load(&self) -> BoxFuture<'_, Result<Vec<Record>, Error>> {
        Box::pin(async move {
            let rows = self.working.fetch(LOADING, &record_sql(""), &[]).await?;
            Ok(readable(&rows))
        })
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        Box::pin(async move {
            let (doing, sql) = ("reading the names", "SELECT name FROM dualwrite_migration");
            let rows = self.working.fetch(doing, sql, &[]).await?;
            let names = rows.iter().map(|row| row.text(0).map(str::to_owned));
            names.collect::<sqlx::Result<_>>().map_err(|error| Error::database(doing, error))
        })
    }

    fn poll(&self) -> BoxFuture<'_, Result<Polled, Error>> {
        Box::pin(async move {
            let rows = self.heartbeats.fetch(LOADING, &record_sql(""), &[]).await?;
            let failed = |error| Error::database(LOADING, error);
            let at_us = rows.first().map(|row| row.integer(READ_AT)).transpose().map_err(failed)?;
            Ok(Polled { records: readable(&rows), at_us })
        })
    }

    fn fingerprint(&self) -> BoxFuture<'_, Result<Option<Fingerprint>, Error>> {
        Box::pin(async move { self.fingerprint_in().await })
    }

    fn positions(&self) -> BoxFuture<'_, Result<Option<(Positions, i64)>, Error>> {
        Box::pin(self.positions_in())
    }

    fn clock_stepped<'a>(
        &'a self,
        by_us: i64,
        lease: Duration,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.clock_stepped_in(by_us, lease))
    }

    fn close(&self) {
        self.heartbeats.close();
        self.working.close();
        self.moves.close();
        self.catalogue.close();
    }

    fn trim(&self) {
        self.working.trim();
        self.moves.trim();
        self.catalogue.trim();
    }

    fn heartbeat<'a>(
        &'a self,
        heartbeat: &'a Heartbeat,
        pulse: Pulse,
        changed: &'a [Acknowledgement],
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.heartbeat_in(heartbeat, pulse, changed))
    }

    fn leave<'a>(&'a self, instance: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.leave_in(instance))
    }

    fn change<'a>(
        &'a self,
        name: &'a str,
        change: &'a Change,
    ) -> BoxFuture<'a, Result<Record, Error>> {
        Box::pin(self.change_in(name, change))
    }

    fn holders<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Vec<String>> {
        Box::pin(self.holders_of(name))
    }

    fn facts<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Facts, Error>> {
        Box::pin(async move { Ok(self.facts_in(name).await?.0) })
    }

    fn facts_and_verification<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<(Facts, Option<VerifyState>), Error>> {
        Box::pin(self.facts_in(name))
    }

    fn summaries<'a>(
        &'a self,
        names: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<(String, Facts)>, Error>> {
        Box::pin(async move {
            let reading = self.working.within("reading what is published", async {
                if !DB::Adapter::DIALECT.server {
                    let mut lent = self.working.lend().await?;
                    lent.busy();
                    let found = summary::summaries::<DB>(&mut lent, names, self.slack()).await;
                    return lent.ended(found);
                }
                // In one transaction: that is what a server counts.
                let mut lent = self.working.begin().await?;
                let found = summary::summaries::<DB>(&mut lent, names, self.slack()).await?;
                lent.commit().await.map(|()| found)
            });
            reading.await
        })
    }

    fn live_instances(&self) -> BoxFuture<'_, Result<u64, Error>> {
        Box::pin(self.live_instances_in())
    }

    fn events<'a>(
        &'a self,
        name: &'a str,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<AuditEvent>, Error>> {
        Box::pin(self.events_of(name, limit))
    }

    fn verified<'a>(
        &'a self,
        name: &'a str,
        owner: &'a str,
        [new, old]: [Generation; 2],
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.verified_in(name, owner, [new, old]))
    }

    fn mark_stale<'a>(
        &'a self,
        name: &'a str,
        kind: StaleKind,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.mark_stale_in(name, kind))
    }

    fn begin_verification<'a>(
        &'a self,
        name: &'a str,
        owner: &'a str,
        fresh: &'a VerifyState,
        afresh: bool,
    ) -> BoxFuture<'a, Result<VerifyState, Error>> {
        Box::pin(self.begin_verification_in(name, owner, fresh, afresh))
    }

    fn record_verification<'a>(
        &'a self,
        name: &'a str,
        owner: &'a str,
        state: &'a VerifyState,
    ) -> BoxFuture<'a, Result<Recorded, Error>> {
        Box::pin(self.record_verification_in(name, owner, state))
    }

    fn command_verification<'a>(
        &'a self,
        name: &'a str,
        command: VerifyCommand,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let values = [command.code().into(), name.into()];
            let sql = verification::command(command);
            Ok(self.execute("giving a command to a verification", sql, &values).await? > 0)
        })
    }

    fn verification<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<VerifyState>, Error>> {
        Box::pin(async move { Ok(self.owned_verification(name).await?.map(|(_, state)| state)) })
    }

    fn backfills(&self) -> BoxFuture<'_, Result<HashMap<String, BackfillProgress>, Error>> {
        Box::pin(async move {
            let reading = self.working.within("reading the progress", async {
                let mut lent = self.working.lend().await?;
                lent.busy();
                let progress = account::progress_of_all::<DB>(&mut lent).await;
                lent.ended(progress)
            });
            reading.await
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
            // In this command: a crash in between must not lose both.
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
            let command = NewRolloutCommand::approval(approval, actor, reason);
            self.change_and_record("recording an approval", name, (&sql, &values), &command)
                .await
                .map(drop)
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
            if !self.notified {
                return Ok(None);
            }
            let doing = "listening for changes";
            self.working.within(doing, DB::Adapter::watch(&self.pool)).await
        })
    }
}
