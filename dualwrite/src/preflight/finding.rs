//! What a preflight found: values for gates, pages, tools and errors.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::stages::stage::Side;

/// How much a [`Finding`] weighs.
///
/// ```
/// use dualwrite::preflight::FindingLevel;
/// assert!(FindingLevel::Refuse > FindingLevel::Warn && FindingLevel::Warn > FindingLevel::Note);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FindingLevel {
    /// Good to know.
    Note,
    /// It may cost time or surprise somebody; look at it before going on.
    Warn,
    /// Rows could be lost: a migration at `Off` cannot be registered, a later one cannot go forward.
    Refuse,
}

impl FindingLevel {
    /// The name of the level.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warn => "warn",
            Self::Refuse => "refuse",
        }
    }
}

impl fmt::Display for FindingLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that the preflight found: where, why it matters, and what to do. It holds names, never values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// What was looked at, as a short name: `key_type`, `key_null`, `key_order`, …
    pub check: String,
    /// How much it weighs.
    pub level: FindingLevel,
    /// The side that it is about.
    pub side: Side,
    /// The table.
    pub table: String,
    /// The column, where it is about one.
    pub column: Option<String>,
    /// What was found, and why it matters.
    pub why: String,
    /// What to do.
    pub action: String,
}

impl Finding {
    pub(crate) fn new(
        check: &str,
        level: FindingLevel,
        (side, table, column): (Side, &str, Option<&str>),
        why: impl Into<String>,
        action: impl Into<String>,
    ) -> Self {
        Self {
            check: check.to_owned(),
            level,
            side,
            table: table.to_owned(),
            column: column.map(str::to_owned),
            why: why.into(),
            action: action.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: table `{}`", self.level, self.check, self.table)?;
        if let Some(column) = &self.column {
            write!(f, ", column `{column}`")?;
        }
        write!(f, ": {}; {}", self.why, self.action)
    }
}

/// The findings of a preflight, the weightiest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Preflight {
    /// What was found.
    pub findings: Vec<Finding>,
    /// Whether both tables were there to be looked at.
    pub complete: bool,
}

impl Preflight {
    pub(crate) fn new(mut findings: Vec<Finding>, complete: bool) -> Self {
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        Self { findings, complete }
    }

    /// What keeps the migration from going forward.
    pub fn refusals(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.level == FindingLevel::Refuse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weightiest_finding_comes_first_and_names_its_place() {
        let finding = |level| {
            Finding::new("key_type", level, (Side::Old, "t", Some("id")), "it is odd", "change it")
        };
        let all = [FindingLevel::Note, FindingLevel::Refuse, FindingLevel::Warn];
        let found = Preflight::new(all.map(finding).into(), true);
        assert_eq!(found.findings[0].level, FindingLevel::Refuse);
        assert_eq!(found.refusals().count(), 1);
        assert_eq!(
            found.findings[0].to_string(),
            "refuse key_type: table `t`, column `id`: it is odd; change it"
        );
    }
}
