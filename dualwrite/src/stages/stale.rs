//! Stale marks: why the two sides may differ. Each withdraws the proof of a verification until a later one is clean.

use std::fmt;
use std::time::SystemTime;

use serde::Serialize;

/// Why the two sides may differ.
///
/// ```
/// assert_eq!(dualwrite::verify::StaleKind::Truncated.as_str(), "truncated");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StaleKind {
    /// A verification or a repair found a key that differs, or that the old side lacks.
    Difference,
    /// A verification or a repair found a key that the new side lacks.
    Missing,
    /// A key that cannot be recorded was written without this library, or answered differently by the sides.
    Key,
    /// Somebody truncated the old table.
    Truncated,
    /// The catalogue says that the old table was truncated, rebuilt, or lost or got a partition, or that triggers of
    /// this library on it were disabled for a while.
    Reshaped,
    /// A writer that no trigger sees has gone, or somebody recorded that it is stopped; or triggers of this library were
    /// missing for a while.
    Writer,
}

impl StaleKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Difference, Self::Missing, Self::Key, Self::Truncated, Self::Reshaped, Self::Writer];

    /// The name in the control tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Difference => "difference",
            Self::Missing => "missing",
            Self::Key => "key",
            Self::Truncated => "truncated",
            Self::Reshaped => "reshaped",
            Self::Writer => "writer",
        }
    }

    /// A name that a newer release wrote counts as a difference.
    pub(crate) fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).unwrap_or(Self::Difference)
    }

    /// Whether lazy reads bring what is missing.
    pub(crate) const fn is_copied_lazily(self) -> bool {
        matches!(self, Self::Missing)
    }
}

impl fmt::Display for StaleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Difference => "a comparison found keys that differ",
            Self::Missing => "a comparison found keys that the new side lacks",
            Self::Key => {
                "a key that is NULL, too long or not encodable was written to the old table without this \
                 library, or its write was answered differently by the two sides"
            }
            Self::Truncated => "the old table was truncated",
            Self::Reshaped => {
                "the old table was truncated or rebuilt, its partitions changed, or triggers of this library on it \
                 were disabled for a while"
            }
            Self::Writer => {
                "what a stopped writer wrote to the old table, or somebody while triggers of this library were \
                 missing, is not verified yet"
            }
        })
    }
}

/// Why the two sides may differ, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StaleMark {
    /// Why.
    pub kind: StaleKind,
    /// The newest such event, by the database's clock.
    #[serde(rename = "at_us", with = "crate::moment::as_micros")]
    pub at: SystemTime,
}

/// The reasons in one sentence; `None` where there are none.
pub(crate) fn reasons(marks: &[StaleMark]) -> Option<String> {
    let reasons: Vec<String> = marks.iter().map(|mark| mark.kind.to_string()).collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_by_its_name() {
        for kind in StaleKind::ALL {
            assert_eq!(StaleKind::named(kind.as_str()), kind);
        }
        assert_eq!(StaleKind::named("of a newer release"), StaleKind::Difference);
    }

    #[test]
    fn only_what_is_missing_is_copied_by_lazy_reads() {
        let lazily = StaleKind::ALL.into_iter().filter(|kind| kind.is_copied_lazily());
        assert_eq!(lazily.collect::<Vec<_>>(), [StaleKind::Missing]);
    }

    #[test]
    fn the_reasons_stand_in_one_sentence() {
        let mark = |kind| StaleMark { kind, at: std::time::SystemTime::UNIX_EPOCH };
        assert_eq!(reasons(&[]), None);
        let both = reasons(&[mark(StaleKind::Truncated), mark(StaleKind::Missing)]).unwrap();
        let expected =
            "the old table was truncated; a comparison found keys that the new side lacks";
        assert_eq!(both, expected);
    }
}
