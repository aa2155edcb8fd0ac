//! What a migration in converging mode is registered with.

use std::time::Duration;

use crate::converging::stores::TwoStores;

/// Writes of one process that may be in flight in converging mode, by default, clearing of their marks included.
pub const IN_FLIGHT_MAX: usize = 256;
/// How long a write waits for its turn where so many are in flight, by default.
pub const QUEUE_WAIT: Duration = Duration::from_secs(5);
/// The limit on one call of a store, by default: a write of a side, or a function of [`TwoStores`](crate::converging::TwoStores).
pub const STORE_CALL_LIMIT: Duration = Duration::from_secs(5);
/// How long a key waits to be copied again after a call whose outcome nobody knows, by default: the request may still be
/// on its way.
pub const SETTLE_AFTER: Duration = Duration::from_secs(1);
/// How many times a copy may fail before its key is among the dead letters, by default. It is tried again all the same.
pub const COPY_ATTEMPTS_MAX: u64 = 10;
/// Keys that one process copies at once, by default.
const COPIES: usize = 8;

/// What a write does about its mirror; said for each write.
///
/// ```
/// assert_eq!(dualwrite::converging::MirrorFailure::default(), dualwrite::converging::MirrorFailure::Report);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MirrorFailure {
    /// Waits for the mirror, and answers with `MirrorFailed` where it failed. The primary has the write all the same,
    /// and the key is copied again.
    #[default]
    Report,
    /// Answers as soon as the primary has the write. Where the mirror fails, the key is copied again. Where another
    /// write of the key is in flight here, the mirror is left to that copy.
    AnswerNow,
}

/// What a write does where too many are in flight.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(dualwrite::converging::Overflow::default(), dualwrite::converging::Overflow::Wait(Duration::from_secs(5)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// Waits so long for its turn, and then fails with `Timeout`. Nothing was written.
    Wait(Duration),
    /// Fails with `Timeout` at once. Nothing was written.
    Refuse,
}

impl Default for Overflow {
    fn default() -> Self {
        Self::Wait(QUEUE_WAIT)
    }
}

/// Two stores, with the limits on what goes to them; for
/// [`Registration::converging`](crate::Registration::converging).
///
/// ```
/// use std::time::Duration;
/// use dualwrite::converging::{Converging, Overflow, TwoStores};
///
/// fn limited<S: TwoStores>(stores: S) -> Converging<S> {
///     Converging::new(stores).in_flight(64, Overflow::Refuse).primary_limit(Duration::from_secs(2))
/// }
/// ```
#[derive(Clone, Debug)]
#[must_use = "give it to `Registration::converging`"]
pub struct Converging<S> {
    pub(crate) stores: S,
    pub(crate) options: Options,
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) in_flight: usize,
    pub(crate) overflow: Overflow,
    pub(crate) primary_limit: Duration,
    pub(crate) mirror_limit: Duration,
    pub(crate) copy_limit: Duration,
    pub(crate) settle_after: Duration,
    pub(crate) attempts: u64,
    pub(crate) copies: usize,
}

impl Options {
    /// How long after the end of its lease, and after its beginning, a write of a dead instance may still reach a store.
    pub(crate) fn grace(&self) -> Duration {
        self.primary_limit + self.mirror_limit
    }

    /// A copy that takes longer has lost its claim.
    pub(crate) fn claim_lease(&self) -> Duration {
        self.copy_limit * 2 + STORE_CALL_LIMIT
    }
}

impl<S: TwoStores> From<S> for Converging<S> {
    fn from(stores: S) -> Self {
        Self::new(stores)
    }
}

impl<S> Converging<S> {
    /// With the default limits.
    pub fn new(stores: S) -> Self {
        let options = Options {
            in_flight: IN_FLIGHT_MAX,
            overflow: Overflow::default(),
            primary_limit: STORE_CALL_LIMIT,
            mirror_limit: STORE_CALL_LIMIT,
            copy_limit: STORE_CALL_LIMIT,
            settle_after: SETTLE_AFTER,
            attempts: COPY_ATTEMPTS_MAX,
            copies: COPIES,
        };
        Self { stores, options }
    }

    /// How many writes of this process may be in flight, and what a further one does; [`IN_FLIGHT_MAX`] and
    /// [`QUEUE_WAIT`] by default.
    pub fn in_flight(mut self, most: usize, overflow: Overflow) -> Self {
        (self.options.in_flight, self.options.overflow) = (most.max(1), overflow);
        self
    }

    /// The limit on the write of the primary; [`STORE_CALL_LIMIT`] by default. The caller then gets `Timeout`, the
    /// outcome is not known, and the key is copied from what the primary has.
    pub fn primary_limit(mut self, limit: Duration) -> Self {
        self.options.primary_limit = limit;
        self
    }

    /// The limit on the write of the mirror; [`STORE_CALL_LIMIT`] by default. A mirror that takes longer has failed; see
    /// [`MirrorFailure`].
    pub fn mirror_limit(mut self, limit: Duration) -> Self {
        self.options.mirror_limit = limit;
        self
    }

    /// The limit on each function of the stores; [`STORE_CALL_LIMIT`] by default.
    pub fn copy_limit(mut self, limit: Duration) -> Self {
        self.options.copy_limit = limit;
        self
    }

    /// How long a key waits to be copied after a call whose outcome nobody knows; [`SETTLE_AFTER`] by default. Take the
    /// longest time that a request may stay on its way after its caller has given up.
    pub fn settle_after(mut self, pause: Duration) -> Self {
        self.options.settle_after = pause;
        self
    }

    /// After how many failures a key is among the [dead letters](crate::Migration::dead_letters);
    /// [`COPY_ATTEMPTS_MAX`](crate::defaults::COPY_ATTEMPTS_MAX) by default. It is tried again all the same.
    pub fn copy_attempts(mut self, most: u64) -> Self {
        self.options.attempts = most.max(1);
        self
    }

    /// How many keys this process copies at once; eight by default.
    pub fn copies(mut self, most: usize) -> Self {
        self.options.copies = most.max(1);
        self
    }
}
