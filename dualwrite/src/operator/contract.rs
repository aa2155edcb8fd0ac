//! Contracts, as somebody gives them who runs no part of the service.

use super::Operator;
use crate::error::Error;
use crate::migration::contracting::Contracting;

impl Operator {
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
