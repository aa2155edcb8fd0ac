//! [`EnvFlags`]: flags in the environment of the process.

use std::fmt;
use std::sync::Arc;

use crate::error::BoxError;
use crate::flags::desired::DesiredState;
use crate::flags::source::{FlagSource, Lookup};

const PREFIX: &str = "DUALWRITE_STAGE_";

/// One variable for each migration: `DUALWRITE_STAGE_` and its name in capitals, with `_` for `.` and `-`.
/// See the [guide](crate::guide::flags) for what this source can promise.
///
/// ```
/// use dualwrite::{flags::FlagSource as _, runtime::EnvFlags};
/// assert_eq!(EnvFlags::variable("customer-email"), "DUALWRITE_STAGE_CUSTOMER_EMAIL");
/// assert_eq!(EnvFlags::new().name(), "environment");
/// ```
#[derive(Clone)]
pub struct EnvFlags {
    lookup: Lookup,
}

impl EnvFlags {
    /// Reads the environment of this process.
    #[must_use]
    pub fn new() -> Self {
        Self::with(|name| std::env::var(name).ok())
    }

    /// Reads somewhere else: for tests.
    pub fn with(lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { lookup: Arc::new(lookup) }
    }

    /// The variable of a migration.
    #[must_use]
    pub fn variable(migration: &str) -> String {
        let letter = |c: char| if ".-".contains(c) { '_' } else { c.to_ascii_uppercase() };
        let name: String = migration.chars().map(letter).collect();
        format!("{PREFIX}{name}")
    }
}

impl Default for EnvFlags {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for EnvFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvFlags").finish_non_exhaustive()
    }
}

impl FlagSource for EnvFlags {
    fn name(&self) -> &str {
        "environment"
    }

    async fn desired(&self, migration: &str) -> Result<Option<DesiredState>, BoxError> {
        let variable = Self::variable(migration);
        let Some(value) = (self.lookup)(&variable).filter(|value| !value.trim().is_empty()) else {
            return Ok(None);
        };
        value.parse().map(Some).map_err(|error| format!("{variable}: {error}").into())
    }
}
