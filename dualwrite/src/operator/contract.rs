//! Contracts, as somebody gives them who runs no part of the service.

use serde::Serialize;

use super::Operator;
use crate::contract::decide::{ContractDecision, Evidence, MissingEvidence};
use crate::error::Error;
use crate::migration::contracting::Contracting;

/// Whether the old side of a migration may be dropped now: what a deployment pipeline asks before its last step. From
/// [`Operator::contract_overview`]; the page answers with it as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ContractOverview {
    /// The migration.
    pub migration: String,
    /// All evidence is there, and something of old is left to drop.
    pub may_drop: bool,
    /// All of old was dropped already.
    pub ended: bool,
    /// What is missing, each with what to do.
    pub missing: Vec<MissingEvidence>,
    /// What was found, piece by piece, where nothing is missing.
    pub evidence: Vec<Evidence>,
    /// The statements that are left to run, whether or not they may be run.
    pub statements: Vec<String>,
}

impl Operator {
    /// Whether old may be dropped now, what is missing, and the statements that are left. It reads, and changes nothing.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// async fn may_drop(operator: &dualwrite::operator::Operator) -> Result<bool, dualwrite::Error> {
    ///     let overview = operator.contract_overview("customer-email").await?;
    ///     overview.missing.iter().for_each(|one| println!("{one}"));
    ///     Ok(overview.may_drop)
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// `UnknownMigration`, `Database`.
    pub async fn contract_overview(&self, name: &str) -> Result<ContractOverview, Error> {
        let (decision, statements, ended) = self.contract(name).overview().await?;
        let (missing, evidence) = match decision {
            ContractDecision::Refused { missing } => (missing, Vec::new()),
            ContractDecision::Allowed { evidence } => (Vec::new(), evidence),
        };
        Ok(ContractOverview {
            migration: name.to_owned(),
            may_drop: missing.is_empty() && !ended && !statements.is_empty(),
            ended,
            missing,
            evidence,
            statements,
        })
    }

    /// The contract of a migration; see [`Contracting`]. What is old was declared by a release of the service.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// async fn show(operator: &dualwrite::operator::Operator) -> Result<(), dualwrite::Error> {
    ///     println!("{:?}", operator.contract("customer-email").check().await?);
    ///     Ok(())
    /// }
    /// # }
    /// ```
    pub fn contract<'o>(&'o self, name: &'o str) -> Contracting<'o> {
        Contracting::new(&*self.control, name, None)
    }

    /// The migrations that have declared what is old, by name.
    ///
    /// # Errors
    /// `Database`.
    pub async fn contracts(&self) -> Result<Vec<String>, Error> {
        self.control.check_version().await?;
        let found = self.control.contracts().await?;
        Ok(found.into_iter().map(|(name, _)| name).collect())
    }
}
