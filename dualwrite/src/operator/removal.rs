//! Removals, as somebody drives them who runs no part of the service.

use super::Operator;
use crate::error::Error;
use crate::migration::removing::Removing;

impl Operator {
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
