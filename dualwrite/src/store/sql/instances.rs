//! Instances: how one joins, what it acknowledges, and what is forgotten of those that have gone.

use std::sync::PoisonError;
use std::time::Duration;

use crate::control::{Acknowledgement, Heartbeat, Pulse, Record};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, Pin, SqlValue};
use crate::error::{Error, ErrorKind};
use crate::stages::lineage::Mark;
use crate::store::sql::names::{self, Made};
use crate::store::sql::record::{record_of, record_sql};
use crate::store::sql::{Conn, SqlControl};
use crate::transaction::begin::fence_lost;

/// The columns of an acknowledgement that a newer one replaces.
const ACKNOWLEDGED: [&str; 9] = [
    "lazy",
    "new_only",
    "wanted",
    "killed_by",
    "seen_epoch",
    "seen_token",
    "drained_epoch",
    "terms",
    "open_s",
];
/// How many rows one statement writes at the most.
const ROWS_MAX: usize = 500;
/// How many of those that have gone are forgotten by one that leaves; the next one forgets the next.
const FORGOTTEN_MAX: usize = 50;
/// For how long an instance is remembered that does not answer any more.
const REMEMBERED_US: u64 = 24 * 3_600 * 1_000_000;

/// What an instance that leaves gives back, so that another one takes it at once: rollouts, jobs, ranges of keys.
const LEAVING: [&str; 3] = [
    "UPDATE dualwrite_plan SET leader = NULL WHERE leader = ?",
    "UPDATE dualwrite_task SET runner_until = 0 WHERE runner = ?",
    "UPDATE dualwrite_batch SET expires_at = 0 WHERE owner LIKE ?",
];

impl<DB: Backend> SqlControl<DB> {
    pub(super) async fn leave_in(&self, instance: &str) -> Result<(), Error> {
        self.forget(instance).await?;
        let doing = "leaving what it has begun";
        let workers = format!("{instance}/%");
        let values = [instance.into(), instance.into(), workers.as_str().into()];
        // Read first: an UPDATE that finds nothing would lock all rows that it looks at on MySQL.
        let sql = "SELECT (SELECT count(*) FROM dualwrite_plan WHERE leader = ?), \
                   (SELECT count(*) FROM dualwrite_task WHERE runner = ?), \
                   (SELECT count(*) FROM dualwrite_batch WHERE owner LIKE ?)";
        let rows = self.fetch(doing, sql, &values).await?;
        let begun = |column| match rows.first() {
            Some(row) => row.unsigned(column).map(|count| count > 0),
            None => Ok(false),
        };
        let mut left = 0;
        for (column, (value, sql)) in values.into_iter().zip(LEAVING).enumerate() {
            if begun(column).map_err(|error| Error::database(doing, error))? {
                left += self.execute(doing, sql, &[value]).await?;
            }
        }
        if left > 0 {
            self.hint("").await?;
        }
        Ok(())
    }

    pub(super) async fn enlist_in(&self, names: &[&str]) -> Result<Vec<Record>, Error> {
        let known = self.records_of(names).await?;
        let is_known = |name: &&str| known.iter().any(|record| record.name == *name);
        let new: Vec<&str> = names.iter().filter(|name| !is_known(name)).copied().collect();
        if new.is_empty() {
            self.check_fences(names).await?;
            return Ok(known);
        }
        for new in new.chunks(ROWS_MAX) {
            self.create(new).await?;
        }
        let records = self.records_of(names).await?;
        let is_there = |name: &&str| records.iter().any(|record| record.name == **name);
        if names.iter().all(is_there) {
            return Ok(records);
        }
        for name in names.iter().filter(|name| !is_there(name)) {
            self.create_beside(name).await?;
        }
        self.records_of(names).await
    }

    /// Makes migrations that are new with the first number that their fences may have. Where one of the numbers is
    /// taken, some or all of them are not made.
    async fn create(&self, names: &[&str]) -> Result<(), Error> {
        let first = names.iter().filter_map(|name| Some((*name, Pin::fences(name).next()?)));
        let rows: Vec<(&str, u64)> = first.collect();
        match self.insert(&rows).await {
            Err(error) if is_taken(&error) => Ok(()),
            made => made,
        }
    }

    /// Makes one with the first number that is free.
    async fn create_beside(&self, name: &str) -> Result<(), Error> {
        for fence in Pin::fences(name) {
            match self.insert(&[(name, fence)]).await {
                Err(error) if is_taken(&error) => {}
                made => made?,
            }
            // Nothing is inserted where the number is taken.
            if !self.records_of(&[name]).await?.is_empty() {
                return Ok(());
            }
        }
        let message =
            "every number that its fence could have is another migration's; choose another name";
        Err(Error::new(ErrorKind::InvalidInput, message).of(name))
    }

    async fn insert(&self, rows: &[(&str, u64)]) -> Result<(), Error> {
        let doing = "registering";
        let inserting = self.working.within(doing, async {
            let mut lent = self.working.begin().await?;
            match names::make::<DB>(&mut lent, rows).await {
                Ok(Made::Rows) => lent.commit().await.map(|()| None),
                Ok(Made::Nothing) => lent.rollback().await.map(|()| None),
                Ok(Made::Exact(name)) => lent.rollback().await.map(|()| Some(name)),
                Err(error) => {
                    // What cannot be rolled back is closed.
                    let _ = lent.rollback().await;
                    Err(error)
                }
            }
        });
        let Some(name) = inserting.await? else { return Ok(()) };
        let message = "a migration in exact mode has this name in this database; take another name for the one that is \
                       registered with `Runtime`";
        Err(Error::new(ErrorKind::InvalidInput, message).of(&name))
    }

    /// Makes fences again that are not what their rows say, as after a partial restore.
    async fn check_fences(&self, names: &[&str]) -> Result<(), Error> {
        let broken = self.broken_fences(names).await?;
        for name in &broken {
            let repairing = self.working.within("making the fence again", async {
                let mut lent = self.working.lend().await?;
                lent.busy();
                let repaired = DB::Adapter::repair_fence(&mut lent, name).await;
                lent.ended(repaired)
            });
            repairing.await.map_err(|error| error.of(name))?;
            tracing::warn!(
                migration = name,
                "the fence was not what its row says; it was made again"
            );
        }
        if !broken.is_empty()
            && let Some(name) = self.broken_fences(names).await?.first()
        {
            return Err(fence_lost().of(name));
        }
        Ok(())
    }

    async fn broken_fences(&self, names: &[&str]) -> Result<Vec<String>, Error> {
        let Some(sql) = DB::Adapter::BROKEN_FENCES else { return Ok(Vec::new()) };
        let doing = "checking the fences";
        let rows = self.fetch(doing, sql, &[]).await?;
        let found = rows.iter().map(|row| row.text(0).map(str::to_owned));
        let found: sqlx::Result<Vec<String>> = found.collect();
        let mut found = found.map_err(|error| Error::database(doing, error))?;
        found.retain(|name| names.contains(&name.as_str()));
        Ok(found)
    }

    async fn records_of(&self, names: &[&str]) -> Result<Vec<Record>, Error> {
        let doing = "reading the migrations";
        let mut records = Vec::with_capacity(names.len());
        for names in names.chunks(ROWS_MAX) {
            let list = vec!["?"; names.len()].join(", ");
            let sql = record_sql(&format!("WHERE m.name IN ({list})"));
            let values: Vec<SqlValue> = names.iter().map(|name| (*name).into()).collect();
            let rows = self.fetch(doing, &sql, &values).await?;
            let found = rows.iter().map(record_of).collect::<sqlx::Result<Vec<_>>>();
            records.extend(found.map_err(|error| Error::database(doing, error))?);
        }
        Ok(records)
    }

    /// In one transaction, whose first statement locks the instance: who forgets those that have gone either does
    /// so before, or finds it alive.
    pub(super) async fn join_in(
        &self,
        heartbeat: &Heartbeat,
        number: u64,
        acknowledged: &[Acknowledgement],
    ) -> Result<(), Error> {
        let joining = self.heartbeats.within("joining", async {
            let mut lent = self.heartbeats.begin().await?;
            enter::<DB>(&mut lent, heartbeat, number).await?;
            acknowledge::<DB>(&mut lent, heartbeat, number, acknowledged).await?;
            lent.commit().await
        });
        joining.await
    }

    pub(super) async fn heartbeat_in(
        &self,
        heartbeat: &Heartbeat,
        pulse: Pulse,
        changed: &[Acknowledgement],
    ) -> Result<bool, Error> {
        let doing = "sending the heartbeat";
        if !changed.is_empty() {
            // First what is acknowledged, then the time for which it holds.
            let acknowledging = self.heartbeats.within(doing, async {
                let mut lent = self.heartbeats.lend().await?;
                lent.busy();
                let sent = acknowledge::<DB>(&mut lent, heartbeat, pulse.number, changed).await;
                lent.ended(sent)
            });
            acknowledging.await?;
        }
        let sql = format!(
            "UPDATE dualwrite_instance SET expires_at = {{now}} + ?, beat = ?, server = {} \
             WHERE id = ? AND beat >= ? AND beat < ?",
            DB::Adapter::DIALECT.identity
        );
        let values = [
            lease_of(heartbeat),
            pulse.number.into(),
            heartbeat.instance.as_str().into(),
            pulse.confirmed.into(),
            pulse.number.into(),
        ];
        Ok(self.heartbeats.execute(doing, &sql, &values).await? > 0)
    }

    pub(super) async fn live_instances_in(&self) -> Result<u64, Error> {
        let doing = "counting the instances";
        let sql = "SELECT count(*) FROM dualwrite_instance WHERE expires_at > {now}";
        let rows = self.fetch(doing, sql, &[]).await?;
        let counted = rows.first().map_or(Ok(0), |row| row.unsigned(0));
        counted.map_err(|error| Error::database(doing, error))
    }

    /// What instances that have gone left behind before the clock went back, lasts no longer than a lease from now.
    pub(super) async fn clock_stepped_in(&self, by_us: i64, lease: Duration) -> Result<(), Error> {
        if by_us > 0 {
            let until = self.clock.now().saturating_add(nanos(lease));
            *self.stepped.lock().unwrap_or_else(PoisonError::into_inner) = Some((by_us, until));
            return Ok(());
        }
        // One by one, as in `forget`: every instance sees the step, and mostly finds nothing left to do.
        let doing = "shortening leases";
        let sql = "SELECT id FROM dualwrite_instance WHERE expires_at > {now} + lease";
        for row in &self.fetch(doing, sql, &[]).await? {
            let id = row.text(0).map_err(|error| Error::database(doing, error))?;
            let sql = "UPDATE dualwrite_instance SET expires_at = {now} + lease \
                       WHERE id = ? AND expires_at > {now} + lease";
            self.execute(doing, sql, &[id.into()]).await?;
        }
        Ok(())
    }

    pub(super) async fn descends_in(&self, name: &str, from: Mark) -> Result<bool, Error> {
        let doing = "reading the audit";
        let sql = "SELECT count(*) FROM dualwrite_event \
                   WHERE migration = ? AND epoch = ? AND from_token = ?";
        let values = [name.into(), (from.epoch.0 + 1).into(), from.token.0.into()];
        let rows = self.heartbeats.fetch(doing, sql, &values).await?;
        let found = rows.first().map_or(Ok(0), |row| row.integer(0));
        found.map(|found| found > 0).map_err(|error| Error::database(doing, error).of(name))
    }

    /// Takes an instance out, and those that have been gone for a day, or every restart would leave rows.
    ///
    /// Those are found without a lock and locked one by one: who looks through the table under locks keeps the
    /// heartbeats of a whole fleet waiting, and instances that leave together wait for one another.
    pub(super) async fn forget(&self, instance: &str) -> Result<(), Error> {
        let doing = "leaving";
        let gone = format!("expires_at < {{now}} - {REMEMBERED_US}");
        let sql = format!("SELECT id FROM dualwrite_instance WHERE {gone} LIMIT {FORGOTTEN_MAX}");
        let rows = self.fetch(doing, &sql, &[]).await?;
        let found = rows.iter().map(|row| row.text(0)).collect::<sqlx::Result<Vec<_>>>();
        let mut found = found.map_err(|error| Error::database(doing, error))?;
        found.push(instance);
        found.sort_unstable();
        found.dedup();
        self.working.within(doing, self.forgetting(instance, &gone, &found)).await
    }

    async fn forgetting(&self, instance: &str, gone: &str, found: &[&str]) -> sqlx::Result<()> {
        let mut lent = self.working.begin().await?;
        let lock = format!(
            "SELECT id FROM dualwrite_instance WHERE id = ? AND (id = ? OR {gone}){}",
            DB::Adapter::DIALECT.for_update
        );
        for id in found {
            let values = [(*id).into(), instance.into()];
            let rows = DB::Adapter::fetch(&mut lent, &lock, &values).await?;
            if rows.is_empty() {
                continue;
            }
            for sql in [
                "DELETE FROM dualwrite_acknowledgement WHERE instance = ?",
                "DELETE FROM dualwrite_instance WHERE id = ?",
            ] {
                DB::Adapter::execute(&mut lent, sql, &[(*id).into()]).await?;
            }
        }
        lent.commit().await
    }
}

/// Another migration has this number. MySQL does not say so: nothing is inserted there.
fn is_taken(error: &Error) -> bool {
    let source = std::error::Error::source(error);
    let error = source.and_then(|error| error.downcast_ref::<sqlx::Error>());
    error.and_then(sqlx::Error::as_database_error).is_some_and(|error| error.is_unique_violation())
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn lease_of(heartbeat: &Heartbeat) -> SqlValue {
    u64::try_from(heartbeat.lease.as_micros()).unwrap_or(u64::MAX).into()
}

async fn enter<DB: Backend>(
    conn: &mut Conn<DB>,
    heartbeat: &Heartbeat,
    number: u64,
) -> sqlx::Result<()> {
    let sql = format!(
        "INSERT INTO dualwrite_instance (id, release_name, min_stage, max_stage, lease, expires_at, beat, \
         server) VALUES (?, ?, ?, ?, ?, {{now}} + ?, ?, {}){}",
        DB::Adapter::DIALECT.identity,
        DB::Adapter::DIALECT.upsert("id", &["lease", "expires_at", "beat", "server"])
    );
    let values = [
        heartbeat.instance.as_str().into(),
        heartbeat.release.as_str().into(),
        i64::from(heartbeat.min_stage.code()).into(),
        i64::from(heartbeat.max_stage.code()).into(),
        lease_of(heartbeat),
        lease_of(heartbeat),
        number.into(),
    ];
    DB::Adapter::execute(conn, &sql, &values).await.map(drop)
}

/// One statement, however many there are. One that arrives late does not undo a newer one.
async fn acknowledge<DB: Backend>(
    conn: &mut Conn<DB>,
    heartbeat: &Heartbeat,
    number: u64,
    acknowledged: &[Acknowledgement],
) -> sqlx::Result<()> {
    for some in acknowledged.chunks(ROWS_MAX) {
        let rows = vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"; some.len()].join(", ");
        let sql = format!(
            "INSERT INTO dualwrite_acknowledgement (migration, instance, lazy, new_only, wanted, killed_by, \
             seen_epoch, seen_token, drained_epoch, terms, open_s, beat) VALUES {rows}{}",
            DB::Adapter::DIALECT.upsert_newer(
                "dualwrite_acknowledgement",
                "migration, instance",
                &ACKNOWLEDGED,
                "beat"
            )
        );
        let row = |seen: &Acknowledgement| {
            [
                seen.migration.as_str().into(),
                heartbeat.instance.as_str().into(),
                i64::from(seen.lazy).into(),
                i64::from(seen.new_only).into(),
                SqlValue::Text(seen.wanted.clone()),
                SqlValue::Text(seen.killed_by.clone()),
                seen.seen.epoch.0.into(),
                seen.seen.token.0.into(),
                seen.drained.0.into(),
                SqlValue::Text(Some(seen.terms.to_text())),
                seen.open_s.into(),
                number.into(),
            ]
        };
        let values: Vec<SqlValue> = some.iter().flat_map(row).collect();
        DB::Adapter::execute(conn, &sql, &values).await?;
    }
    Ok(())
}
