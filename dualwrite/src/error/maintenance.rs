//! Maintenance: calls that an operator has closed for a planned downtime, and why.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::moment;

/// Which calls of a migration are closed.
///
/// ```
/// assert_eq!(dualwrite::Closed::Writes.to_string(), "writes");
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Closed {
    /// None: all are open.
    #[default]
    Nothing,
    /// Writes: no fenced transaction begins.
    Writes,
    /// Reads, too.
    Calls,
}

impl Closed {
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Nothing),
            1 => Some(Self::Writes),
            2 => Some(Self::Calls),
            _ => None,
        }
    }

    /// Whether writes are refused.
    #[must_use]
    pub const fn is_closed(self) -> bool {
        !matches!(self, Self::Nothing)
    }

    /// Whether reads are refused.
    #[must_use]
    pub const fn closes_reads(self) -> bool {
        matches!(self, Self::Calls)
    }

    /// The name in `snake_case`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Writes => "writes",
            Self::Calls => "calls",
        }
    }

    /// In a sentence: what is closed.
    pub(crate) const fn phrase(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Writes => "writes",
            Self::Calls => "all calls",
        }
    }
}

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why calls of a migration are closed, and until when; see [`Error::maintenance`](crate::Error::maintenance).
///
/// ```
/// # fn answer(error: &dualwrite::Error) -> Option<String> {
/// let maintenance = error.maintenance()?;
/// Some(format!("closed for maintenance until {}: {}", maintenance.ends(), maintenance.reason))
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Maintenance {
    /// What is closed.
    pub closed: Closed,
    /// Who closed it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When the operator expects to open it again, by the database's clock. Nothing opens
    /// by itself then.
    #[serde(rename = "until_us", with = "crate::moment::as_micros")]
    pub until: SystemTime,
}

impl Maintenance {
    /// The expected end, in UTC: `2026-11-30T03:00:00Z`.
    #[must_use]
    pub fn ends(&self) -> String {
        moment::text(self.until)
    }
}

impl std::fmt::Display for Maintenance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { closed, actor, reason, .. } = self;
        let what = closed.phrase();
        write!(f, "{what} are closed by {actor}, expected until {}: {reason}", self.ends())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_back() {
        for closed in [Closed::Nothing, Closed::Writes, Closed::Calls] {
            assert_eq!(Closed::from_code(closed.code()), Some(closed));
        }
        assert_eq!(Closed::from_code(3), None);
    }

    #[test]
    fn it_says_what_is_closed_by_whom_until_when_and_why() {
        let (actor, reason) = ("ada".to_owned(), "new disks".to_owned());
        let closed = Closed::Writes;
        let maintenance = Maintenance {
            closed,
            actor,
            reason,
            until: moment::from_micros(1_800_000_000_000_000),
        };
        let said = "writes are closed by ada, expected until 2027-01-15T08:00:00Z: new disks";
        assert_eq!(maintenance.to_string(), said);
    }
}
