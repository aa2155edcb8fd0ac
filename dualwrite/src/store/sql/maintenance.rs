//! Closing and opening the calls of a migration: a change of the position to a new epoch of the same stage, under the
//! exclusive fence, so that no write that began before is still under way, and none that begins later misses it.

use crate::clock;
use crate::control::Record;
use crate::control::commands::{Taken, moved};
use crate::control::maintenance::MaintenanceChange;
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlValue, unexpected};
use crate::error::{Closed, Error, Maintenance};
use crate::rollout::command::NewRolloutCommand;
use crate::stages::lineage::Token;
use crate::stages::position::Epoch;
use crate::state::unknown_migration;
use crate::store::changed::tell;
use crate::store::sql::change::{CHANGE_LIMITS, DOING};
use crate::store::sql::record::{READ_AT, record_of, record_sql};
use crate::store::sql::recorded::record;
use crate::store::sql::{Conn, SqlControl};

impl<DB: Backend> SqlControl<DB> {
    /// Waits for writes in flight, then closes or opens, and records it.
    pub(super) async fn maintain(
        &self,
        name: &str,
        change: MaintenanceChange,
        expected: Option<Epoch>,
        audit: &NewRolloutCommand,
    ) -> Result<Taken, Error> {
        let _turn = self.take_turn(name).await?;
        let mut lent = self.exclusive(name).await?;
        let changing = clock::limit(self.moves.limit() * CHANGE_LIMITS, async {
            match make::<DB>(&mut lent, name, change, expected, audit).await {
                Ok(Taken::Done) => lent
                    .commit()
                    .await
                    .map(|()| Taken::Done)
                    .map_err(|error| Error::database("committing", error)),
                other => {
                    // What cannot be rolled back is closed.
                    let _ = lent.rollback().await;
                    other
                }
            }
        });
        let changed = changing.await.unwrap_or_else(|()| Err(self.moves.too_late(DOING)));
        changed.map_err(|error| error.of(name))
    }
}

async fn make<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    change: MaintenanceChange,
    expected: Option<Epoch>,
    audit: &NewRolloutCommand,
) -> Result<Taken, Error> {
    let failed = |error| Error::database(DOING, error);
    let rows = DB::Adapter::fetch(conn, &record_sql("WHERE m.name = ?"), &[name.into()]).await;
    let rows = rows.map_err(failed)?;
    let row = rows.first().ok_or_else(|| unknown_migration(name))?;
    let found = record_of(row).map_err(failed)?;
    let now = row.moment(READ_AT).map_err(failed)?;
    let epoch = found.position.epoch;
    if let Some(expected) = expected.filter(|expected| *expected != epoch) {
        return Err(moved(name, expected, epoch));
    }
    let Some(maintenance) = change.applied(found.maintenance.as_ref(), audit, now) else {
        return Ok(Taken::Already);
    };
    let next = epoch.0 + 1;
    apply::<DB>(conn, name, (epoch, found.token), maintenance.as_ref()).await.map_err(failed)?;
    for sql in [
        // Whoever follows a plan or a flag goes on: nobody has moved the migration.
        "UPDATE dualwrite_plan SET epoch = ? WHERE migration = ? AND epoch = ?",
        "UPDATE dualwrite_migration SET flag_epoch = ? WHERE name = ? AND flag_epoch = ?",
    ] {
        let values = [next.into(), name.into(), epoch.0.into()];
        DB::Adapter::execute(conn, sql, &values).await.map_err(failed)?;
    }
    record_event::<DB>(conn, name, &found, audit).await.map_err(failed)?;
    record::<DB>(conn, name, audit).await.map_err(failed)?;
    tell::<DB>(conn, name).await.map_err(failed)?;
    Ok(Taken::Done)
}

/// The change of a position that stays where it is, at the next epoch.
async fn record_event<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    found: &Record,
    audit: &NewRolloutCommand,
) -> sqlx::Result<()> {
    let place = [
        i64::from(found.position.stage.code()).into(),
        i64::from(found.position.ramp.basis_points()).into(),
    ];
    let sql = "INSERT INTO dualwrite_event (migration, at, actor, reason, from_stage, from_ramp, \
               to_stage, to_ramp, epoch, from_token, generation, overridden) \
               VALUES (?, {now}, ?, ?, ?, ?, ?, ?, ?, ?, ?, '')";
    let [stage, ramp]: [SqlValue; 2] = place;
    let values = [
        name.into(),
        audit.actor.as_str().into(),
        audit.reason.as_str().into(),
        stage.clone(),
        ramp.clone(),
        stage,
        ramp,
        (found.position.epoch.0 + 1).into(),
        found.token.0.into(),
        found.generation.0.into(),
    ];
    DB::Adapter::execute(conn, sql, &values).await.map(drop)
}

async fn apply<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    (epoch, token): (Epoch, Token),
    maintenance: Option<&Maintenance>,
) -> sqlx::Result<()> {
    let closed = maintenance.map_or(Closed::Nothing, |maintenance| maintenance.closed);
    let text = |of: fn(&Maintenance) -> &str| {
        SqlValue::Text(maintenance.map(|maintenance| of(maintenance).to_owned()))
    };
    let sql = "UPDATE dualwrite_migration SET epoch = ?, token = ?, from_token = ?, closed = ?, \
               closed_by = ?, closed_because = ?, closed_until = ? \
               WHERE name = ? AND epoch = ? AND token = ?";
    let values = [
        (epoch.0 + 1).into(),
        Token::random().0.into(),
        token.0.into(),
        i64::from(closed.code()).into(),
        text(|maintenance| &maintenance.actor),
        text(|maintenance| &maintenance.reason),
        maintenance.map(|maintenance| maintenance.until).into(),
        name.into(),
        epoch.0.into(),
        token.0.into(),
    ];
    match DB::Adapter::execute(conn, sql, &values).await? {
        1 => Ok(()),
        _ => Err(unexpected(0, "at the epoch that the fence guards")),
    }
}
