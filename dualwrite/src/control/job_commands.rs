//! Commands to jobs that run, in whichever process.

use crate::control::progress::BackfillProgress;

/// What an operator tells a backfill that runs, in whichever process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BackfillCommand {
    Pause,
    /// Also what was cancelled.
    Resume,
    /// Only what was paused.
    GoOn,
    Cancel,
    /// Keys a second.
    Rate(Option<u64>),
}

impl BackfillCommand {
    /// Whether a backfill is as this command wants it.
    pub(crate) fn holds(self, found: &BackfillProgress) -> bool {
        !found.complete
            && match self {
                Self::Pause => found.paused,
                Self::Resume | Self::GoOn => !found.paused && !found.cancelled,
                Self::Cancel => found.cancelled,
                Self::Rate(_) => false,
            }
    }
}

/// The last command for a verification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum VerifyCommand {
    #[default]
    GoOn,
    Pause,
    /// It does not run until `GoOn`.
    Cancel,
}

impl VerifyCommand {
    pub(crate) fn code(self) -> i64 {
        self as i64
    }

    pub(crate) fn of(code: i64) -> Self {
        let all = [Self::Pause, Self::Cancel];
        all.into_iter().find(|command| command.code() == code).unwrap_or_default()
    }
}
