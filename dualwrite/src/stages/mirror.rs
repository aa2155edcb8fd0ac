//! What an instance says of its mirror writes that failed, to the others and to whoever looks.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::stages::stage::Side;

/// A failure of a mirror write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MirrorError {
    /// The trait and the method: `Customers::save`.
    pub method: String,
    /// The side that failed.
    pub side: Side,
    /// Code, constraint, table and column, where the database named them; never a row value.
    pub cause: String,
}

/// What an instance tells the others of its mirror writes of the last five minutes, where some failed. It is kept in the
/// control tables with its heartbeat, so the share is rounded down and the error is at most replaced every ten seconds.
///
/// ```
/// fn show(instance: &dualwrite::operator::InstanceReport) -> Option<String> {
///     let note = instance.mirror.as_ref()?;
///     Some(format!("{}: {note}", instance.id))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MirrorNote {
    /// At least this share of its mirror writes failed, in percent: 0 (some), 1, 5, 10, 25, 50, 75, 90 or 100.
    pub percent_min: u8,
    /// Code, constraint, table and column of a newer failure, with its method and side; never a row value.
    pub last_error: Option<MirrorError>,
}

impl fmt::Display for MirrorNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.percent_min {
            0 => f.write_str("some")?,
            100 => f.write_str("all")?,
            percent => write!(f, "at least {percent} %")?,
        }
        f.write_str(" of its mirror writes of the last five minutes failed")?;
        self.last_error.as_ref().map_or(Ok(()), |last| {
            write!(f, ", a newer one {} on the {} side: {}", last.method, last.side, last.cause)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_says_how_many_failed_and_why() {
        let shown = |percent_min, last_error| MirrorNote { percent_min, last_error }.to_string();
        assert_eq!(
            [0, 25, 100].map(|percent| shown(percent, None)),
            ["some", "at least 25 %", "all"].map(|share| format!(
                "{share} of its mirror writes of the last five minutes failed"
            ))
        );
        let last = MirrorError {
            method: "Notes::save".to_owned(),
            side: Side::New,
            cause: "SQLSTATE 23502".to_owned(),
        };
        let shown = shown(25, Some(last));
        assert!(
            shown.ends_with(", a newer one Notes::save on the new side: SQLSTATE 23502"),
            "{shown}"
        );
    }
}
