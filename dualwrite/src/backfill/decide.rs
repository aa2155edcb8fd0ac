//! How a worker reacts to success and failure of a batch.

/// The most keys in a batch, by default.
pub const BATCH_KEYS: u32 = 1_000;
/// How often a batch is tried before it is halved, and a single key before it is buried.
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
    Bury,
    /// Give up.
    Stop,
}

/// The size of batches, and the memory of failures. Grows by doubling, shrinks by halving.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    limit: u32,
    most: u32,
    attempts: u32,
}

impl Pace {
    pub(crate) fn new(most: u32) -> Self {
        let most = most.max(1);
        Self { limit: most, most, attempts: 0 }
    }

    /// How many keys the next batch may have.
    pub(crate) fn limit(self) -> u32 {
        self.limit
    }

    pub(crate) fn succeeded(&mut self) {
        self.attempts = 0;
        self.limit = self.limit.saturating_mul(2).min(self.most);
    }

    /// `blame`: the copy function itself failed, not the database around it.
    pub(crate) fn failed(&mut self, blame: bool) -> Next {
        self.attempts += 1;
        if self.attempts < ATTEMPTS {
            return Next::Retry;
        }
        self.attempts = 0;
        match (blame, self.limit) {
            (false, _) => Next::Stop,
            (true, 1) => Next::Bury,
            (true, _) => {
                self.limit /= 2;
                // A bad row in a thousand is found in ten steps; retrying each of them helps nobody.
                self.attempts = ATTEMPTS - 1;
                Next::Halve
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_row_ends_up_alone_and_the_pace_comes_back() {
        let mut pace = Pace::new(8);
        let steps: Vec<Next> = (0..6).map(|_| pace.failed(true)).collect();
        use Next::{Bury, Halve, Retry};
        assert_eq!(steps, [Retry, Retry, Halve, Halve, Halve, Bury]);
        assert_eq!(pace.limit(), 1);
        for expected in [2, 4, 8, 8] {
            pace.succeeded();
            assert_eq!(pace.limit(), expected);
        }
    }

    #[test]
    fn a_sick_database_stops_the_worker_and_blames_no_row() {
        let mut pace = Pace::new(8);
        assert_eq!(
            [pace.failed(false), pace.failed(false), pace.failed(false)],
            [Next::Retry, Next::Retry, Next::Stop]
        );
        assert_eq!(pace.limit(), 8);
    }
}
