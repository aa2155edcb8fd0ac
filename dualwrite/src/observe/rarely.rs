//! A warning whose cause may come with every call: it is logged at most once in a while, with the number of times.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often different answers of a dual write are logged at the most, per migration. The writes between two lines are
/// counted in the next one.
pub const DIFFERENCE_WARNING_PAUSE: Duration = Duration::from_secs(10);

/// When it was logged last, and how often it came up since.
#[derive(Debug)]
pub(crate) struct Rarely {
    pause: Duration,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    logged: Option<u64>,
    silent: u64,
}

impl Rarely {
    pub(crate) fn new(pause: Duration) -> Self {
        Self { pause, known: Mutex::default() }
    }

    /// Notes that it came up. Answers with the number of times to log, this one included; `None` where it was logged a
    /// moment ago.
    pub(crate) fn note(&self, now: u64) -> Option<u64> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.silent += 1;
        let since = known.logged.map(|then| u128::from(now.saturating_sub(then)));
        if since.is_some_and(|since| since < self.pause.as_nanos()) {
            return None;
        }
        known.logged = Some(now);
        Some(std::mem::take(&mut known.silent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_logged_is_counted_in_the_next_line() {
        let rarely = Rarely::new(Duration::from_secs(10));
        let second = 1_000_000_000;
        assert_eq!(rarely.note(0), Some(1));
        assert_eq!((1..10).filter_map(|at| rarely.note(at * second)).count(), 0);
        assert_eq!(rarely.note(10 * second - 1), None);
        assert_eq!(rarely.note(10 * second), Some(11));
        assert_eq!(rarely.note(40 * second), Some(1));
    }
}
