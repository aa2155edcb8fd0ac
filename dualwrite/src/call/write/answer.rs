//! What one side of a write answered, or how it ended without an answer, and what can be said of that.

use std::any::Any;
use std::error::Error as StdError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::observe::mirror::Cause;
use crate::stages::stage::Side;

/// What one side answered, or how it ended without an answer.
pub struct Answer<T, E>(pub(super) Ended<T, E>);

pub(super) enum Ended<T, E> {
    Answered(Result<T, E>),
    Panicked(Box<dyn Any + Send>),
    TimedOut(Duration),
    /// A test makes it fail.
    #[cfg(feature = "testing")]
    Refused(Error),
}

impl<T, E> Answer<T, E> {
    pub(super) fn is_ok(&self) -> bool {
        matches!(self.0, Ended::Answered(Ok(_)))
    }

    /// A statement of it may still be under way.
    pub(super) fn is_given_up(&self) -> bool {
        matches!(self.0, Ended::TimedOut(_))
    }
}

/// Why the mirror failed, without values.
pub(super) fn mirror_cause<T, E>(
    answer: &Answer<T, E>,
    cause: impl for<'e> Fn(&'e E) -> Option<&'e (dyn StdError + 'static)>,
) -> Cause {
    match &answer.0 {
        Ended::Answered(Err(error)) => {
            let found = catch_unwind(AssertUnwindSafe(|| cause(error).map(Cause::of_error)));
            found.ok().flatten().unwrap_or(Cause::Unknown)
        }
        Ended::Answered(Ok(_)) => Cause::Unknown,
        Ended::Panicked(_) => Cause::Panic,
        Ended::TimedOut(limit) => Cause::Timeout(*limit),
        #[cfg(feature = "testing")]
        Ended::Refused(error) => Cause::Said(error.to_string()),
    }
}

/// The error of a side that ended without an answer.
#[cold]
pub(super) fn unanswered(method: &str, side: Side, limit: Option<Duration>) -> Error {
    let (kind, how) = match limit {
        Some(limit) => {
            (ErrorKind::Timeout, format!("did not end within {limit:?} and was given up"))
        }
        None => (ErrorKind::MirrorFailed, "panicked".to_owned()),
    };
    Error::new(kind, format!("the write `{method}` to the {side} side {how}"))
}

#[cold]
pub(super) fn unequal_answers(method: &str) -> Error {
    let message = format!(
        "the old and the new side answered the write `{method}` differently, so nothing of it is kept; make \
         ids and times once, before the write, and pass them to both sides, or choose another \
         `on_difference`"
    );
    Error::new(ErrorKind::MirrorFailed, message)
}
