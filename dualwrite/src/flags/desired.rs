//! [`DesiredState`]: what a flag says about a migration.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};
use crate::stages::position::Percent;
use crate::stages::stage::Stage;

/// What a flag says: where a migration shall be, or that it shall go back. As text: a stage (`shadow`), a
/// stage with its ramp (`shadow 5%`), or `kill`.
///
/// ```
/// use dualwrite::{flags::DesiredState, Percent, Stage};
/// let wanted: DesiredState = "shadow 5%".parse()?;
/// assert_eq!(wanted, DesiredState::Position { stage: Stage::Shadow, ramp: Percent::new(5)? });
/// assert_eq!(wanted.to_string(), "shadow 5 %");
/// assert_eq!("kill".parse::<DesiredState>()?, DesiredState::Kill);
/// # Ok::<(), dualwrite::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DesiredState {
    /// In this stage, with this share of the keys as in the next.
    Position {
        /// The stage.
        stage: Stage,
        /// The ramp.
        ramp: Percent,
    },
    /// Rolled back as far as loses nothing, and no way forward.
    Kill,
}

impl DesiredState {
    /// In this stage, with no ramp.
    #[must_use]
    pub const fn stage(stage: Stage) -> Self {
        Self::Position { stage, ramp: Percent::ZERO }
    }

    /// From the fields of a structured flag: `kill`, or `stage` and perhaps `ramp`.
    #[cfg(any(feature = "toml", feature = "open-feature"))]
    pub(crate) fn of_fields(
        stage: Option<&str>,
        ramp: Option<&str>,
        kill: Option<bool>,
    ) -> Result<Self, Error> {
        if kill == Some(true) {
            return Ok(Self::Kill);
        }
        let Some(stage) = stage else {
            let message = "a flag says `stage`, perhaps with `ramp`, or `kill = true`";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        };
        position(stage.parse()?, ramp.map(str::parse).transpose()?.unwrap_or_default())
    }
}

fn position(stage: Stage, ramp: Percent) -> Result<DesiredState, Error> {
    if stage == Stage::Complete && ramp > Percent::ZERO {
        let message = "complete has no stage to ramp toward";
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    Ok(DesiredState::Position { stage, ramp })
}

impl FromStr for DesiredState {
    type Err = Error;

    /// # Errors
    /// `InvalidInput` that says what can be written.
    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text == "kill" {
            return Ok(Self::Kill);
        }
        match text.split_once(|c: char| c.is_whitespace() || c == ',') {
            Some((stage, ramp)) => position(stage.parse()?, ramp.trim_start_matches(',').parse()?),
            None => Ok(Self::stage(text.parse()?)),
        }
    }
}

impl fmt::Display for DesiredState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => f.write_str("kill"),
            Self::Position { stage, ramp } if *ramp > Percent::ZERO => write!(f, "{stage} {ramp}"),
            Self::Position { stage, .. } => stage.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_again() {
        for stage in Stage::ALL {
            for points in [0, 25, 500, 10_000] {
                let ramp = Percent::from_basis_points(points).unwrap();
                let wanted = DesiredState::Position { stage, ramp };
                let read = wanted.to_string().parse::<DesiredState>();
                match stage == Stage::Complete && points > 0 {
                    true => assert_eq!(read.unwrap_err().kind(), ErrorKind::InvalidInput),
                    false => assert_eq!(read.unwrap(), wanted),
                }
            }
        }
        assert_eq!(" shadow,  5 % ".parse::<DesiredState>().unwrap().to_string(), "shadow 5 %");
        for text in ["", "on", "true", "shadow x", "5%", "killed"] {
            assert_eq!(
                text.parse::<DesiredState>().unwrap_err().kind(),
                ErrorKind::InvalidInput,
                "{text}"
            );
        }
    }
}
