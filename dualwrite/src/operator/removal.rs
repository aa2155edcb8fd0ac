//! Removals, as somebody drives them who runs no part of the service.

use serde::Serialize;

use super::Operator;
use crate::error::Error;
use crate::migration::removing::Removing;
use crate::removal::phase::RemovalPhase;
use crate::removal::report::RemovalReport;

/// Where a removal stands, and what may be done now: what a deployment pipeline asks before its next step. From
/// [`Operator::removal_overview`]; the page answers with it as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RemovalOverview {
    /// The next phase may begin.
    pub may_go_on: bool,
    /// The next phase drops, and may begin.
    pub may_drop: bool,
    /// Where it stands; in JSON its fields stand beside these.
    #[serde(flatten)]
    pub report: RemovalReport,
}

impl Operator {
    /// Where a removal stands, and whether its next phase may begin. It reads, and changes nothing.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// async fn may_drop(operator: &dualwrite::operator::Operator) -> Result<bool, dualwrite::Error> {
    ///     let overview = operator.removal_overview("customer-fax").await?;
    ///     overview.report.missing.iter().for_each(|one| println!("{one}"));
    ///     Ok(overview.may_drop)
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// `UnknownMigration` where nobody has declared it, `Unsupported`, `Database`.
    pub async fn removal_overview(&self, name: &str) -> Result<RemovalOverview, Error> {
        let report = self.removal(name).report().await?;
        let may_go_on = report.next.is_some() && report.missing.is_empty();
        let may_drop = may_go_on && report.next == Some(RemovalPhase::Dropped);
        Ok(RemovalOverview { may_go_on, may_drop, report })
    }

    /// A removal; see [`Removing`]. What is removed was declared by a release of the service.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// async fn show(operator: &dualwrite::operator::Operator) -> Result<(), dualwrite::Error> {
    ///     println!("{:?}", operator.removal("customer-fax").report().await?);
    ///     Ok(())
    /// }
    /// # }
    /// ```
    pub fn removal<'o>(&'o self, name: &'o str) -> Removing<'o> {
        Removing::new(&*self.control, name)
    }

    /// The names of all removals.
    ///
    /// # Errors
    /// `Database`.
    pub async fn removals(&self) -> Result<Vec<String>, Error> {
        self.control.check_version().await?;
        self.control.removals().await
    }
}
