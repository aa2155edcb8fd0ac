//! When a backfill may run, and what a worker does after a batch; how large the next one is says `pace`.

use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::stages::position::Position;
use crate::stages::stage::{Side, Stage};

/// The most keys in a batch, by default. Beyond it throughput hardly grows, and whoever writes beside a
/// batch waits longer.
pub const BATCH_KEYS: u32 = 5_000;
/// The time that a batch shall take, by default: a writer that meets it waits no longer than this.
pub const BATCH_TIME: Duration = Duration::from_millis(50);
/// How often a batch is tried before it is halved, and a single key before it becomes a dead letter.
pub(crate) const ATTEMPTS: u32 = 3;
/// Keys that may fail before the backfill halts, by default.
pub const FAILURES_MAX: u64 = 1_000;

/// What to do after a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Try the same again, after a pause.
    Retry,
    /// Try fewer keys, so that a bad row stands alone in the end.
    Halve,
    /// This one key cannot be copied: remember it and go on.
    DeadLetter,
    /// Give up.
    Stop,
}

/// A backfill may run while every write goes to both sides, whatever the key; a reverse copy moreover
/// only while new answers.
pub(crate) fn check_stage(position: Position, to: Side, name: &str) -> Result<(), Error> {
    let both = position.stage.writes_both() && position.reaches() != Stage::Complete;
    if both && (to == Side::New || position.stage.reads() == Side::New) {
        return Ok(());
    }
    let message = match to {
        Side::New => {
            format!("a backfill cannot run at {position}; it needs dual_write to ramp_down")
        }
        Side::Old => format!("a reverse copy cannot run at {position}; it needs live or ramp_down"),
    };
    Err(Error::new(ErrorKind::Blocked, message).of(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::position::Percent;

    #[test]
    fn it_runs_where_every_key_is_written_to_both_sides() {
        let percent = Percent::new(1).unwrap();
        for stage in Stage::ALL {
            for ramp in [Percent::ZERO, percent, Percent::FULL] {
                let position = Position::start().with_stage(stage).with_ramp(ramp);
                let ramps = ramp > Percent::ZERO;
                let (forth, back) = match stage {
                    Stage::Off | Stage::Complete => (false, false),
                    Stage::DualWrite | Stage::Shadow => (true, false),
                    Stage::Live => (true, true),
                    // The first key that ramps is written to new alone.
                    Stage::RampDown => (!ramps, !ramps),
                };
                for (to, may) in [(Side::New, forth), (Side::Old, back)] {
                    let checked = check_stage(position, to, "notes");
                    assert_eq!(checked.is_ok(), may, "{position} to {to}");
                    if let Err(refused) = checked {
                        assert_eq!(refused.kind(), ErrorKind::Blocked);
                        let text = refused.to_string();
                        assert!(text.contains("`notes`") && text.contains(&position.to_string()));
                        let needs = match to {
                            Side::New => "dual_write to ramp_down",
                            Side::Old => "live or ramp_down",
                        };
                        assert!(text.contains(needs), "{text}");
                    }
                }
            }
        }
    }
}
