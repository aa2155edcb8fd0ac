//! [`FlagReport`]: what the flags of this process say about one migration.

use serde::Serialize;

/// What the flags of this process say about a migration, and what stands in their way.
///
/// ```
/// let report = dualwrite::flags::FlagReport::default();
/// assert!(report.wanted.is_none() && report.problems.is_empty());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FlagReport {
    /// Where they want it, as [`DesiredState`](crate::flags::DesiredState) is written.
    pub wanted: Option<String>,
    /// The source that says so: the first that says anything.
    pub source: Option<String>,
    /// The kill switch that is set.
    pub killed_by: Option<String>,
    /// Sources that cannot be asked or understood. What they said before holds.
    pub problems: Vec<String>,
    /// Why the migration is not where they want it.
    pub waiting: Option<String>,
}
