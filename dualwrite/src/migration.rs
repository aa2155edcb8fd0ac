//! [`Migration`]: the handle of one migration in this process.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::backend::{Backend, Isolation};
use crate::backfill::run::BackfillOptions;
use crate::clock;
use crate::control::{BackfillProgress, Change, DeadLetter, Event};
use crate::error::{Error, ErrorKind};
use crate::gate::{Blocker, Gate};
use crate::key::{EncodedKey, Key};
use crate::moves::{Move, destination};
use crate::observe::count;
use crate::position::{Epoch, Generation, Percent, Position};
use crate::readiness::blockers;
use crate::shared::Shared;
use crate::stage::{Side, Stage};
use crate::transaction::Tx;
use crate::verify::run::VerifyReport;

/// How long a move, or the start of a backfill, waits for gates that open by themselves.
pub const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(25);
const REPAIR_PAGE: u32 = 500;
const EVENTS: u32 = 20;
/// The most bytes of an actor's name.
pub(crate) const NAME_BYTES_MAX: usize = 100;

/// One migration. Cheap to clone; all clones are the same migration.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// use dualwrite::{Error, Migration, Percent, Stage};
///
/// async fn roll_out(migration: &Migration) -> Result<(), Error> {
///     migration.advance(Stage::DualWrite).by("ops").because("columns added").await?;
///     migration.backfill().run().await?;
///     migration.verify().run().await?;
///     migration.advance(Stage::Shadow).await?;
///     migration.ramp_to(Percent::new(5)?).await?;
///     migration.rollback("latency").await?;
///     Ok(())
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct Migration(Arc<Shared>);

impl Migration {
    pub(crate) fn from_shared(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The position that this process knows, without asking the database.
    #[must_use]
    pub fn position(&self) -> Position {
        self.0.position()
    }

    /// The generation that this process knows, without asking the database.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.0.generation()
    }

    /// Begins a transaction that is fenced for this migration.
    ///
    /// # Errors
    /// As [`Tx::begin_for`].
    pub async fn begin<DB: Backend>(
        &self,
        pool: &sqlx::Pool<DB>,
    ) -> Result<Tx<'static, DB>, Error> {
        Tx::begin_shared(pool, &[&self.0], Isolation::default()).await
    }

    /// Begins a fenced transaction at an isolation level other than `READ COMMITTED`.
    ///
    /// # Errors
    /// As [`Tx::begin_for`].
    pub async fn begin_at<DB: Backend>(
        &self,
        pool: &sqlx::Pool<DB>,
        isolation: Isolation,
    ) -> Result<Tx<'static, DB>, Error> {
        Tx::begin_shared(pool, &[&self.0], isolation).await
    }

    /// Goes on to the next stage.
    pub fn advance(&self, to: Stage) -> Moving<'_> {
        self.moving(Move::Advance(to))
    }

    /// Goes back to the stage before. A step back to `Off` raises the generation: new may go stale, and
    /// the next time everything is copied again.
    pub fn step_back(&self, to: Stage) -> Moving<'_> {
        self.moving(Move::StepBack(to))
    }

    /// Takes this share of the keys to the next stage.
    pub fn ramp_to(&self, ramp: Percent) -> Moving<'_> {
        self.moving(Move::Ramp(ramp))
    }

    /// Goes back to where old answers every read, without losing a write: from `Live` and `RampDown` to
    /// `Shadow`, from a ramp to its foot, from `Shadow` to `DualWrite`.
    pub fn rollback(&self, reason: impl Into<String>) -> Moving<'_> {
        self.moving(Move::Rollback).because(reason)
    }

    fn moving(&self, wish: Move) -> Moving<'_> {
        let change = Change {
            expected: None,
            wish,
            actor: self.0.actor.to_string(),
            reason: String::new(),
            overridden: Vec::new(),
            terms: self.0.terms(),
        };
        Moving { shared: &self.0, change, within: None }
    }

    /// What still stands between the present position and a move; empty means that it would be made.
    ///
    /// # Errors
    /// `IllegalMove` where no such move exists, `Database`.
    pub async fn readiness(&self, wish: Move) -> Result<Vec<Blocker>, Error> {
        let facts = self.0.control.facts(&self.0.name).await?;
        let to =
            destination(facts.position, facts.generation, wish).map_err(|e| e.of(&self.0.name))?;
        Ok(blockers(&facts, wish, to, &self.0.terms()))
    }

    /// Gives an approval that the registration asks for. It holds until the stage is left.
    ///
    /// # Errors
    /// `InvalidInput` where no stage needs it, `Database`.
    pub async fn approve(&self, name: &str, by: &str, because: &str) -> Result<(), Error> {
        let known = &self.0.options.approvals;
        if !known.iter().any(|(_, approval)| approval == name) {
            let known: Vec<&str> = known.iter().map(|(_, name)| name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let message = format!("no stage needs the approval `{name}`; asked for are: {known}");
            return Err(Error::new(ErrorKind::InvalidInput, message).of(&self.0.name));
        }
        check_named("actor", by).map_err(|error| error.of(&self.0.name))?;
        self.0.control.approve(&self.0.name, name, by, because).await
    }

    /// Says that a release runs which writes old without this library: `Complete` is refused until
    /// [`release_gone`](Self::release_gone).
    ///
    /// # Errors
    /// `InvalidInput` for an empty or too long name, `Database`.
    pub async fn release_runs(&self, release: &str) -> Result<(), Error> {
        check_named("release", release).map_err(|error| error.of(&self.0.name))?;
        self.0.control.declare(&self.0.name, release, false).await
    }

    /// Says that such a release is gone from everywhere.
    ///
    /// # Errors
    /// As [`release_runs`](Self::release_runs).
    pub async fn release_gone(&self, release: &str) -> Result<(), Error> {
        check_named("release", release).map_err(|error| error.of(&self.0.name))?;
        self.0.control.declare(&self.0.name, release, true).await
    }

    /// The statements of a trigger that records every key of old which somebody writes without this
    /// library: such keys are copied again, and `Complete` waits until no such write has been seen for
    /// the [window](crate::Registration::unaware_window). Run them where the application's own schema
    /// changes run, or let [`install_trigger`](Self::install_trigger) do it. On MySQL and SQLite each
    /// fenced transaction then takes two statements more.
    ///
    /// # Errors
    /// `Unsupported` without a copy function.
    pub fn trigger_sql(&self) -> Result<Vec<String>, Error> {
        Ok(self.0.copier()?.triggers(&self.0.name, true))
    }

    /// Runs the statements of [`trigger_sql`](Self::trigger_sql). May be called again and again.
    ///
    /// # Errors
    /// `Unsupported` without a copy function; `Database`, also where the service may not make triggers.
    pub async fn install_trigger(&self) -> Result<(), Error> {
        self.0.copier()?.set_triggers(&self.0.name, true).await
    }

    /// Removes the trigger.
    ///
    /// # Errors
    /// As [`install_trigger`](Self::install_trigger).
    pub async fn remove_trigger(&self) -> Result<(), Error> {
        self.0.copier()?.set_triggers(&self.0.name, false).await
    }

    /// The backfill.
    pub fn backfill(&self) -> Backfill<'_> {
        Backfill { shared: &self.0, options: BackfillOptions::default() }
    }

    /// The verification.
    pub fn verify(&self) -> Verification<'_> {
        Verification { shared: &self.0, batch: crate::backfill::decide::BATCH_KEYS }
    }

    /// Copies one key from old to new now. Returns whether the present stage allowed it.
    ///
    /// # Errors
    /// `CopyFailed`, `WrongKey`, `Unsupported` without a copy function, `Database`.
    pub async fn copy<K: Key + ?Sized>(&self, key: &K) -> Result<bool, Error> {
        self.0.check_kind(K::KIND)?;
        let key = EncodedKey::new(key)?;
        Ok(self.0.copier()?.copy_key(&self.0, &key, Side::New).await?.is_some())
    }

    /// Copies the keys again that a failed mirror write left dirty. The runtime does so by itself.
    /// Returns how many were repaired.
    ///
    /// # Errors
    /// `CopyFailed` for the first key that fails again, `Database`.
    pub async fn repair(&self) -> Result<u64, Error> {
        Ok(repair(&self.0, Side::Old).await? + repair(&self.0, Side::New).await?)
    }

    /// Tries the dead letters again. Returns how many were copied.
    ///
    /// # Errors
    /// `Database`; a key that fails again stays where it is.
    pub async fn retry_dead_letters(&self) -> Result<u64, Error> {
        let copier = self.0.copier()?;
        let mut copied = 0;
        for letter in self.dead_letters().await? {
            let key = EncodedKey(letter.key);
            match copier.copy_key(&self.0, &key, letter.side).await {
                Ok(Some(_)) => {
                    self.0.control.exhume(&self.0.name, letter.side, &key).await?;
                    copied += 1;
                }
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::CopyFailed => {
                    let cause = error.to_string();
                    let (name, generation) = (&self.0.name, self.0.generation());
                    self.0.control.bury(name, letter.side, generation, &key, &cause).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(copied)
    }

    /// The keys that could not be copied, oldest first, 10,000 at the most.
    ///
    /// # Errors
    /// `Database`.
    pub async fn dead_letters(&self) -> Result<Vec<DeadLetter>, Error> {
        self.0.control.dead_letters(&self.0.name, 10_000).await
    }

    /// The last changes, newest first.
    ///
    /// # Errors
    /// `Database`.
    pub async fn events(&self) -> Result<Vec<Event>, Error> {
        self.0.control.events(&self.0.name, EVENTS).await
    }

    /// Asks the control tables for the position now, without waiting for the next poll.
    ///
    /// # Errors
    /// `Database`, `UnknownMigration`.
    pub async fn refresh(&self) -> Result<Position, Error> {
        Ok(self.0.refresh().await?.position)
    }
}

impl std::fmt::Debug for Migration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Migration")
            .field("name", &self.0.name)
            .field("position", &self.0.position())
            .finish()
    }
}

/// Copies dirty keys of one side again.
pub(crate) async fn repair(shared: &Shared, side: Side) -> Result<u64, Error> {
    let Some(copier) = &shared.copier else {
        return Ok(0);
    };
    let mut repaired = 0;
    loop {
        let keys = shared.control.dirty(&shared.name, side, REPAIR_PAGE).await?;
        let before = repaired;
        if !keys.is_empty() {
            shared.mark_dirty(); // perhaps another process marked them, and we have not looked since
        }
        for key in &keys {
            if copier.copy_key(shared, key, side).await?.is_some() {
                repaired += 1;
                count(&shared.counters.dirty_repaired);
            }
        }
        if repaired == before || keys.len() < REPAIR_PAGE as usize {
            return Ok(repaired);
        }
    }
}

/// A move about to be made; `.await` makes it and answers with the new position.
///
/// # Errors
/// `IllegalMove` where there is no such step, `Blocked` with every gate that is closed, `Conflict` where
/// [`expecting`](Moving::expecting) does not hold, `Timeout` where writes in flight do not end,
/// `Database`.
#[must_use = "a move is made when it is awaited"]
#[derive(Debug)]
pub struct Moving<'m> {
    shared: &'m Shared,
    change: Change,
    /// `None`: [`PATIENCE`], with gates that open by themselves alone.
    within: Option<Duration>,
}

impl<'m> Moving<'m> {
    /// Who moves, for the audit; at most 100 bytes. By default the instance.
    pub fn by(mut self, actor: impl Into<String>) -> Self {
        self.change.actor = actor.into();
        self
    }

    /// Why, for the audit.
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.change.reason = reason.into();
        self
    }

    /// Moves only if nobody has since this epoch.
    pub fn expecting(mut self, epoch: Epoch) -> Self {
        self.change.expected = Some(epoch);
        self
    }

    /// Overrides a gate that protects no data; give the reason with [`because`](Self::because).
    pub fn overriding(mut self, gate: Gate) -> Self {
        self.change.overridden.push(gate);
        self
    }

    /// Waits this long for closed gates to open, whichever they are. Unless told otherwise, a move
    /// waits for [`PATIENCE`], and only while what it waits for comes by itself: other instances catch
    /// up, dirty keys are copied again.
    pub fn within(mut self, patience: Duration) -> Self {
        self.within = Some(patience);
        self
    }

    async fn run(self) -> Result<Position, Error> {
        check_audit(&self.change).map_err(|error| error.of(&self.shared.name))?;
        let waiting = Waiting::new(self.shared, self.within);
        loop {
            match self.attempt().await {
                Err(error) if waiting.goes_on(&error) => waiting.pause().await,
                result => return result,
            }
        }
    }

    async fn attempt(&self) -> Result<Position, Error> {
        let shared = self.shared;
        if self.change.wish == Move::Rollback && shared.is_dirty() {
            // Old is about to answer again: what it misses is copied back first.
            repair(shared, Side::Old).await?;
        }
        let before = shared.position();
        let record = shared.control.change(&shared.name, &self.change).await;
        let record = record?;
        shared.nudge.notify_one(); // the others shall know soon that this instance has seen it
        shared.apply(&record);
        if before.epoch != record.position.epoch {
            tracing::info!(
                migration = &*shared.name,
                from = %before,
                to = %record.position,
                generation = record.generation.0,
                actor = self.change.actor,
                reason = self.change.reason,
                "position changed"
            );
        }
        Ok(record.position)
    }
}

/// Patience with closed gates.
pub(crate) struct Waiting<'m> {
    shared: &'m Shared,
    start: u64,
    within: Option<Duration>,
}

impl<'m> Waiting<'m> {
    pub(crate) fn new(shared: &'m Shared, within: Option<Duration>) -> Self {
        Self { shared, start: shared.clock.now(), within }
    }

    /// Whether to try again after this error.
    pub(crate) fn goes_on(&self, error: &Error) -> bool {
        let waited = Duration::from_nanos(self.shared.clock.now().saturating_sub(self.start));
        let hopeful = match self.within {
            Some(_) => true,
            None => error.blockers().iter().all(|blocker| blocker.gate.opens_by_itself()),
        };
        error.kind() == ErrorKind::Blocked
            && !error.blockers().is_empty()
            && hopeful
            && waited < self.within.unwrap_or(PATIENCE)
    }

    pub(crate) async fn pause(&self) {
        // What this instance has drained must be known, or it waits for itself.
        self.shared.nudge.notify_one();
        clock::sleep(LOOK_AGAIN).await;
    }
}

fn check_named(what: &str, name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        let message = format!("the {what} must have 1 to {NAME_BYTES_MAX} bytes");
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    Ok(())
}

fn check_audit(change: &Change) -> Result<(), Error> {
    check_named("actor", &change.actor)?;
    if !change.overridden.is_empty() && change.reason.is_empty() {
        let message = "a gate is overridden only with a reason; add `.because(…)`";
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    Ok(())
}

impl<'m> IntoFuture for Moving<'m> {
    type Output = Result<Position, Error>;
    type IntoFuture = BoxFuture<'m, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// A backfill about to run.
#[must_use = "call `run`"]
#[derive(Debug)]
pub struct Backfill<'m> {
    shared: &'m Shared,
    options: BackfillOptions,
}

impl Backfill<'_> {
    /// Copies from new to old instead, what was written to new alone: after `Complete` (or a ramp
    /// toward it) the migration steps back to `RampDown`, where both are written again, and with this
    /// and a verification old may answer once more. Needs `copy_back` and `new_source`.
    pub fn reverse(mut self) -> Self {
        self.options.to = Side::Old;
        self
    }

    /// Keys per transaction, at most; 1,000 by default. Shrinks by itself around rows that fail.
    pub fn batch(mut self, keys: u32) -> Self {
        self.options.batch = keys.max(1);
        self
    }

    /// How long a range stays claimed by a worker that shows no progress; 30 seconds by default.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.options.lease = lease;
        self
    }

    /// Halts after more failed keys than this; 1,000 by default.
    pub fn stop_after_failures(mut self, keys: u64) -> Self {
        self.options.failures_max = keys;
        self
    }

    /// Copies until every key of this generation is done, alone or beside workers in other processes;
    /// goes on where an earlier run ended. Answers with the counts.
    ///
    /// # Errors
    /// `Blocked` while some instance may still write old alone, `Halted` after too many failures,
    /// `Conflict` where the generation is raised meanwhile, `Unsupported` without a copy function,
    /// `Database`.
    pub async fn run(self) -> Result<BackfillProgress, Error> {
        self.shared.copier()?.backfill(self.shared, self.options).await
    }
}

/// A verification about to run.
#[must_use = "call `run`"]
#[derive(Debug)]
pub struct Verification<'m> {
    shared: &'m Shared,
    batch: u32,
}

impl Verification<'_> {
    /// Keys per transaction; 1,000 by default.
    pub fn batch(mut self, keys: u32) -> Self {
        self.batch = keys.max(1);
        self
    }

    /// Compares every key and records a clean result for the gates.
    ///
    /// # Errors
    /// `Blocked` in a stage that writes one side only, `CopyFailed` where the comparison itself fails,
    /// `Unsupported` without a copy function, `Database`. A difference is no error; see the report.
    pub async fn run(self) -> Result<VerifyReport, Error> {
        self.shared.copier()?.verify(self.shared, self.batch).await
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("name", &self.name).finish_non_exhaustive()
    }
}
