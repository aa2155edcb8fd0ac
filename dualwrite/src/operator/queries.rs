//! What an operator can ask of one migration.

use crate::control::commands::Job;
use crate::control::dead_letters::DeadLetter;
use crate::control::exact::{ExactFailure, ExactRow};
use crate::control::traffic::TrafficReport;
use crate::control::{AuditEvent, Mismatch};
use crate::error::Error;
use crate::gate::Blocker;
use crate::migration::rollout::RolloutStatus;
use crate::operator::Operator;
use crate::operator::exact::against;
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
        let facts = match self.control.facts(name).await {
            Ok(facts) => facts,
            Err(error) => return self.exact_readiness(name).await?.ok_or(error),
        };
        let Some(requested) = requested.or_else(|| facts.position.stage.next().map(Move::Advance))
        else {
            return Ok(Vec::new());
        };
        let to = destination(facts.position, facts.new.generation, requested)
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
        match self.control.facts(name).await {
            Ok(facts) => Ok(facts.instances),
            // Of a migration in exact mode the overview names the instance that reports.
            Err(error) => self.exact_row(name).await?.map(|_| Vec::new()).ok_or(error),
        }
    }

    /// The keys that could not be copied, with the reason of each, oldest first.
    ///
    /// # Errors
    /// `UnknownMigration`, `Database`.
    pub async fn dead_letters(&self, name: &str) -> Result<Vec<DeadLetter>, Error> {
        if let Some(row) = self.known(name).await? {
            return Ok(failures(&row));
        }
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
        let instances = match self.control.facts(name).await {
            Ok(facts) => facts.instances,
            Err(error) => {
                let exact = self.exact_overview(name).await?;
                return exact.map(|overview| overview.jobs).ok_or(error);
            }
        };
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

    /// What stands against the next move of a migration in exact mode.
    async fn exact_readiness(&self, name: &str) -> Result<Option<Vec<Blocker>>, Error> {
        let Some(row) = self.exact_row(name).await? else { return Ok(None) };
        Ok(Some(
            row.overview.state.as_ref().and_then(against).map(|next| next.1).unwrap_or_default(),
        ))
    }

    /// A name that nobody bears is no migration without anything. Answers with the row of one in exact mode.
    async fn known(&self, name: &str) -> Result<Option<ExactRow>, Error> {
        self.control.check_version().await?;
        if self.control.names().await?.iter().any(|known| known == name) {
            return Ok(None);
        }
        self.exact_row(name).await?.map(Some).ok_or_else(|| unknown_migration(name))
    }
}

/// The keys that the mirror does not take, as dead letters are answered.
fn failures(row: &ExactRow) -> Vec<DeadLetter> {
    let Some(state) = &row.overview.state else { return Vec::new() };
    let letter = |failure: &ExactFailure| {
        let ExactFailure { key, attempts, error } = failure.clone();
        DeadLetter::of_outbox(state.primary.other(), key, attempts, error)
    };
    state.failures.iter().map(letter).collect()
}
