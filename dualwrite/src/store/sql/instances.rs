//! Instances: how one joins a migration, and what it acknowledges with every heartbeat.

use crate::control::{Acknowledgement, Heartbeat, Record};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, Begin, Fenced, Pin, SqlValue};
use crate::error::Error;
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
        let insert = format!(
            "INSERT INTO dualwrite_migration (name, fence, stage, ramp, epoch, generation, stage_epoch, \
             stage_at, created_at, contract_notes) VALUES (?, ?, 0, 0, 1, 1, 1, {{now}}, {{now}}, ''){}",
            DB::Adapter::DIALECT.upsert("name", &[])
        );
        let values = [name.into(), Pin::fence(name).into()];
        self.execute("registering", &insert, &values).await?;
        // Whatever the position is when the fence is ours, it stays until the instance is registered.
        loop {
            let record = self.record(name).await?;
            let mut tx = Tx::opening_control(self.pool.acquire().await.map_err(failed)?);
            let conn = tx.connection();
            let pin = Pin { name: name.into(), position: record.position };
            let position = match DB::Adapter::begin_fenced(conn, Begin::plain(&[pin]))
                .await
                .map_err(failed)?
            {
                Fenced::Confirmed => record.position,
                // What is registered here is no write that a trigger would look at.
                Fenced::Read(found) => {
                    let found = found[0].ok_or_else(|| unknown_migration(name))?;
                    if found.watched {
                        DB::Adapter::unmark(conn).await.map_err(failed)?;
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
