//! Instances: how one joins a migration, and what it acknowledges with every heartbeat.

use crate::control::{Acknowledgement, Heartbeat, Record};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, Begin, Fenced, Pin, SqlValue};
use crate::error::{Error, ErrorKind};
use crate::state::unknown_migration;
use crate::store::sql::{Conn, SqlControl};
use crate::transaction::{Tx, fence_lost};

impl<DB: Backend> SqlControl<DB> {
    /// Makes the migration where it is new, and registers the instance at the position in force.
    pub(super) async fn join_in(
        &self,
        name: &str,
        beat: &Heartbeat,
        lazy: bool,
    ) -> Result<Record, Error> {
        let failed = |error| Error::database("joining", error).of(name);
        self.create(name).await?;
        self.check_fence(name).await?;
        // Whatever the position is when the fence is ours, it stays until the instance is registered.
        loop {
            let record = self.record(name).await?;
            let mut tx = Tx::opening_control(self.pool.acquire().await.map_err(failed)?);
            let pin = Pin { name: name.into(), fence: record.fence, position: record.position };
            let position = match tx.take_fence(Begin::plain(&[pin])).await.map_err(failed)? {
                Fenced::Confirmed => record.position,
                // What is registered here is no write that a trigger would look at.
                Fenced::Read(found) => {
                    let found = found[0].ok_or_else(|| unknown_migration(name))?;
                    if found.watched {
                        DB::Adapter::unmark(tx.connection()).await.map_err(failed)?;
                    }
                    found.position
                }
                Fenced::Moved => continue,
                Fenced::Lost => return Err(fence_lost().of(name)),
            };
            tx.opened([].into());
            let seen = Acknowledgement::joining(name, position.epoch, lazy);
            acknowledge::<DB>(tx.connection(), beat, &seen).await.map_err(failed)?;
            tx.commit().await?;
            return self.record(name).await;
        }
    }

    /// Makes the migration where it is new. Where it is not, nothing is written, and so no lock is asked for
    /// that writers of the migration hold.
    async fn create(&self, name: &str) -> Result<(), Error> {
        let doing = "registering";
        let known = "SELECT fence FROM dualwrite_migration WHERE name = ?";
        let insert = format!(
            "INSERT INTO dualwrite_migration (name, fence, stage, ramp, epoch, generation, stage_epoch, \
             stage_at, created_at, contract_notes) VALUES (?, ?, 0, 0, 1, 1, 1, {{now}}, {{now}}, ''){}",
            DB::Adapter::DIALECT.upsert("name", &[])
        );
        for fence in Pin::fences(name) {
            if !self.fetch(doing, known, &[name.into()]).await?.is_empty() {
                return Ok(());
            }
            match self.execute(doing, &insert, &[name.into(), fence.into()]).await {
                Err(error) if is_taken(&error) => {}
                made => made.map(drop)?,
            }
        }
        match self.fetch(doing, known, &[name.into()]).await?.is_empty() {
            false => Ok(()),
            true => {
                let message = "every number that its fence could have is another migration's; choose \
                               another name";
                Err(Error::new(ErrorKind::InvalidInput, message).of(name))
            }
        }
    }

    /// Makes the fence of a migration again where it is not what its row says, as after a partial restore.
    async fn check_fence(&self, name: &str) -> Result<(), Error> {
        let failed = |error| Error::database("checking the fence", error).of(name);
        let mut lent = self.lend().await.map_err(failed)?;
        let mut intact =
            DB::Adapter::is_fence_intact(&mut lent.conn, name).await.map_err(failed)?;
        if !intact {
            DB::Adapter::repair_fence(&mut lent.conn, name).await.map_err(failed)?;
            intact = DB::Adapter::is_fence_intact(&mut lent.conn, name).await.map_err(failed)?;
            tracing::warn!(
                migration = name,
                intact,
                "the fence was not what its row says; made again"
            );
        }
        lent.done(match intact {
            true => Ok(()),
            false => Err(fence_lost().of(name)),
        })
    }
}

/// Another migration has this number. MySQL does not say so: nothing is inserted there.
fn is_taken(error: &Error) -> bool {
    let source = std::error::Error::source(error);
    let error = source.and_then(|error| error.downcast_ref::<sqlx::Error>());
    error.and_then(sqlx::Error::as_database_error).is_some_and(|error| error.is_unique_violation())
}

pub(super) async fn acknowledge<DB: Backend>(
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
