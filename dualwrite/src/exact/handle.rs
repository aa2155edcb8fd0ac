//! [`Exact`]: the handle of a migration in exact mode.

use std::sync::Arc;
use std::time::Duration;

use crate::control::audited::{check_named, check_reason};
use crate::control::exact::ExactFailure;
use crate::error::{Closed, Error, ErrorKind};
use crate::exact::inner::Inner;
use crate::exact::options::BACKLOG_COUNTED;
use crate::exact::read::ExactRead;
use crate::exact::side::ExactSide;
#[cfg(feature = "testing")]
use crate::exact::step::ExactStep;
use crate::exact::verify::{self, ExactReport};
use crate::exact::write::ExactWrite;
use crate::exact::{closing, copy, moves, report};
use crate::key::{EncodedKey, Key};
use crate::rollout::command::{NewRolloutCommand, RolloutCommandKind as Recorded};
use crate::stages::exact::{side_of_record, stage_of};
use crate::stages::stage::{Side, Stage};
use crate::store::exact::relay::PutOff;

/// Keys whose records could not be applied that [`Exact::failures`] names.
const FAILURES_NAMED: usize = 100;

/// A migration between two SQL databases in exact mode; the guide is [`exact`](crate::guide::exact). Clones are the same
/// one.
///
/// One of the databases is the *primary*: it answers reads and takes writes. The other one, the *mirror*, follows by the
/// outbox. Begin with [`Exact::between`].
///
/// ```
/// # #[cfg(all(feature = "postgres", feature = "mysql"))] mod example {
/// use dualwrite::{Error, exact::{Exact, ExactSide}, Stage};
///
/// async fn move_over<O: ExactSide, N: ExactSide<Key = O::Key, Record = O::Record>>(
///     carts: &Exact<O, N>,
/// ) -> Result<(), Error> {
///     carts.advance(Stage::DualWrite).await?; // writes are recorded
///     carts.copy().await?; // and what was there before
///     assert!(carts.verify().await?.is_clean());
///     carts.advance(Stage::Live).await?; // close, drain, open
///     carts.rollback().await?; // the same, backwards
///     Ok(())
/// }
/// # }
/// ```
pub struct Exact<O: ExactSide, N: ExactSide> {
    pub(super) inner: Arc<Inner<O, N>>,
}

impl<O: ExactSide, N: ExactSide> Clone for Exact<O, N> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<O: ExactSide, N: ExactSide> std::fmt::Debug for Exact<O, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exact").field("name", &self.inner.core.name).finish_non_exhaustive()
    }
}

/// How a migration in exact mode stands; from [`Exact::status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExactStatus {
    /// The stage that both rows amount to.
    pub stage: Stage,
    /// The side of record; where none has it for the moment of a hand-over, the one that gets it.
    pub primary: Side,
    /// Whether it takes writes. `false` while a hand-over is under way.
    pub open: bool,
    /// Whether the mirror has, with the outbox, all that the primary has.
    pub copied: bool,
    /// Raised by each change.
    pub epoch: u64,
    /// Records in the outbox of the primary, counted up to [`BACKLOG_COUNTED`].
    pub backlog: u64,
}

impl<O: ExactSide, N: ExactSide<Key = O::Key, Record = O::Record>> Exact<O, N> {
    /// A write of the record of this key. Add [`old`](ExactWrite::old) and [`new`](ExactWrite::new), then
    /// [`run`](ExactWrite::run).
    pub fn write<K: Key + ?Sized>(&self, key: &K) -> ExactWrite<'_, O, N> {
        ExactWrite::begun(&self.inner, EncodedKey::new(key).map(|key| vec![key]))
    }

    /// A write of the records of several keys, in one transaction. Name all that it changes: up to 200.
    pub fn write_all<K: Key>(&self, keys: &[K]) -> ExactWrite<'_, O, N> {
        ExactWrite::begun(&self.inner, keys.iter().map(EncodedKey::new).collect())
    }

    /// A read. Add [`old`](ExactRead::old) and [`new`](ExactRead::new), then [`run`](ExactRead::run).
    pub fn read(&self) -> ExactRead<'_, O, N> {
        ExactRead::begun(&self.inner)
    }

    /// How it stands.
    ///
    /// # Errors
    /// `Database`, `UnknownMigration`, `ShuttingDown`; `StageUnknown` where both databases say that they are the primary.
    pub async fn status(&self) -> Result<ExactStatus, Error> {
        let core = &self.inner.core;
        core.alive()?;
        let rows = core.rows().await?;
        let primary = side_of_record(rows.old, rows.new);
        let row = rows.of(primary);
        Ok(ExactStatus {
            stage: stage_of(rows.old, rows.new),
            primary,
            open: row.primary && row.open,
            copied: row.copied,
            epoch: rows.old.epoch.max(rows.new.epoch),
            backlog: core.port(primary).left(BACKLOG_COUNTED).await?,
        })
    }

    /// Goes to the next stage, or, by the same way, to the one before: `off`, `dual_write`, `live`, `complete`. Nothing
    /// happens where that is the stage already.
    ///
    /// Between `dual_write` and `live` the authority is handed over: the primary takes no more writes, its outbox is
    /// applied, and the other side opens. Writes wait meanwhile, reads only for its last step. Should this process die on
    /// the way, another instance goes on after [`TAKE_OVER_AFTER`](crate::defaults::TAKE_OVER_AFTER); so may this call, again.
    ///
    /// # Errors
    /// `Blocked` where records were not copied, where the mirror refuses some, or where the outbox is too long;
    /// `IllegalMove`; `Unsupported` for `shadow` and `ramp_down`; `Timeout` where writes in flight did not end or the
    /// outbox could not be drained in time: the primary takes writes again; `Conflict`; those of
    /// [`status`](Self::status).
    pub async fn advance(&self, to: Stage) -> Result<(), Error> {
        let before = moves::go_to(&self.inner.core, to).await?;
        if before != to {
            self.audit(Recorded::Move, format!("go from `{before}` to `{to}`")).await;
        }
        Ok(())
    }

    /// Leaves a line in the audit of both databases for what this process did by itself. It is done whether or not the
    /// line can be stored.
    async fn audit(&self, kind: Recorded, does: impl Into<String>) {
        let core = &self.inner.core;
        let actor = format!("service, instance {}", core.instance);
        let line = NewRolloutCommand::new(kind, &actor, "called by the service").about(does);
        for side in [Side::Old, Side::New] {
            if let Err(error) = core.port(side).audit(&line).await {
                let error = Error::without_values(&error);
                tracing::warn!(migration = &*core.name, %side, error, "a line of the audit is lost");
            }
        }
    }

    /// Goes to the stage before, and says which that is. From `complete` to `live` writes are recorded again; run
    /// [`copy`](Self::copy) before the next rollback.
    ///
    /// # Errors
    /// As [`advance`](Self::advance).
    pub async fn rollback(&self) -> Result<Stage, Error> {
        let to = moves::back(&self.inner.core).await?;
        self.audit(Recorded::Move, format!("go back to `{to}`")).await;
        Ok(to)
    }

    /// Copies what was there before writes were recorded, and removes from the mirror what the primary has not. Goes on
    /// where a run before has ended, on any instance. Says how many keys of the primary were copied.
    ///
    /// # Errors
    /// `Blocked` at `off` and `complete`; `CopyFailed` where a side fails; those of [`status`](Self::status).
    pub async fn copy(&self) -> Result<u64, Error> {
        let keys = copy::run(&self.inner.core).await?;
        self.audit(Recorded::BackfillStart, format!("copied {keys} keys")).await;
        Ok(keys)
    }

    /// Compares all records of both databases.
    ///
    /// # Errors
    /// As [`copy`](Self::copy).
    pub async fn verify(&self) -> Result<ExactReport, Error> {
        self.compared(false).await
    }

    /// Compares all records, and records those that differ once more: the mirror gets what the primary has.
    ///
    /// # Errors
    /// As [`copy`](Self::copy).
    pub async fn repair(&self) -> Result<ExactReport, Error> {
        self.compared(true).await
    }

    async fn compared(&self, repair: bool) -> Result<ExactReport, Error> {
        let core = &self.inner.core;
        let found = verify::run(core, repair).await?;
        report::verified(core, &found, repair).await?;
        if repair {
            self.audit(
                Recorded::Repair,
                "compared both databases, and recorded again what differs",
            )
            .await;
        }
        Ok(found)
    }

    /// Closes writes, or all calls, for a planned downtime: they fail with `Maintenance`, which names who, why and the
    /// expected end. Copies, verifications and moves go on. When it has answered, no write that began before is under way
    /// in either database. Each database gets a line in its audit, as from the command `close`.
    ///
    /// # Errors
    /// `InvalidInput` for `Closed::Nothing`, and for an actor or a reason as it must not be; `Timeout` where writes in flight
    /// did not end: nothing is closed on that side, so give it again; those of [`status`](Self::status).
    pub async fn close(
        &self,
        closed: Closed,
        lasts: Duration,
        by: &str,
        because: &str,
    ) -> Result<(), Error> {
        let core = &self.inner.core;
        if !closed.is_closed() {
            let message = "`nothing` closes nothing; name `Closed::Writes` or `Closed::Calls`, or call `open`";
            return Err(Error::new(ErrorKind::InvalidInput, message).of(&core.name));
        }
        self.set_closed(closed, lasts, (by, because)).await
    }

    /// Opens all calls again.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    pub async fn open(&self, by: &str, because: &str) -> Result<(), Error> {
        self.set_closed(Closed::Nothing, Duration::ZERO, (by, because)).await
    }

    async fn set_closed(
        &self,
        closed: Closed,
        lasts: Duration,
        (by, because): (&str, &str),
    ) -> Result<(), Error> {
        let core = &self.inner.core;
        let checked = check_named("actor", by).and_then(|()| check_reason(because));
        checked.map_err(|error| error.of(&core.name))?;
        closing::set(core, closed, lasts, (by, because), true).await
    }

    /// Keys whose records the mirror does not take, up to 100. They are tried again after 1 s, 2 s, up to 60 s, and block
    /// a hand-over.
    ///
    /// # Errors
    /// As [`status`](Self::status).
    pub async fn failures(&self) -> Result<Vec<ExactFailure>, Error> {
        let core = &self.inner.core;
        core.alive()?;
        let rows = core.rows().await?;
        let primary = side_of_record(rows.old, rows.new);
        let failures = core.port(primary).failures(FAILURES_NAMED).await?;
        let failure =
            |failed: PutOff| ExactFailure::new(failed.key.0, failed.attempts, failed.error);
        Ok(failures.into_iter().map(failure).collect())
    }

    /// Ends what goes on beside callers. What is in the outbox stays there, for other instances or the next start.
    pub async fn shutdown(&self) {
        self.inner.core.closing.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.inner.core.old.close();
        self.inner.core.new.close();
    }

    /// For tests: this instance dies after it has come to this place and passed it so many times. From then on it does
    /// nothing: whatever is asked of it fails with `ShuttingDown`. Start another one to see it taken up.
    #[cfg(feature = "testing")]
    pub fn die_at(&self, step: ExactStep, passes: u32) {
        self.inner.core.death.at(step, passes);
    }

    /// For tests: whether this instance has died.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.inner.core.death.is_dead()
    }
}
