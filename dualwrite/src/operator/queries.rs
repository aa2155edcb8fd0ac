//! What an operator can ask of one migration.

use crate::control::commands::Job;
use crate::control::dead_letters::DeadLetter;
use crate::control::traffic::TrafficReport;
use crate::control::{AuditEvent, Mismatch};
use crate::error::Error;
use crate::gate::Blocker;
use crate::migration::rollout::RolloutStatus;
use crate::operator::Operator;
use crate::operator::moves::declared;
use crate::preflight::report::PreflightReport;
use crate::rollout::command::RolloutCommand;
use crate::stages::facts::InstanceReport;
use crate::stages::hazard::Hazard;
use crate::stages::moves::{Move, destination};
use crate::stages::readiness::blockers;
use crate::state::unknown_migration;

/// How many lines of the audit, and how many dead letters, are answered at the most.
pub(crate) const LINES_MAX: u32 = 200;

impl Operator {
    /// What stands between the present position and a move, by what the live instances declare; empty means that it
    /// would be made. Without a move, of the one to the next stage.
    ///
    /// # Errors
    /// `IllegalMove` where there is no such move, `UnknownMigration`, `Database`.
    pub async fn readiness(
        &self,
        name: &str,
        requested: Option<Move>,
    ) -> Result<Vec<Blocker>, Error> {
        self.control.check_version().await?;
        let facts = self.control.facts(name).await?;
        let Some(requested) = requested.or_else(|| facts.position.stage.next().map(Move::Advance))
        else {
            return Ok(Vec::new());
        };
        let to = destination(facts.position, facts.generation, requested)
            .map_err(|error| error.of(name))?;
        Ok(match declared(&facts, to) {
            Ok(terms) => blockers(&facts, requested, to, &terms),
            Err(blocker) => vec![blocker],
        })
    }

    /// The newest changes of the position, newest first.
    ///
    /// # Errors
    /// `UnknownMigration`, `Database`.
    pub async fn events(&self, name: &str) -> Result<Vec<AuditEvent>, Error> {
        self.known(name).await?;
        self.control.events(name, LINES_MAX).await
    }

    /// The newest commands and commands that moved nothing, newest first.
    ///
    /// # Errors
    /// `UnknownMigration`, `Database`.
    pub async fn audit(&self, name: &str) -> Result<Vec<RolloutCommand>, Error> {
        self.known(name).await?;
        self.control.recorded_commands(name, LINES_MAX).await
    }

    /// The live instances.
    ///
    /// # Errors
    /// `UnknownMigration`, `Database`.
    pub async fn instances(&self, name: &str) -> Result<Vec<InstanceReport>, Error> {
        self.control.check_version().await?;
        Ok(self.control.facts(name).await?.instances)
    }

    /// The keys that could not be copied, with the reason of each, oldest first.
    ///
    /// # Errors
    /// `UnknownMigration`, `Database`.
    pub async fn dead_letters(&self, name: &str) -> Result<Vec<DeadLetter>, Error> {
        self.known(name).await?;
        self.control.dead_letters(name, false, LINES_MAX).await
    }

    /// The samples of mismatches, oldest first.
    ///
    /// # Errors
    /// `UnknownMigration`, `Database`.
    pub async fn mismatches(&self, name: &str) -> Result<Vec<Mismatch>, Error> {
        self.known(name).await?;
        self.control.samples(name).await
    }

    /// What the newest preflight of an instance found; `None` before there was one. The command `read-catalogue` has
    /// another one run.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// async fn show(operator: &dualwrite::operator::Operator) -> Result<(), dualwrite::Error> {
    ///     for finding in operator.preflight("customer-email").await?.unwrap_or_default().findings {
    ///         println!("{finding}");
    ///     }
    ///     Ok(())
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// `UnknownMigration`, `Database`.
    pub async fn preflight(&self, name: &str) -> Result<Option<PreflightReport>, Error> {
        self.known(name).await?;
        self.control.preflight(name).await
    }

    /// What the catalogue said last of writers that no trigger sees, and of sequences.
    ///
    /// # Errors
    /// `UnknownMigration`, `Database`.
    pub async fn hazards(&self, name: &str) -> Result<Vec<Hazard>, Error> {
        self.known(name).await?;
        self.control.hazards(name).await
    }

    /// The jobs that were started for any instance, and what became of them.
    ///
    /// # Errors
    /// `UnknownMigration`, `Database`.
    pub async fn jobs(&self, name: &str) -> Result<Vec<Job>, Error> {
        self.control.check_version().await?;
        let instances = self.control.facts(name).await?.instances;
        let jobs = self.control.jobs(name).await?;
        Ok(jobs.into_iter().map(|job| job.explain(&instances)).collect())
    }

    /// The calls of both sides in the last hour, of all instances together.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// async fn show(operator: &dualwrite::operator::Operator) -> Result<(), dualwrite::Error> {
    ///     let traffic = operator.traffic("customer-email").await?;
    ///     println!("new: {} calls, p99 {} µs", traffic.new.hour.calls, traffic.new.hour.p99_us);
    ///     Ok(())
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// `UnknownMigration`, `Database`.
    pub async fn traffic(&self, name: &str) -> Result<TrafficReport, Error> {
        self.known(name).await?;
        Ok(TrafficReport::of(&self.control.traffic(name).await?))
    }

    /// How far the rollout is; `None` where there never was one.
    ///
    /// # Errors
    /// `UnknownMigration`, `Database`.
    pub async fn rollout(&self, name: &str) -> Result<Option<RolloutStatus>, Error> {
        self.known(name).await?;
        Ok(self.control.plan(name).await?.as_ref().map(RolloutStatus::of))
    }

    /// A name that nobody bears is no migration without anything.
    async fn known(&self, name: &str) -> Result<(), Error> {
        self.control.check_version().await?;
        let names = self.control.names().await?;
        names.iter().any(|known| known == name).then_some(()).ok_or_else(|| unknown_migration(name))
    }
}
