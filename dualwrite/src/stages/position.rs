//! Where a migration stands: stage, ramp and epoch, and the counters that belong to it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Closed, Error, ErrorKind};
use crate::stages::stage::Stage;

/// A share of keys, kept in basis points (1 % = 100).
///
/// ```
/// use dualwrite::Percent;
/// assert_eq!(Percent::new(5)?.basis_points(), 500);
/// assert_eq!(Percent::from_basis_points(25)?.to_string(), "0.25 %");
/// assert!(Percent::new(101).is_err());
/// # Ok::<(), dualwrite::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Percent(u16);

impl Percent {
    /// One in a hundred.
    pub(crate) const ONE: Self = Self(100);
    /// No key.
    pub const ZERO: Self = Self(0);
    /// Every key.
    pub const FULL: Self = Self(Self::SCALE);
    /// Basis points in the whole: 10,000.
    pub const SCALE: u16 = 10_000;

    /// A whole number of percent.
    ///
    /// # Errors
    /// `InvalidInput` above 100.
    pub fn new(percent: u16) -> Result<Self, Error> {
        if percent > 100 {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("{percent} percent is out of range; a ramp lies between 0 and 100"),
            ));
        }
        Ok(Self(percent * 100))
    }

    /// A number of basis points (hundredths of a percent).
    ///
    /// # Errors
    /// `InvalidInput` above 10,000.
    pub fn from_basis_points(basis_points: u16) -> Result<Self, Error> {
        Self::checked(basis_points).ok_or_else(|| {
            let message = format!(
                "{basis_points} basis points are out of range; a ramp lies between 0 and 10000"
            );
            Error::new(ErrorKind::InvalidInput, message)
        })
    }

    /// The same for calls, which no error is made for.
    #[inline]
    pub(crate) fn checked(basis_points: u16) -> Option<Self> {
        (basis_points <= Self::SCALE).then_some(Self(basis_points))
    }

    /// The share in basis points, 0 to 10,000.
    #[must_use]
    pub const fn basis_points(self) -> u16 {
        self.0
    }

    const fn from_bits(bits: u64) -> Self {
        let value = (bits & 0x3fff) as u16;
        Self(if value > Self::SCALE { Self::SCALE } else { value })
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole} %"),
            (whole, part) if part % 10 == 0 => write!(f, "{whole}.{} %", part / 10),
            (whole, part) => write!(f, "{whole}.{part:02} %"),
        }
    }
}

impl FromStr for Percent {
    type Err = Error;

    /// Reads `5`, `5%`, `0.25 %`: percent, with two digits after the point at most.
    ///
    /// ```
    /// assert_eq!("0.25 %".parse::<dualwrite::Percent>()?.basis_points(), 25);
    /// # Ok::<(), dualwrite::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` for what is no such number, or above 100.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = || {
            let message =
                format!("`{text}` is no share of keys; write `5 %` or `0.25 %`, at most 100 %");
            Error::new(ErrorKind::InvalidInput, message)
        };
        let digits = text.trim().trim_end_matches('%').trim_end();
        let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
        let plain = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if !plain(whole) || !plain(part) || part.len() > 2 {
            return Err(refused());
        }
        let whole: u16 = whole.parse().map_err(|_| refused())?;
        let part: u16 = format!("{part:0<2}").parse().map_err(|_| refused())?;
        let points = whole.checked_mul(100).and_then(|points| points.checked_add(part));
        points.and_then(|points| Self::from_basis_points(points).ok()).ok_or_else(refused)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_basis_points(u16::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Counts the changes of a position. Every change compares and sets it.
///
/// ```
/// assert!(dualwrite::Epoch(2) > dualwrite::Epoch(1));
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts how often new may have gone stale: a step back to `Off` raises it. A backfill or a
/// verification counts only for the generation in which it ran.
///
/// ```
/// assert_eq!(dualwrite::Generation::FIRST, dualwrite::Generation(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation of a new migration.
    pub const FIRST: Self = Self(1);
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// All that routing needs to know: the stage, the share of keys that already behave as the next
/// stage, and the epoch of this state.
///
/// ```
/// use dualwrite::{Percent, Position, Stage};
/// let position = Position::start().with_stage(Stage::Shadow).with_ramp(Percent::new(5)?);
/// assert_eq!(position.to_string(), "shadow, 5 % as live, epoch 1");
/// # Ok::<(), dualwrite::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The stage of keys that the ramp has not reached.
    pub stage: Stage,
    /// The share of keys that behave as the next stage.
    pub ramp: Percent,
    /// The number of changes so far.
    pub epoch: Epoch,
    /// Which calls are closed for maintenance.
    #[serde(default)]
    pub closed: Closed,
}

impl Position {
    /// `Off` with no ramp, at epoch 1: where every migration starts.
    #[must_use]
    pub const fn start() -> Self {
        Self { stage: Stage::Off, ramp: Percent::ZERO, epoch: Epoch(1), closed: Closed::Nothing }
    }

    /// The same position in another stage.
    #[must_use]
    pub const fn with_stage(self, stage: Stage) -> Self {
        Self { stage, ..self }
    }

    /// The same position with another ramp.
    #[must_use]
    pub const fn with_ramp(self, ramp: Percent) -> Self {
        Self { ramp, ..self }
    }

    /// The furthest stage that any key is in.
    #[must_use]
    pub fn reaches(self) -> Stage {
        match self.stage.next() {
            Some(next) if self.ramp > Percent::ZERO => next,
            _ => self.stage,
        }
    }

    /// Stage in the lowest 3 bits, ramp in 14, what is closed in 2, epoch in 45: one atomic word for the hot path.
    pub(crate) const fn to_bits(self) -> u64 {
        (self.epoch.0 << 19)
            | ((self.closed.code() as u64) << 17)
            | ((self.ramp.0 as u64) << 3)
            | self.stage as u64
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        let stage = match Stage::from_code((bits & 7) as u8) {
            Some(stage) => stage,
            None => Stage::Off, // never packed: `to_bits` writes 0 to 5
        };
        let closed = match Closed::from_code((bits >> 17 & 3) as u8) {
            Some(closed) => closed,
            None => Closed::Calls, // never packed
        };
        Self { stage, ramp: Percent::from_bits(bits >> 3), epoch: Epoch(bits >> 19), closed }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.stage)?;
        if let (Some(next), true) = (self.stage.next(), self.ramp > Percent::ZERO) {
            write!(f, ", {} as {next}", self.ramp)?;
        }
        write!(f, ", epoch {}", self.epoch)?;
        if self.closed.is_closed() {
            write!(f, ", {} closed", self.closed.phrase())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_keeps_every_position() {
        for stage in Stage::ALL {
            for basis_points in [0, 1, 99, 5_000, 9_999, 10_000] {
                for epoch in [0, 1, 77, (1 << 45) - 1] {
                    for closed in [Closed::Nothing, Closed::Writes, Closed::Calls] {
                        let ramp = Percent::from_basis_points(basis_points).unwrap();
                        let position = Position { stage, ramp, epoch: Epoch(epoch), closed };
                        assert_eq!(Position::from_bits(position.to_bits()), position);
                    }
                }
            }
        }
    }

    #[test]
    fn a_share_is_read_as_it_is_shown() {
        for points in [0, 1, 10, 25, 100, 550, 9_999, 10_000] {
            let share = Percent::from_basis_points(points).unwrap();
            assert_eq!(share.to_string().parse::<Percent>().unwrap(), share);
        }
        assert_eq!("5".parse::<Percent>().unwrap(), Percent::new(5).unwrap());
        for text in ["", "%", "-1", "1.234", "101", "100.01", "x", "1.", ".5", "70000"] {
            assert_eq!(
                text.parse::<Percent>().unwrap_err().kind(),
                ErrorKind::InvalidInput,
                "{text}"
            );
        }
    }

    #[test]
    fn a_ramp_out_of_range_is_refused() {
        assert_eq!(Percent::new(100).unwrap(), Percent::FULL);
        assert_eq!(Percent::new(101).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(Percent::from_basis_points(10_001).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(serde_json::from_str::<Percent>("10001").is_err());
    }

    #[test]
    fn the_word_has_each_part_in_its_place() {
        let ramp = Percent::from_basis_points(1).unwrap();
        let position = Position { epoch: Epoch(1), ..Position::start().with_ramp(ramp) };
        assert_eq!(position.to_bits(), (1 << 19) | (1 << 3));
        let closed = Position { closed: Closed::Calls, stage: Stage::Complete, ..position };
        assert_eq!(closed.to_bits(), (1 << 19) | (2 << 17) | (1 << 3) | 5);
        assert_eq!(Percent::from_bits(0x3fff), Percent::FULL, "never packed, and no more than all");
    }

    #[test]
    fn a_position_is_shown_with_its_ramp_and_what_is_closed() {
        let shown = |position: Position| position.to_string();
        let live = Position::start().with_stage(Stage::Live);
        assert_eq!(shown(live), "live, epoch 1");
        let ramp = Percent::from_basis_points(25).unwrap();
        assert_eq!(shown(live.with_ramp(ramp)), "live, 0.25 % as ramp_down, epoch 1");
        let closed = Position { closed: Closed::Writes, epoch: Epoch(7), ..live };
        assert_eq!(shown(closed), "live, epoch 7, writes closed");
        assert_eq!(shown(Position::start().with_stage(Stage::Complete)), "complete, epoch 1");
        assert_eq!((Epoch(7).to_string(), Generation(8).to_string()), ("7".into(), "8".into()));
    }

    #[test]
    fn a_share_is_shown_with_as_many_digits_as_it_needs() {
        for (points, shown) in [
            (0, "0 %"),
            (5, "0.05 %"),
            (10, "0.1 %"),
            (125, "1.25 %"),
            (550, "5.5 %"),
            (10_000, "100 %"),
        ] {
            assert_eq!(Percent::from_basis_points(points).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn a_ramp_takes_the_furthest_keys_to_the_next_stage() {
        let at = |stage, points| {
            let ramp = Percent::from_basis_points(points).unwrap();
            Position::start().with_stage(stage).with_ramp(ramp).reaches()
        };
        assert_eq!((at(Stage::Off, 0), at(Stage::Off, 1)), (Stage::Off, Stage::DualWrite));
        assert_eq!((at(Stage::Live, 0), at(Stage::Live, 10_000)), (Stage::Live, Stage::RampDown));
        assert_eq!(at(Stage::Complete, 0), Stage::Complete);
    }
}
