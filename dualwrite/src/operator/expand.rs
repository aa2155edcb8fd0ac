//! Expands, as somebody looks at them who runs no part of the service.

use super::Operator;
use crate::migration::expanding::Expanding;

impl Operator {
    /// The expand of a migration; see [`Expanding`]. What is new was declared by a release of the service.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// async fn show(operator: &dualwrite::Operator) -> Result<(), dualwrite::Error> {
    ///     println!("{:?}", operator.expand("customer-email").check().await?);
    ///     Ok(())
    /// }
    /// # }
    /// ```
    pub fn expand<'o>(&'o self, name: &'o str) -> Expanding<'o> {
        Expanding::new(&*self.control, name, None)
    }
}
