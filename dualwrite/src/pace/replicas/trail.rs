//! What follows from the numbers that were sent, and the last one that a replica has.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// The most numbers that are remembered; of a replica that is further behind it is known that it is at
/// least so far.
const REMEMBERED_MAX: usize = 64;

/// How far a replica is behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Behind {
    pub(crate) replica: Arc<str>,
    /// `None` where it gave no answer.
    pub(crate) lag: Option<Duration>,
}

/// The numbers that were sent, one after another, and when each was certainly there for replicas to take.
#[derive(Debug, Default)]
pub(super) struct Trail {
    last: u64,
    /// The newest of them, up to `last`, in nanoseconds.
    sent: VecDeque<u64>,
}

impl Trail {
    /// The number to send.
    pub(super) fn next(&self) -> u64 {
        self.last + 1
    }

    /// It was sent.
    pub(super) fn sent(&mut self, now: u64) {
        self.last += 1;
        self.sent.push_back(now);
        if self.sent.len() > REMEMBERED_MAX {
            self.sent.pop_front();
        }
    }

    /// For how long at `now` the first number that has not arrived has been under way: never more than
    /// the replica is behind, and less by no more than the pause between two numbers.
    pub(super) fn lag(&self, arrived: u64, now: u64) -> Duration {
        let missing = self.last.saturating_sub(arrived);
        let missing = usize::try_from(missing).unwrap_or(usize::MAX).min(self.sent.len());
        let first = self.sent.get(self.sent.len() - missing).copied().unwrap_or(now);
        Duration::from_nanos(now.saturating_sub(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_has_all_is_not_behind() {
        let mut trail = Trail::default();
        assert_eq!((trail.next(), trail.lag(0, 5)), (1, Duration::ZERO));
        trail.sent(5);
        assert_eq!(trail.lag(0, 900), Duration::from_nanos(895));
        assert_eq!([trail.lag(1, 900), trail.lag(7, 900)], [Duration::ZERO; 2]);
    }

    proptest! {
        #[test]
        fn it_is_told_to_within_the_pause_between_two(
            pauses in proptest::collection::vec(1_u64..1_000, 1..200), behind in 0_u64..20_000,
        ) {
            let mut trail = Trail::default();
            let mut times = vec![];
            let mut now = 0;
            for pause in pauses {
                now += pause;
                trail.sent(now);
                times.push(now);
            }
            // A replica that shows the primary as it was then.
            let then = now.saturating_sub(behind);
            let arrived = times.iter().filter(|sent| **sent <= then).count() as u64;
            let told = trail.lag(arrived, now).as_nanos() as u64;
            prop_assert!(told <= behind);
            let remembered = now - times[times.len().saturating_sub(REMEMBERED_MAX)];
            prop_assert!(told + 1_000 > behind.min(remembered), "{told} of {behind}");
        }
    }
}
