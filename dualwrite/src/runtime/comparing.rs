//! Options of a registration: which calls are compared, and how.

use super::Registration;
use crate::database::Backend;
use crate::shadow::rules::ShadowRules;
use crate::stages::position::Percent;

impl<DB: Backend> Registration<'_, DB> {
    /// The share of *keys* whose reads are compared, always the same ones, so that a record can be
    /// followed; scans are sampled by the call. Which keys these are does not depend on which the ramp
    /// has reached. A method's own `sample` is then a share of keys too.
    pub fn shadow_sample_by_key(mut self, share: Percent) -> Self {
        self.options.shadow_sample = share;
        self.options.shadow_by_key = true;
        self
    }

    /// The share of dual writes, those of a `with_both` implementation among them, after which both sides are read back in the caller's transaction and
    /// compared as a verification compares them; none by default. What comes of it counts for the method of
    /// the write. It is the caller who waits for the reads, without a limit, so take a small share. Needs
    /// a copy function with [`differing`](crate::CopyKeys::differing) or a [`mapping`](crate::CopyKeys::mapping).
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// use dualwrite::{Percent, Registration};
    ///
    /// fn compared(registration: Registration<'_, sqlx::Sqlite>) -> Registration<'_, sqlx::Sqlite> {
    ///     registration.compare_writes(Percent::from_basis_points(50).expect("half a percent"))
    /// }
    /// # }
    /// ```
    pub fn compare_writes(mut self, share: Percent) -> Self {
        self.options.compare_writes = share;
        self
    }

    /// What comparisons leave out, and how they tell errors apart.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")] mod example {
    /// use dualwrite::{Error, Migration, Runtime, shadow::ShadowRules};
    ///
    /// async fn register(runtime: &Runtime<sqlx::Sqlite>) -> Result<Migration, Error> {
    ///     let rules = ShadowRules::default().ignore_field("read_at");
    ///     runtime.migration("orders").shadow_rules(rules).register().await
    /// }
    /// # }
    /// ```
    pub fn shadow_rules(mut self, rules: ShadowRules) -> Self {
        self.options.rules = rules;
        self
    }
}
