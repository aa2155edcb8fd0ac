//! What a migration in exact mode is started with.

use std::time::Duration;

/// How long a write or a read waits for a hand-over that is under way, by default.
pub const HAND_OVER_WAIT: Duration = Duration::from_secs(10);
/// How long a hand-over waits for the outbox to be applied, by default, before the old primary takes writes again.
pub const DRAIN_WAIT: Duration = Duration::from_secs(8);
/// After how long another instance takes a hand-over up that nobody goes on with, by default.
pub const TAKE_OVER_AFTER: Duration = Duration::from_secs(5);
/// How often an instance looks for something to apply or to take up, by default. A write of its own wakes it.
pub const EXACT_POLL: Duration = Duration::from_secs(1);
/// Records of the outbox that are applied in one transaction.
pub const OUTBOX_PAGE: usize = 1_000;
/// Up to how many records of the outbox are counted. From there on each round of the relay logs a warning.
pub const BACKLOG_COUNTED: u64 = 100_000;
/// Records that the outbox may have, by default. From there on writes are recorded no more: the primary goes on alone, as at
/// `off` or `complete`, and what was recorded is thrown away.
pub const OUTBOX_MAX: u64 = 1_000_000;
/// The least that this may be set to.
pub(crate) const OUTBOX_MIN: u64 = 1_000;
/// Records that may be left to be applied while writes wait for a hand-over.
pub(crate) const DRAINED_CLOSED: u64 = 1_000;
/// The outbox is allowed so many records that the copy of what was there before leaves; then the copy waits.
pub(crate) const COPY_BACKLOG: u64 = 2_000;
/// Keys of one page of the copy.
pub(crate) const COPY_PAGE: u32 = 2_000;
/// The limit on a statement of the library's own.
pub(crate) const STATEMENT_LIMIT: Duration = Duration::from_secs(10);
/// What a function of a side may take longer for each further key that it is called for.
pub(crate) const KEY_LIMIT: Duration = Duration::from_millis(50);

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) wait: Duration,
    pub(crate) drain: Duration,
    pub(crate) take_over: Duration,
    pub(crate) poll: Duration,
    pub(crate) outbox_max: u64,
}

impl Options {
    /// How long one instance applies the outbox alone, after its last round.
    pub(crate) fn relay_lease(&self) -> Duration {
        self.poll * 3
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            wait: HAND_OVER_WAIT,
            drain: DRAIN_WAIT,
            take_over: TAKE_OVER_AFTER,
            poll: EXACT_POLL,
            outbox_max: OUTBOX_MAX,
        }
    }
}
