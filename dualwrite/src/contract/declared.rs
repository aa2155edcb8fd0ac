//! What a registration declares as old, and what it asks for before that may be dropped.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::database::Identifier;
use crate::error::{Error, ErrorKind};
use crate::preflight::schema::TableName;

/// How long `Complete` must last before old may be dropped, by default.
pub const COMPLETE_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The approval that a contract needs, by default.
pub const CONTRACT_APPROVAL: &str = "contract";
/// How many tables and columns one contract may drop.
pub const CONTRACT_OBJECTS_MAX: usize = 100;

/// A table or a column that a migration calls old.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OldObject {
    /// The table, with its schema in front where it was given.
    pub table: String,
    /// The column; `None` for the whole table.
    pub column: Option<String>,
}

impl OldObject {
    pub(crate) fn table_name(&self) -> TableName {
        match self.table.split_once('.') {
            Some((schema, name)) => {
                TableName { schema: Some(schema.to_owned()), name: name.to_owned() }
            }
            None => TableName { schema: None, name: self.table.clone() },
        }
    }

    fn check(&self) -> Result<(), Error> {
        let names = self.table.split('.').chain(self.column.as_deref());
        if self.table.split('.').count() > 2 {
            let message = format!("`{}` is no table; write `table` or `schema.table`", self.table);
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        names.into_iter().try_for_each(|name| Identifier::new(name).map(drop))
    }
}

impl fmt::Display for OldObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            Some(column) => write!(f, "column {}.{column}", self.table),
            None => write!(f, "table {}", self.table),
        }
    }
}

/// What a migration calls old, and what is asked for before it is dropped. Given to
/// [`Registration::contract`](crate::Registration::contract); stored in the control tables, so that a later
/// release, which no longer knows old, can drop it.
///
/// ```
/// use std::time::Duration;
/// use dualwrite::contract::Contract;
///
/// let contract = Contract::new()
///     .column("customer", "email")
///     .complete_for(Duration::from_secs(3 * 24 * 60 * 60))
///     .approval("dba");
/// assert_eq!(contract.objects()[0].to_string(), "column customer.email");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub struct Contract {
    objects: Vec<OldObject>,
    pub(crate) complete_for: Duration,
    pub(crate) rollback_window: Duration,
    pub(crate) approval: String,
    /// Why writers of old are not recorded by the trigger.
    pub(crate) unwatched: Option<String>,
    /// Why there is no backup to confirm.
    pub(crate) without_backup: Option<String>,
    pub(crate) old_filled: bool,
}

impl Default for Contract {
    fn default() -> Self {
        Self::new()
    }
}

impl Contract {
    /// Calls nothing old yet.
    pub fn new() -> Self {
        Self {
            objects: Vec::new(),
            complete_for: COMPLETE_FOR,
            rollback_window: COMPLETE_FOR,
            approval: CONTRACT_APPROVAL.to_owned(),
            unwatched: None,
            without_backup: None,
            old_filled: false,
        }
    }

    /// A column that is old. The table is written `table` or `schema.table`.
    pub fn column(mut self, table: impl Into<String>, column: impl Into<String>) -> Self {
        self.objects.push(OldObject { table: table.into(), column: Some(column.into()) });
        self
    }

    /// A table that is old.
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.objects.push(OldObject { table: table.into(), column: None });
        self
    }

    /// How long `Complete` must have lasted, without a read of old; see [`COMPLETE_FOR`].
    pub fn complete_for(mut self, time: Duration) -> Self {
        self.complete_for = time;
        self
    }

    /// For how long after the step to `Complete` the way back is promised; [`COMPLETE_FOR`] by default.
    pub fn rollback_window(mut self, time: Duration) -> Self {
        self.rollback_window = time;
        self
    }

    /// The name of the approval that somebody has to give at `Complete`, with
    /// [`Contracting::approve`](crate::migration::Contracting::approve); [`CONTRACT_APPROVAL`] by default.
    pub fn approval(mut self, name: impl Into<String>) -> Self {
        self.approval = name.into();
        self
    }

    /// Does without the [trigger](crate::Migration::install_trigger) that records writers of old which do not know
    /// this library. The reason is part of the evidence.
    pub fn unwatched(mut self, because: impl Into<String>) -> Self {
        self.unwatched = Some(because.into());
        self
    }

    /// Does without a confirmed backup. The reason is part of the evidence.
    pub fn without_backup(mut self, because: impl Into<String>) -> Self {
        self.without_backup = Some(because.into());
        self
    }

    /// Says that what writes new alone puts something into the old columns, too, so that constraints of old columns
    /// need not be [relaxed](crate::migration::Contracting::relaxing) before `Complete`.
    pub fn old_filled(mut self) -> Self {
        self.old_filled = true;
        self
    }

    /// What is old, in the order in which it is dropped.
    #[must_use]
    pub fn objects(&self) -> &[OldObject] {
        &self.objects
    }

    /// Checks all names and reasons.
    ///
    /// # Errors
    /// `InvalidInput` that names what is wrong.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |message: String| Err(Error::new(ErrorKind::InvalidInput, message));
        if self.objects.is_empty() || self.objects.len() > CONTRACT_OBJECTS_MAX {
            return wrong(format!(
                "a contract names 1 to {CONTRACT_OBJECTS_MAX} tables or columns that are old; this one has {}",
                self.objects.len()
            ));
        }
        if self.approval.is_empty() || self.approval.len() > 100 {
            return wrong("the approval of a contract must have 1 to 100 bytes".to_owned());
        }
        for (what, reason) in
            [("unwatched", &self.unwatched), ("without_backup", &self.without_backup)]
        {
            if reason.as_ref().is_some_and(|reason| reason.trim().is_empty()) {
                return wrong(format!("give `{what}` the reason why that is safe"));
            }
        }
        self.objects.iter().try_for_each(OldObject::check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_is_checked() {
        let refused = |contract: Contract| contract.check().unwrap_err().to_string();
        assert!(refused(Contract::new()).contains("1 to 100"));
        assert!(refused(Contract::new().table("a; DROP TABLE b")).contains("a; DROP TABLE b"));
        assert!(refused(Contract::new().table("a.b.c")).contains("schema.table"));
        assert!(refused(Contract::new().column("a", "b\"")).contains("b\""));
        assert!(refused(Contract::new().table("a").approval("")).contains("approval"));
        assert!(refused(Contract::new().table("a").without_backup(" ")).contains("without_backup"));
        Contract::new().column("shop.customer", "email").table("goals").check().unwrap();
    }
}
