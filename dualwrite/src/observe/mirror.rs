//! What is known of mirror writes that failed: the last cause, and how often it is logged.

use std::error::Error as StdError;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::error::known_reason;
use crate::stages::mirror::{MirrorError, MirrorNote};

/// How often a failed mirror write is logged at the most, per migration. The failures between two lines are
/// counted in the next one.
pub const MIRROR_WARNING_PAUSE: Duration = Duration::from_secs(10);

/// The time that reports of mirror writes look back.
pub(crate) const MIRROR_WINDOW: Duration = Duration::from_secs(5 * 60);
/// From how many failures of late, and above which share, no key goes live.
const FAILURES_MIN: u64 = 5;
const FAILURE_SHARE_MAX: f64 = 0.05;

/// Why a mirror write failed, without row values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The error says nothing that is known to be free of values.
    Unknown,
    Panic,
    Timeout(Duration),
    Said(String),
}

impl Cause {
    pub(crate) fn of_error(error: &(dyn StdError + 'static)) -> Self {
        known_reason(error).map_or(Self::Unknown, Self::Said)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("an error that is not of a database"),
            Self::Panic => f.write_str("a panic"),
            Self::Timeout(limit) => write!(f, "given up after {limit:?}"),
            Self::Said(said) => f.write_str(said),
        }
    }
}

/// Mirror writes of the last five minutes in this process, and the newest failure since it started.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MirrorReport {
    /// Mirror writes that succeeded.
    pub written: u64,
    /// Mirror writes that failed while the caller's write went on; their keys are copied again.
    pub failed: u64,
    /// Share of the mirror writes that failed, 0 to 1; `None` without a mirror write.
    pub failure_share: Option<f64>,
    /// The newest failure.
    pub last_error: Option<MirrorError>,
}

/// The shares that a note tells apart, in percent.
const SHARES: [u8; 8] = [100, 90, 75, 50, 25, 10, 5, 1];

impl MirrorReport {
    /// What others are told; `None` where none failed.
    pub(crate) fn note(&self, last_error: Option<MirrorError>) -> Option<MirrorNote> {
        let all = self.written + self.failed;
        let reached =
            |percent: &u8| u128::from(self.failed) * 100 >= u128::from(all) * u128::from(*percent);
        let percent_min = SHARES.into_iter().find(reached).unwrap_or(0);
        (self.failed > 0).then_some(MirrorNote { percent_min, last_error })
    }

    pub(crate) fn new(written: u64, failed: u64, last_error: Option<MirrorError>) -> Self {
        let all = written + failed;
        let failure_share = (all > 0).then(|| failed as f64 / all as f64);
        Self { written, failed, failure_share, last_error }
    }

    /// What is wrong with the mirror, where too many writes to it failed.
    pub(crate) fn failing(&self) -> Option<String> {
        let is_failing = self.failed >= FAILURES_MIN
            && self.failure_share.is_some_and(|share| share > FAILURE_SHARE_MAX);
        is_failing.then(|| {
            let all = self.written + self.failed;
            let cause = self.last_error.as_ref().map_or("no cause is known", |last| &last.cause);
            format!(
                "{} of {all} mirror writes of the last five minutes failed in this process ({cause}); fix the \
                 new side: at live each of these writes would fail for its caller",
                self.failed
            )
        })
    }
}

/// What is known of mirror writes that failed.
#[derive(Debug, Default)]
pub(crate) struct MirrorFailures(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    last: Option<MirrorError>,
    /// The one that was logged last.
    shown: Option<MirrorError>,
    /// When a failure was logged last.
    logged: Option<u64>,
    /// Failures since then.
    silent: u64,
}

impl MirrorFailures {
    /// Notes a failure. Answers with the number of failures to log, this one included; `None` where one was
    /// logged a moment ago.
    pub(crate) fn note(&self, error: MirrorError, now: u64) -> Option<u64> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.last = Some(error.clone());
        known.silent += 1;
        let pause = MIRROR_WARNING_PAUSE.as_nanos();
        if known.logged.is_some_and(|then| u128::from(now.saturating_sub(then)) < pause) {
            return None;
        }
        known.logged = Some(now);
        known.shown = Some(error);
        Some(std::mem::take(&mut known.silent))
    }

    /// The failure that was logged last: it changes seldom.
    pub(crate) fn shown(&self) -> Option<MirrorError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).shown.clone()
    }

    /// The newest failure.
    pub(crate) fn last(&self) -> Option<MirrorError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::stage::Side;

    #[test]
    fn failures_are_logged_once_in_a_while_and_none_is_left_out_of_the_count() {
        let failures = MirrorFailures::default();
        let error = |cause: &str| MirrorError {
            method: "Notes::save".to_owned(),
            side: Side::New,
            cause: cause.to_owned(),
        };
        let pause = MIRROR_WARNING_PAUSE.as_nanos() as u64;
        assert_eq!(failures.note(error("first"), 5), Some(1));
        for second in 0..700 {
            assert_eq!(failures.note(error("again"), 6 + second), None);
        }
        assert_eq!(failures.note(error("last"), 5 + pause), Some(701));
        assert_eq!(failures.last().map(|last| last.cause), Some("last".to_owned()));
    }

    #[test]
    fn a_mirror_fails_when_it_fails_often_not_when_it_failed_once() {
        let failing = |written, failed| MirrorReport::new(written, failed, None).failing();
        assert!(failing(0, 0).is_none() && failing(0, 4).is_none() && failing(995, 5).is_none());
        let reason = failing(5, 55).unwrap();
        assert!(reason.starts_with("55 of 60 mirror writes"), "{reason}");
    }

    #[test]
    fn a_note_tells_shares_apart_and_is_silent_without_a_failure() {
        let note = |written, failed| MirrorReport::new(written, failed, None).note(None);
        let percent = |written, failed| note(written, failed).map(|note| note.percent_min);
        assert_eq!((percent(0, 0), percent(9, 0)), (None, None));
        let found =
            [percent(999, 1), percent(99, 1), percent(10, 9), percent(1, 99), percent(0, 3)];
        assert_eq!(found, [0, 1, 25, 90, 100].map(Some));
        assert_eq!(
            note(0, 3).unwrap().to_string(),
            "all of its mirror writes of the last five minutes failed"
        );
    }

    #[test]
    fn a_cause_of_another_kind_shows_no_text() {
        let error = std::io::Error::other("the value 4711");
        assert_eq!(Cause::of_error(&error), Cause::Unknown);
        assert!(!Cause::of_error(&error).to_string().contains("4711"));
    }
}
