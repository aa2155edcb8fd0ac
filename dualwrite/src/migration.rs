//! What a [`Migration`] gives: moves, jobs, rollouts, schema changes, and what became of them. The handle itself is at the
//! root of the crate.

pub(crate) mod altering;
pub(crate) mod announce;
mod calls;
pub(crate) mod contracting;
pub(crate) mod expanding;
pub(crate) mod guard;
#[cfg(feature = "schema")]
pub(crate) mod guarded;
pub(crate) mod health;
pub(crate) mod jobs;
pub(crate) mod removing;
pub(crate) mod rollout;
pub(crate) mod smoke;
pub(crate) mod status;
mod transactions;
pub(crate) mod transition;
pub(crate) mod waiver;
mod wrapped;

pub use crate::migration::contracting::{ContractRun, Contracting, RunContract};
pub use crate::migration::expanding::{ExpandReport, Expanding};
#[cfg(feature = "schema")]
pub use crate::migration::guarded::{GuardedMigrator, GuardedStatement};
pub use crate::migration::health::{FieldReport, RecentCalls, RecentMethod, RecentReport};
pub use crate::migration::jobs::{Backfill, Repair, Verification};
pub use crate::migration::removing::Removing;
pub use crate::migration::rollout::{Rollout, RolloutStatus};
pub use crate::migration::waiver::Waiver;

use std::sync::Arc;

use crate::control::commands::{RecordedChange, Taken};
use crate::control::dead_letters::DeadLetter;
use crate::control::{AuditEvent, Mismatch};
use crate::copier::dead_letters::{DEAD_LETTERS_MAX, retry_all};
use crate::copier::joined::Joined;
use crate::database::{Backend, Isolation};
use crate::error::{Error, ErrorKind};
use crate::gate::Blocker;
use crate::key::Key;
use crate::migration::altering::set_trigger;
use crate::migration::announce::{Announcement, announce};
use crate::migration::transition::{Transition, check_named, repair};
use crate::preflight::finding::Preflight;
use crate::rollout::command::{NewRolloutCommand, RolloutCommandKind};
use crate::stages::hazard::Hazard;
use crate::stages::moves::{Move, destination};
use crate::stages::position::{Generation, Percent, Position};
use crate::stages::readiness::blockers;
use crate::stages::stage::{Side, Stage};
use crate::transaction::Tx;

const EVENTS: u32 = 20;

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
pub struct Migration(Arc<Joined>);

impl Migration {
    pub(crate) fn from_shared(shared: Arc<Joined>) -> Self {
        Self(shared)
    }

    pub(crate) fn shared(&self) -> &Arc<Joined> {
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
        Tx::begin_open(pool, &[&self.0], Isolation::default()).await
    }

    /// Begins a fenced transaction at an isolation level.
    ///
    /// # Errors
    /// As [`Tx::begin_for`].
    pub async fn begin_at<DB: Backend>(
        &self,
        pool: &sqlx::Pool<DB>,
        isolation: Isolation,
    ) -> Result<Tx<'static, DB>, Error> {
        Tx::begin_open(pool, &[&self.0], isolation).await
    }

    /// Goes on to the next stage.
    pub fn advance(&self, to: Stage) -> Transition<'_> {
        self.transition(Move::Advance(to))
    }

    /// Goes back to the stage before. A step back to `Off` raises the generation: new may go stale, and
    /// the next time everything is copied again.
    pub fn step_back(&self, to: Stage) -> Transition<'_> {
        self.transition(Move::StepBack(to))
    }

    /// Takes this share of the keys to the next stage.
    pub fn ramp_to(&self, ramp: Percent) -> Transition<'_> {
        self.transition(Move::Ramp(ramp))
    }

    /// Goes back to where the old side answers every read, without losing a write: from `Live` and `RampDown` to
    /// `Shadow`, from a ramp to its foot, from `Shadow` to `DualWrite`.
    pub fn rollback(&self, reason: impl Into<String>) -> Transition<'_> {
        self.transition(Move::Rollback).because(reason)
    }

    fn transition(&self, requested: Move) -> Transition<'_> {
        Transition::new(&self.0, requested)
    }

    /// What still stands between the present position and a move; empty means that it would be made.
    ///
    /// # Errors
    /// `IllegalMove` where no such move exists, `Database`.
    pub async fn readiness(&self, requested: Move) -> Result<Vec<Blocker>, Error> {
        self.0.run_preflight().await?;
        self.find_hazards().await?;
        let facts = self.0.control.facts(&self.0.name).await?;
        let to = destination(facts.position, facts.new.generation, requested)
            .map_err(|e| e.of(&self.0.name))?;
        Ok(blockers(&facts, requested, to, &self.0.terms_now().await?))
    }

    /// Looks at the tables of this migration as the database's catalogue describes them: what keeps a key from
    /// being copied faithfully, and what else is better known before the first row moves. A move forward asks
    /// for it, and is not made while something is [refused](crate::preflight::FindingLevel::Refuse). Nothing is found where
    /// there is no copy function.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// async fn show(migration: &dualwrite::Migration) -> Result<(), dualwrite::Error> {
    ///     for finding in migration.preflight().await?.findings {
    ///         println!("{finding}");
    ///     }
    ///     Ok(())
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Database`.
    pub async fn preflight(&self) -> Result<Preflight, Error> {
        self.0.run_preflight().await
    }

    /// Gives an approval that the registration, or the plan of the rollout, asks for. It holds until the stage is left.
    /// Who gave it, and why, is among the [commands](crate::migration::Rollout::commands).
    ///
    /// # Errors
    /// `InvalidInput` where nothing needs it, `Database`.
    pub async fn approve(&self, name: &str, by: &str, because: &str) -> Result<(), Error> {
        let asked = &self.0.options.approvals;
        let plan = self.rollout().plan().await.ok().flatten();
        let steps = plan.iter().flat_map(|plan| &plan.steps).filter_map(|s| s.approval.as_deref());
        let known: Vec<&str> = asked.iter().map(|(_, name)| name.as_str()).chain(steps).collect();
        if !known.contains(&name) {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let message = format!("no stage needs the approval `{name}`; asked for are: {known}");
            return Err(Error::new(ErrorKind::InvalidInput, message).of(&self.0.name));
        }
        check_named("actor", by).map_err(|error| error.of(&self.0.name))?;
        self.0.control.approve(&self.0.name, name, by, because).await?;
        announce(&self.0, Announcement::Ordered { what: "approve", by, because });
        Ok(())
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

    /// Looks at the catalogue, if there is a copy function that says where.
    async fn find_hazards(&self) -> Result<(), Error> {
        match &self.0.copier {
            Some(copier) => copier.find_hazards(&self.0).await,
            None => Ok(()),
        }
    }

    /// What the catalogue says that speaks against writing new alone: writers of the old table that no trigger of
    /// this library sees (cascades of foreign keys, triggers of the application, replication), and sequences of new
    /// that are behind. `Complete` waits until each is gone, or, for writers, until somebody has recorded that it is
    /// [stopped](Self::writer_stopped). Looks now.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// async fn show(migration: &dualwrite::Migration) -> Result<(), dualwrite::Error> {
    ///     for hazard in migration.hazards().await? {
    ///         println!("{}: {}", hazard.name, hazard.detail);
    ///     }
    ///     Ok(())
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Database`.
    pub async fn hazards(&self) -> Result<Vec<Hazard>, Error> {
        self.find_hazards().await?;
        self.0.control.hazards(&self.0.name).await
    }

    /// Records that a writer which [no trigger sees](Self::hazards) is stopped. This withdraws the proof: run a
    /// verification of all keys afterwards. The record is taken back where the generation is raised.
    ///
    /// # Errors
    /// `InvalidInput` where there is no such writer, for an actor's name that is empty or too long, and without a
    /// reason; `Database`.
    pub async fn writer_stopped(&self, writer: &str, by: &str, because: &str) -> Result<(), Error> {
        let refused = |error: Error| error.of(&self.0.name);
        check_named("actor", by).map_err(refused)?;
        if because.trim().is_empty() {
            let message = "give the reason why this writer no longer writes the old table";
            return Err(refused(Error::new(ErrorKind::InvalidInput, message)));
        }
        let known: Vec<Hazard> = self.hazards().await?;
        let change = RecordedChange::StopWriter(writer.to_owned());
        let audit =
            NewRolloutCommand::new(RolloutCommandKind::WriterStopped, by, because).about(writer);
        let taken = self.0.control.command(&self.0.name, &change, None, &audit).await?;
        if taken == Taken::Nothing {
            let names = known.iter().filter(|one| one.kind.is_writer()).map(|one| &*one.name);
            let names: Vec<&str> = names.collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let message = format!("`{writer}` is no writer that is not seen; known are: {names}");
            return Err(refused(Error::new(ErrorKind::InvalidInput, message)));
        }
        tracing::info!(
            migration = &*self.0.name,
            writer,
            actor = by,
            reason = because,
            "a writer was recorded as stopped"
        );
        Ok(())
    }

    /// Sets the sequences of new that are behind to the greatest number that is taken and 10,000 more, for old gives
    /// out numbers until new alone is written. Answers with the statements that were run.
    ///
    /// # Errors
    /// `Unsupported` without a copy function; `Database`, also where the service may not do that; `Conflict` where
    /// one is behind still.
    pub async fn advance_sequences(&self) -> Result<Vec<String>, Error> {
        self.0.copier()?.advance_sequences(&self.0).await
    }

    /// The statements of a trigger that records every key of old which somebody writes without this
    /// library: such keys are copied again, and `Complete` waits until no such write has been seen for
    /// the [window](crate::Registration::unaware_window). Run them where the application's own schema
    /// changes run, or let [`install_trigger`](Self::install_trigger) do it. On MySQL and SQLite each
    /// fenced transaction then takes two statements more.
    ///
    /// # Errors
    /// `Unsupported` without a copy function; `Database`.
    pub async fn trigger_sql(&self) -> Result<Vec<String>, Error> {
        self.0.copier()?.triggers(&self.0.name, true).await
    }

    /// Runs the statements of [`trigger_sql`](Self::trigger_sql). May be called again and again. Each waits one second
    /// for the lock of the old table, during which writes wait behind it, and is tried five times.
    ///
    /// # Errors
    /// `Unsupported` without a copy function; `Timeout` where somebody holds the lock; `Database`, also where the service
    /// may not make triggers.
    pub async fn install_trigger(&self) -> Result<(), Error> {
        // One that was missing is known as that before it is there again.
        self.find_hazards().await?;
        set_trigger(&self.0, true).await?;
        self.find_hazards().await
    }

    /// Removes the trigger.
    ///
    /// # Errors
    /// As [`install_trigger`](Self::install_trigger).
    pub async fn remove_trigger(&self) -> Result<(), Error> {
        set_trigger(&self.0, false).await?;
        self.find_hazards().await
    }

    /// The expand: whether everything new is there, and the files that make it; see [`Expanding`].
    pub fn expand(&self) -> Expanding<'_> {
        Expanding::new(&*self.0.control, &self.0.name, Some(&self.0))
    }

    /// The contract: whether old may be dropped, what that would run, and dropping it; see [`Contracting`].
    pub fn contract(&self) -> Contracting<'_> {
        Contracting::new(&*self.0.control, &self.0.name, Some(&self.0))
    }

    /// The backfill.
    pub fn backfill(&self) -> Backfill<'_> {
        Backfill::new(&self.0)
    }

    /// The verification, and the repair of what it finds.
    pub fn verify(&self) -> Verification<'_> {
        Verification::new(&self.0)
    }

    /// Copies one key from old to new now, and takes it out of the dead letters. Returns whether the present
    /// stage allowed it.
    ///
    /// # Errors
    /// `CopyFailed`, `WrongKey`, `Unsupported` without a copy function, `Database`.
    pub async fn copy<K: Key + ?Sized>(&self, key: &K) -> Result<bool, Error> {
        let _operation = self.0.operate()?;
        self.0.check_kind(K::KIND)?;
        let key = self.0.encode(key)?;
        let copied = self.0.copier()?.copy_key(&self.0, &key, Side::New).await?.is_some();
        if copied && self.0.has_dead_letters() {
            self.0.control.remove_dead_letter(&self.0.name, Side::New, &key, None).await?;
        }
        Ok(copied)
    }

    /// Copies the keys again that a failed mirror write left dirty. The runtime does so by itself. (What a
    /// verification finds is repaired by [`verify().repair()`](crate::migration::Verification::repair).)
    /// A key that old lacks is copied to it with the fence held alone: other writers of this migration wait
    /// meanwhile, key by key. Returns how many were repaired.
    ///
    /// # Errors
    /// `CopyFailed` for the first key that fails again; `Timeout` that says how many keys are left, where writes
    /// in flight do not end within about a second (do not hold a transaction open around this call):
    /// after [`FENCE_REFUSALS_MAX`](crate::defaults::FENCE_REFUSALS_MAX) such keys it ends; `Database`.
    pub async fn repair(&self) -> Result<u64, Error> {
        self.0
            .operating(async {
                let old = repair(&self.0, Side::Old).await;
                let new = repair(&self.0, Side::New).await?;
                Ok(old? + new)
            })
            .await
    }

    /// Tries the dead letters again now, waived or not, 10,000 at the most. The runtime does so by itself:
    /// first after [`RETRY_AFTER`](crate::defaults::RETRY_AFTER), then at doubled intervals up to
    /// [`RETRY_AFTER_MAX`](crate::defaults::RETRY_AFTER_MAX), one instance at a time. Returns how many were copied;
    /// their letters are gone.
    ///
    /// # Errors
    /// `Unsupported` without a copy function, `Timeout` as [`repair`](Self::repair), `Database`; a key that fails
    /// again stays where it is.
    pub async fn retry_dead_letters(&self) -> Result<u64, Error> {
        self.0
            .operating(async {
                let copied = retry_all(&self.0).await?;
                self.0.refresh().await?;
                Ok(copied)
            })
            .await
    }

    /// The keys that could not be copied, with who waived them, oldest failure first, 10,000 at the most.
    ///
    /// # Errors
    /// `Database`.
    pub async fn dead_letters(&self) -> Result<Vec<DeadLetter>, Error> {
        self.0.control.dead_letters(&self.0.name, false, DEAD_LETTERS_MAX).await
    }

    /// Says that this key, which is in the dead letters, need not be copied; see [`Waiver`].
    pub fn waive<K: Key + ?Sized>(&self, key: &K) -> Waiver<'_> {
        Waiver::new(&self.0, key)
    }

    /// The first mismatches that shadow comparison found in each field, oldest first: at most
    /// [`SAMPLES_PER_FIELD_MAX`](crate::defaults::SAMPLES_PER_FIELD_MAX) of a field and
    /// [`SAMPLES_MAX`](crate::defaults::SAMPLES_MAX) in all. They are in the control tables and survive a restart.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// async fn show(migration: &dualwrite::Migration) -> Result<(), dualwrite::Error> {
    ///     for found in migration.mismatches().await? {
    ///         println!("{}, {}, key {:?}", found.method, found.field, found.key);
    ///     }
    ///     Ok(())
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Database`.
    pub async fn mismatches(&self) -> Result<Vec<Mismatch>, Error> {
        self.0.control.samples(&self.0.name).await
    }

    /// Forgets the samples of mismatches, so that new ones are kept: after the cause was removed. Other
    /// processes go on counting what they have stored, and store again after their next start. Returns
    /// how many there were.
    ///
    /// # Errors
    /// `Database`.
    pub async fn forget_mismatches(&self) -> Result<u64, Error> {
        let forgotten = self.0.control.forget_samples(&self.0.name).await?;
        self.0.forget_samples();
        Ok(forgotten)
    }

    /// The last changes, newest first.
    ///
    /// # Errors
    /// `Database`.
    pub async fn events(&self) -> Result<Vec<AuditEvent>, Error> {
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

impl std::fmt::Debug for Joined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Joined").field("name", &self.name).finish_non_exhaustive()
    }
}
