//! What a release declares as no longer needed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::contract::declared::{Contract, OldObject};
use crate::error::{Error, ErrorKind};

/// For how long nobody may use what is to be removed, in each phase, by default.
pub const REMOVAL_WAIT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Tables and columns that nothing takes the place of, and that are to be dropped: for
/// [`Runtime::removal`](crate::Runtime::removal).
///
/// ```
/// use std::time::Duration;
/// use dualwrite::removal::Removal;
///
/// let removal = Removal::new().column("customer", "fax").wait(Duration::from_secs(3 * 24 * 60 * 60));
/// removal.check()?;
/// # Ok::<(), dualwrite::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub struct Removal {
    pub(crate) contract: Contract,
    pub(crate) wait: Duration,
    /// Why there is no backup to confirm.
    pub(crate) without_backup: Option<String>,
    /// Why it is dropped without having had another name.
    pub(crate) without_rename: Option<String>,
}

impl Default for Removal {
    fn default() -> Self {
        Self::new()
    }
}

impl Removal {
    /// Removes nothing yet.
    pub fn new() -> Self {
        Self {
            contract: Contract::new(),
            wait: REMOVAL_WAIT,
            without_backup: None,
            without_rename: None,
        }
    }

    /// A column. The table is written `table` or `schema.table`.
    pub fn column(mut self, table: impl Into<String>, column: impl Into<String>) -> Self {
        self.contract = self.contract.column(table, column);
        self
    }

    /// A table.
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.contract = self.contract.table(table);
        self
    }

    /// For how long nobody may use it before the next phase; [`REMOVAL_WAIT`] by default.
    pub fn wait(mut self, time: Duration) -> Self {
        self.wait = time;
        self
    }

    /// Does without a confirmed backup. The reason is part of the audit.
    pub fn without_backup(mut self, because: impl Into<String>) -> Self {
        self.without_backup = Some(because.into());
        self
    }

    /// Drops it without having renamed it first. The reason is part of the audit.
    pub fn without_rename(mut self, because: impl Into<String>) -> Self {
        self.without_rename = Some(because.into());
        self
    }

    /// What is removed, in its order.
    #[must_use]
    pub fn objects(&self) -> &[OldObject] {
        self.contract.objects()
    }

    /// Checks all names and reasons.
    ///
    /// # Errors
    /// `InvalidInput` that names what is wrong.
    pub fn check(&self) -> Result<(), Error> {
        let reasons =
            [("without_backup", &self.without_backup), ("without_rename", &self.without_rename)];
        for (what, reason) in reasons {
            if reason.as_ref().is_some_and(|reason| reason.trim().is_empty()) {
                let message = format!("give `{what}` the reason why that is safe");
                return Err(Error::new(ErrorKind::InvalidInput, message));
            }
        }
        self.contract.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_is_checked() {
        let refused = |removal: Removal| removal.check().unwrap_err().to_string();
        assert!(refused(Removal::new()).contains("1 to 100"));
        assert!(refused(Removal::new().table("a; DROP TABLE b")).contains("a; DROP TABLE b"));
        assert!(refused(Removal::new().table("a").without_backup(" ")).contains("without_backup"));
        assert!(refused(Removal::new().table("a").without_rename("")).contains("without_rename"));
        Removal::new().column("shop.customer", "fax").check().unwrap();
    }
}
