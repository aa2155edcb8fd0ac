//! A change of the position: decided and applied under the exclusive fence, in one transaction.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use crate::clock;
use crate::control::plans::outdated;
use crate::control::{Change, Record};
use crate::database::sealed::Adapter as _;
use crate::database::{Backend, SqlValue, unexpected};
use crate::error::{Error, ErrorKind};
use crate::stages::facts::Facts;
use crate::stages::lineage::Token;
use crate::stages::moves::{Destination, destination};
use crate::stages::position::Percent;
use crate::stages::readiness::{admit, blockers};
use crate::stages::stage::{Side, Stage};
use crate::store::changed::tell;
use crate::store::connections::Lent;
use crate::store::sql::dead_letters;
use crate::store::sql::facts::facts;
use crate::store::sql::hazards;
use crate::store::sql::plans;
use crate::store::sql::tables::FENCE_WAIT;
use crate::store::sql::{Conn, SqlControl};
use crate::transaction::exclusive::{FENCE_ATTEMPTS, FENCE_PAUSE, HELD_OPEN, fence_refused};

pub(super) const DOING: &str = "changing the position";
/// How long a move waits for others of its migration.
const TURN_WAIT: Duration = Duration::from_secs(10);
/// Under the fence it may take this many times the limit on a statement.
pub(super) const CHANGE_LIMITS: u32 = 4;

impl<DB: Backend> SqlControl<DB> {
    /// Waits for writes in flight, and changes the position unless a gate is shut.
    pub(super) async fn change_in(&self, name: &str, change: &Change) -> Result<Record, Error> {
        let _turn = self.take_turn(name).await?;
        let mut lent = self.exclusive(name).await?;
        let changing = clock::limit(self.moves.limit() * CHANGE_LIMITS, async {
            match self.make(&mut lent, name, change).await {
                Ok(()) => lent.commit().await.map_err(|error| Error::database("committing", error)),
                Err(error) => {
                    // What cannot be rolled back is closed.
                    let _ = lent.rollback().await;
                    Err(error)
                }
            }
        });
        let changed = changing.await.unwrap_or_else(|()| Err(self.moves.too_late(DOING)));
        changed.map_err(|error| error.of(name))?;
        self.record(name).await
    }

    /// Waits for other moves of this migration.
    pub(super) async fn take_turn(&self, name: &str) -> Result<OwnedMutexGuard<()>, Error> {
        clock::limit(TURN_WAIT, self.turn(name).lock_owned()).await.map_err(|()| {
            let message = format!(
                "other moves of this migration have been under way here for too long; {HELD_OPEN}"
            );
            Error::new(ErrorKind::Timeout, message).of(name)
        })
    }

    fn turn(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody waits for those that have no other holder.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(name.to_owned()).or_default())
    }

    /// A transaction that holds the fence alone.
    pub(super) async fn exclusive(&self, name: &str) -> Result<Lent<'_, DB>, Error> {
        let mut attempt = 1;
        loop {
            let begun = clock::limit(FENCE_WAIT + self.moves.limit(), async {
                let mut lent = self.moves.lend().await?;
                lent.begin_exclusive(name).await?;
                Ok::<_, sqlx::Error>(lent)
            });
            match begun.await {
                Ok(Ok(lent)) => return Ok(lent),
                Ok(Err(error))
                    if DB::Adapter::is_lock_timeout(&error) && attempt < FENCE_ATTEMPTS =>
                {
                    attempt += 1;
                    clock::sleep(FENCE_PAUSE).await;
                }
                Ok(Err(error @ sqlx::Error::PoolClosed)) => {
                    return Err(self.moves.failed(DOING, error).of(name));
                }
                Ok(Err(error)) => {
                    let message = self.waited_for(name).await;
                    return Err(fence_refused::<DB>(DOING, &message, error).of(name));
                }
                Err(()) => return Err(self.moves.too_late(DOING).of(name)),
            }
        }
    }

    async fn make(&self, conn: &mut Conn<DB>, name: &str, change: &Change) -> Result<(), Error> {
        let failed = |error| Error::database(DOING, error);
        let Some((facts, to)) = decide::<DB>(conn, name, change, self.slack()).await? else {
            return Ok(());
        };
        apply::<DB>(conn, name, change, &facts, to).await.map_err(failed)?;
        let epoch = facts.position.epoch.0 + 1;
        if let Some(step) = &change.plan
            && !plans::take_step::<DB>(conn, name, step, epoch).await.map_err(failed)?
        {
            return Err(outdated(name));
        }
        if let Some(wanted) = &change.flag {
            plans::flag_moved::<DB>(conn, name, wanted, epoch).await.map_err(failed)?;
        }
        tell::<DB>(conn, name).await.map_err(failed)
    }
}

/// Under the exclusive fence: where does the change lead, and do the gates let it through? `None` where
/// it changes nothing.
async fn decide<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    change: &Change,
    slack: i64,
) -> Result<Option<(Facts, Destination)>, Error> {
    let facts = facts::<DB>(conn, name, slack).await?;
    decide_change(&facts, change).map_err(|error| error.of(name)).map(|to| to.map(|to| (facts, to)))
}

/// The decision of every adapter.
pub(crate) fn decide_change(facts: &Facts, change: &Change) -> Result<Option<Destination>, Error> {
    let now = facts.position;
    let is_other = change.token.is_some_and(|token| token != facts.token);
    if let Some(expected) = change.expected
        && (expected != now.epoch || is_other)
    {
        let message = format!(
            "somebody else changed the position first: it is {now}, and epoch {expected} was expected; \
             look at it and decide again"
        );
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    let to = destination(now, facts.new.generation, change.requested)?;
    if (to.stage, to.ramp) == (now.stage, now.ramp) {
        return Ok(None);
    }
    admit(&blockers(facts, change.requested, to, &change.terms), &change.overridden)?;
    Ok(Some(to))
}

async fn apply<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    change: &Change,
    facts: &Facts,
    to: Destination,
) -> sqlx::Result<()> {
    move_to::<DB>(conn, name, facts, to).await?;
    forget_waivers::<DB>(conn, name, facts, to).await?;
    record_event::<DB>(conn, name, change, facts, to).await
}

fn code(stage: Stage) -> SqlValue {
    i64::from(stage.code()).into()
}

fn ramp(ramp: Percent) -> SqlValue {
    i64::from(ramp.basis_points()).into()
}

async fn move_to<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    facts: &Facts,
    to: Destination,
) -> sqlx::Result<()> {
    let from = facts.position;
    let epoch = from.epoch.0 + 1;
    let stage_epoch = if to.stage == from.stage { facts.stage.epoch.0 } else { epoch };
    // MySQL assigns from left to right: `stage_at` must come before `stage`, which it looks at.
    let sql = "UPDATE dualwrite_migration SET \
               stage_at = CASE WHEN stage = ? THEN stage_at ELSE {now} END, stage = ?, ramp = ?, \
               epoch = ?, token = ?, from_token = ?, generation = ?, old_generation = ?, stage_epoch = ? \
               WHERE name = ? AND epoch = ? AND token = ?";
    let values = [
        code(to.stage),
        code(to.stage),
        ramp(to.ramp),
        epoch.into(),
        Token::random().0.into(),
        facts.token.0.into(),
        to.generation.0.into(),
        to.old_generation(from, facts.old.generation).0.into(),
        stage_epoch.into(),
        name.into(),
        from.epoch.0.into(),
        facts.token.0.into(),
    ];
    match DB::Adapter::execute(conn, sql, &values).await? {
        1 => Ok(()),
        _ => Err(unexpected(0, "at the epoch that the fence guards")),
    }
}

/// What was waived, and which writers were said to be stopped, of a generation that has passed.
async fn forget_waivers<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    facts: &Facts,
    to: Destination,
) -> sqlx::Result<()> {
    let old_generation = to.old_generation(facts.position, facts.old.generation);
    let raised = [
        (Side::New, to.generation != facts.new.generation),
        (Side::Old, old_generation != facts.old.generation),
    ];
    for (side, _) in raised.into_iter().filter(|(_, is_raised)| *is_raised) {
        let values = [name.into(), side.as_str().into()];
        DB::Adapter::execute(conn, dead_letters::FORGET_WAIVERS, &values).await?;
    }
    if to.generation != facts.new.generation {
        DB::Adapter::execute(conn, hazards::FORGET_STOPPED, &[name.into()]).await?;
    }
    Ok(())
}

async fn record_event<DB: Backend>(
    conn: &mut Conn<DB>,
    name: &str,
    change: &Change,
    facts: &Facts,
    to: Destination,
) -> sqlx::Result<()> {
    let from = facts.position;
    let overridden: Vec<&str> = change.overridden.iter().map(|gate| gate.as_str()).collect();
    let sql = "INSERT INTO dualwrite_event (migration, at, actor, reason, from_stage, from_ramp, \
               to_stage, to_ramp, epoch, from_token, generation, overridden) \
               VALUES (?, {now}, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let values = [
        name.into(),
        change.actor.as_str().into(),
        change.reason.as_str().into(),
        code(from.stage),
        ramp(from.ramp),
        code(to.stage),
        ramp(to.ramp),
        (from.epoch.0 + 1).into(),
        facts.token.0.into(),
        to.generation.0.into(),
        overridden.join(",").as_str().into(),
    ];
    DB::Adapter::execute(conn, sql, &values).await.map(drop)
}
