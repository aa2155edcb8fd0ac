//! A change of the position: decided and applied under the exclusive fence, in one transaction.

use crate::control::plans::outdated;
use crate::control::{Change, Record};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlValue, unexpected};
use crate::error::{Error, ErrorKind};
use crate::stages::facts::Facts;
use crate::stages::moves::{Destination, destination};
use crate::stages::position::Percent;
use crate::stages::readiness::{admit, blockers};
use crate::stages::stage::Side;
use crate::store::sql::facts::facts;
use crate::store::sql::hazards;
use crate::store::sql::letters;
use crate::store::sql::plans;
use crate::store::sql::{Conn, SqlControl};
use crate::transaction::Tx;
use crate::transaction::alone::{FENCE_ATTEMPTS, fence_refused};

impl<DB: Backend> SqlControl<DB> {
    /// Waits for writes in flight, and changes the position unless a gate is shut.
    pub(super) async fn change_in(&self, name: &str, change: &Change) -> Result<Record, Error> {
        let doing = "changing the position";
        let failed = |error| Error::database(doing, error).of(name);
        let begun = Tx::begin_alone(&self.pool, name, FENCE_ATTEMPTS, Tx::opening_control).await;
        let mut tx = begun.map_err(|error| {
            let message = "writes in flight did not end in time, so the stage stays; look for a \
                           transaction that is held open";
            fence_refused::<DB>(doing, message, error).of(name)
        })?;
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
        self.record(name).await
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
    let code = |stage: crate::stages::stage::Stage| SqlValue::from(i64::from(stage.code()));
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
    if to.generation != facts.generation {
        DB::Adapter::execute(conn, hazards::FORGET_STOPPED, &[name.into()]).await?;
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
