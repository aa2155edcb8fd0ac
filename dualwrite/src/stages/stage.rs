//! The six stages of a migration and the moves between them.
//!
//! A stage says which side answers and which sides are written. Only neighbours can be reached in one
//! move, so at most two adjacent stages are in force at any time, across keys and across instances.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// One of the two stores (columns, tables, databases) of a migration.
///
/// ```
/// use dualwrite::Side;
/// assert_eq!(Side::Old.other(), Side::New);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Where the data was before the migration.
    Old,
    /// Where the data shall be.
    New,
}

impl Side {
    /// The opposite side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Old => Self::New,
            Self::New => Self::Old,
        }
    }

    /// `"old"` or `"new"`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a migration has come. The order of the variants is the order of the migration.
///
/// | stage | write | read returns | also read and compared |
/// |---|---|---|---|
/// | `Off` | old | old | – |
/// | `DualWrite` | old + new | old | – |
/// | `Shadow` | old + new | old | new |
/// | `Live` | old + new | new | old |
/// | `RampDown` | old + new | new | – |
/// | `Complete` | new | new | – |
///
/// ```
/// use dualwrite::Stage;
/// assert_eq!(Stage::Shadow.next(), Some(Stage::Live));
/// assert_eq!("ramp_down".parse::<Stage>()?, Stage::RampDown);
/// # Ok::<(), dualwrite::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Stage {
    /// Only old is read and written.
    Off = 0,
    /// Both are written, old is read.
    DualWrite = 1,
    /// Both are written, old is read, new is read beside it and compared.
    Shadow = 2,
    /// Both are written, new is read, old is read beside it and compared.
    Live = 3,
    /// Both are written, new is read.
    RampDown = 4,
    /// Only new is read and written.
    Complete = 5,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Self; 6] =
        [Self::Off, Self::DualWrite, Self::Shadow, Self::Live, Self::RampDown, Self::Complete];

    /// The stage after this one; `None` at `Complete`.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        Self::from_code(self as u8 + 1)
    }

    /// The stage before this one; `None` at `Off`.
    #[must_use]
    pub const fn previous(self) -> Option<Self> {
        match (self as u8).checked_sub(1) {
            Some(code) => Self::from_code(code),
            None => None,
        }
    }

    /// Whether one move leads from here to `to`.
    #[must_use]
    pub const fn is_adjacent(self, to: Self) -> bool {
        (self as u8).abs_diff(to as u8) == 1
    }

    /// The side whose answer a read returns in this stage.
    #[must_use]
    pub const fn reads(self) -> Side {
        match self {
            Self::Off | Self::DualWrite | Self::Shadow => Side::Old,
            Self::Live | Self::RampDown | Self::Complete => Side::New,
        }
    }

    /// Whether writes go to both sides in this stage.
    #[must_use]
    pub const fn writes_both(self) -> bool {
        !matches!(self, Self::Off | Self::Complete)
    }

    /// Whether writes go to this side in this stage.
    #[must_use]
    pub const fn writes(self, side: Side) -> bool {
        !matches!((self, side), (Self::Off, Side::New) | (Self::Complete, Side::Old))
    }

    /// Whether reads are compared with the other side in this stage.
    #[must_use]
    pub const fn compares(self) -> bool {
        matches!(self, Self::Shadow | Self::Live)
    }

    /// The stage with this number (0 is `Off`, 5 is `Complete`), as the control tables store it.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Off,
            1 => Self::DualWrite,
            2 => Self::Shadow,
            3 => Self::Live,
            4 => Self::RampDown,
            5 => Self::Complete,
            _ => return None,
        })
    }

    /// The number of this stage, as the control tables store it.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The name in `snake_case`, as in flags, labels and configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::DualWrite => "dual_write",
            Self::Shadow => "shadow",
            Self::Live => "live",
            Self::RampDown => "ramp_down",
            Self::Complete => "complete",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Stage {
    type Err = Error;

    /// # Errors
    /// `InvalidInput` that lists the stages.
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == text).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "`{text}` is no stage; write one of off, dual_write, shadow, live, ramp_down, complete"
                ),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_form_a_line() {
        for (index, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage.code() as usize, index);
            assert_eq!(Stage::from_code(stage.code()), Some(stage));
            assert_eq!(stage.as_str().parse::<Stage>().unwrap(), stage);
            assert_eq!(stage.to_string(), stage.as_str());
            assert_eq!(stage.next(), Stage::ALL.get(index + 1).copied());
            for other in Stage::ALL {
                let neighbours = stage.next() == Some(other) || stage.previous() == Some(other);
                assert_eq!(stage.is_adjacent(other), neighbours);
            }
        }
        assert_eq!(Stage::from_code(6), None);
        assert_eq!([Side::Old, Side::New].map(|side| side.to_string()), ["old", "new"]);
    }

    #[test]
    fn an_unknown_stage_is_refused_with_the_list() {
        let error = "alive".parse::<Stage>().unwrap_err();
        assert!(error.to_string().contains("ramp_down"), "{error}");
    }
}
