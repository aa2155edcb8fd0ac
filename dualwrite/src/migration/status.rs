//! The state of a migration as one value, for pages, tools and logs.

use serde::Serialize;

use crate::control::tasks::{StartedBackfill, explained};
use crate::control::{AuditEvent, BackfillProgress, Mismatch};
use crate::copier::joined::Joined;
use crate::error::{Error, Maintenance};
use crate::flags::report::FlagReport;
use crate::gate::Blocker;
use crate::guard::rules::GuardReport;
use crate::migration::Migration;
use crate::migration::guard::{dead_letters, guards, verdict};
use crate::migration::health::{FieldReport, RecentReport, fields, recent};
use crate::migration::rollout::RolloutStatus;
use crate::observe::mirror::MirrorReport;
use crate::observe::{CounterReport, MethodReport};
use crate::preflight::finding::Preflight;
use crate::rollout::command::RolloutCommand;
use crate::shadow::cohort::CohortReport;
use crate::shadow::noise::NoiseReport;
use crate::stages::facts::{Facts, InstanceReport};
use crate::stages::hazard::Hazard;
use crate::stages::moves::{Move, destination};
use crate::stages::position::{Generation, Position};
use crate::stages::readiness::blockers;
use crate::stages::stale::StaleMark;
use crate::stages::terms::Terms;
use crate::stages::verification::VerifyReport;

/// Everything one wants to know about a migration. Positions, progress and instances are those of the
/// control tables; calls and counters those of this process.
///
/// ```
/// # #[cfg(feature = "sqlite")] mod example {
/// async fn show(migration: &dualwrite::Migration) -> Result<(), dualwrite::Error> {
///     let status = migration.status().await?;
///     println!("{}: {}", status.migration, status.position);
///     Ok(())
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The name.
    pub migration: String,
    /// Where it stands.
    pub position: Position,
    /// Which calls are closed for maintenance, by whom, why, and until when.
    pub maintenance: Option<Maintenance>,
    /// The generation.
    pub generation: Generation,
    /// How far the newest backfill has come, where there was one.
    pub backfill: Option<BackfillProgress>,
    /// Keys that the backfill has still to look at.
    pub remaining: Option<u64>,
    /// Share of the keys that the backfill has handled, 0 to 100.
    pub percent: Option<f64>,
    /// What the newest verification found, or has found so far.
    pub verification: Option<VerifyReport>,
    /// The generation that a verification found equal.
    pub verified: Option<Generation>,
    /// Why the sides may differ: what has withdrawn the proof, until a verification of all keys is clean.
    pub stale: Vec<StaleMark>,
    /// What the catalogue said at the last look that speaks against writing new alone; see [`Migration::hazards`].
    pub hazards: Vec<Hazard>,
    /// Keys that wait to be copied to old again.
    pub dirty_old: u64,
    /// Keys that wait to be copied to new again.
    pub dirty_new: u64,
    /// Keys that could not be copied to new, those that somebody waived left out.
    pub dead_letters: u64,
    /// Backfills that somebody started and that have not ended.
    pub started: Vec<StartedBackfill>,
    /// Keys that could not be copied to either side, and that somebody waived.
    pub waived: u64,
    /// Live instances.
    pub instances: Vec<InstanceReport>,
    /// Calls, errors and latency per method and side.
    pub methods: Vec<MethodReport>,
    /// Comparisons, lazy copies and repairs.
    pub counters: CounterReport,
    /// Mirror writes of the last five minutes in this process, and why the newest one failed.
    pub mirror: MirrorReport,
    /// Calls of the last 1, 5 and 60 minutes.
    pub recent: Vec<RecentReport>,
    /// Differences by method and field, in this process.
    pub fields: Vec<FieldReport>,
    /// What came of comparisons, by [`cohort`](crate::shadow::cohort()), in this process.
    pub cohorts: Vec<CohortReport>,
    /// Fields that differed on the comparisons on which old was read again, in this process; see
    /// [`ShadowRules::noise`](crate::shadow::ShadowRules::noise).
    pub noise: Vec<NoiseReport>,
    /// The first mismatches that were found in each field; see [`Migration::mismatches`].
    pub mismatches: Vec<Mismatch>,
    /// What the guards say; see [`Migration::health`].
    pub health: GuardReport,
    /// What the last preflight of this process found, or, where it has no copy function or could not read the
    /// catalogue, the last one of another instance; see [`Migration::preflight`].
    pub preflight: Preflight,
    /// What stands between here and the next stage.
    pub blockers: Vec<Blocker>,
    /// The last changes, newest first.
    pub events: Vec<AuditEvent>,
    /// The last commands to rollouts, newest first; see [`Rollout::commands`](crate::migration::Rollout::commands).
    pub commands: Vec<RolloutCommand>,
    /// The rollout, where there ever was one.
    pub rollout: Option<RolloutStatus>,
    /// What the flags of this process say.
    pub flags: FlagReport,
}

/// What stands between here and the next stage, if there is one.
fn before_next(facts: &Facts, terms: &Terms) -> Option<Vec<Blocker>> {
    let requested = Move::Advance(facts.position.stage.next()?);
    let to = destination(facts.position, facts.new.generation, requested).ok()?;
    Some(blockers(facts, requested, to, terms))
}

impl Migration {
    /// The state of this migration.
    ///
    /// # Errors
    /// `Database`, `UnknownMigration`.
    pub async fn status(&self) -> Result<Status, Error> {
        let shared = self.shared();
        // First, so that the position is that of which they speak, or a newer one.
        let flags = shared.flags();
        let rollout = self.rollout().status().await?;
        let facts = shared.control.facts(&shared.name).await?;
        let backfill = shared.control.backfill(&shared.name).await?;
        let verification = shared.control.verification(&shared.name).await?;
        let preflight = preflight(shared).await?;
        let terms = shared.terms_now().await?;
        let blockers = before_next(&facts, &terms).unwrap_or_default();
        let (_, health) = verdict(shared, &guards(shared), Some(dead_letters(&facts)));
        Ok(Status {
            maintenance: facts.operated.maintenance.clone(),
            recent: recent(shared),
            mirror: shared.mirror(),
            fields: fields(shared),
            cohorts: shared.compared.cohorts.report(),
            noise: shared.compared.baseline.report(),
            mismatches: self.mismatches().await?,
            health,
            migration: shared.name.to_string(),
            position: facts.position,
            generation: facts.new.generation,
            remaining: backfill.as_ref().map(BackfillProgress::remaining),
            percent: backfill.as_ref().map(BackfillProgress::percent),
            backfill,
            started: explained(shared.control.tasks(&shared.name).await?, &facts.instances),
            verification: verification.map(|state| state.report),
            verified: facts.new.verified,
            stale: facts.stale.clone(),
            hazards: facts.hazards.clone(),
            dirty_old: facts.old.dirty,
            dirty_new: facts.new.dirty,
            dead_letters: facts.new.dead_letters,
            waived: facts.new.waived + facts.old.waived,
            instances: facts.instances,
            methods: shared.methods().iter().map(|method| method.report()).collect(),
            counters: shared.counters.report(),
            preflight,
            blockers,
            events: self.events().await?,
            commands: self.rollout().commands().await?,
            rollout,
            flags,
        })
    }
}

/// What this process found, or another instance.
async fn preflight(shared: &Joined) -> Result<Preflight, Error> {
    let found = shared.preflight();
    if found.complete || !found.findings.is_empty() {
        return Ok(found);
    }
    let stored = shared.control.preflight(&shared.name).await?;
    Ok(stored.map_or(found, |stored| Preflight::new(stored.findings, stored.complete)))
}
