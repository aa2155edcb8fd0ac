//! The phases of a removal.

use std::fmt;

use serde::Serialize;

/// Where a removal stands. Every phase but the last can be taken back.
///
/// ```
/// use dualwrite::removal::RemovalPhase;
/// assert!(RemovalPhase::InUse < RemovalPhase::Renamed);
/// assert_eq!(RemovalPhase::WritesStopped.to_string(), "writes_stopped");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RemovalPhase {
    /// It is read and written.
    #[default]
    InUse,
    /// Nobody is to write it; whoever does is recorded.
    WritesStopped,
    /// Nobody is to read it either.
    ReadsStopped,
    /// It has another name, so that whoever still uses it fails, and it can be brought back at once.
    Renamed,
    /// It is gone.
    Dropped,
}

impl RemovalPhase {
    /// All phases, in their order.
    pub const ALL: [Self; 5] =
        [Self::InUse, Self::WritesStopped, Self::ReadsStopped, Self::Renamed, Self::Dropped];

    /// The name in the control tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InUse => "in_use",
            Self::WritesStopped => "writes_stopped",
            Self::ReadsStopped => "reads_stopped",
            Self::Renamed => "renamed",
            Self::Dropped => "dropped",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == name)
    }
}

impl fmt::Display for RemovalPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_is_read_back_by_its_name() {
        for phase in RemovalPhase::ALL {
            assert_eq!(RemovalPhase::named(phase.as_str()), Some(phase));
        }
        assert_eq!(RemovalPhase::named("of a newer release"), None);
    }
}
