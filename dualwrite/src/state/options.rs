//! What a registration chose, and what it chose nothing for.

use std::time::Duration;

use crate::contract::declared::Contract;
use crate::expand::declared::Expand;
use crate::guard::rules::Guards;
use crate::rollout::health::HealthHook;
use crate::shadow::rules::ShadowRules;
use crate::stages::bucket::BucketRule;
use crate::stages::position::Percent;
use crate::stages::stage::Stage;

/// What a mirror write that fails does to the caller's write.
///
/// ```
/// assert_eq!(dualwrite::MirrorPolicy::default(), dualwrite::MirrorPolicy::MarkDirty);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MirrorPolicy {
    /// The mirror write is undone, the key is marked dirty in the same transaction and copied again;
    /// the caller's write goes on. Falls back to `Abort` where the key could not be copied that way,
    /// or where reads without a key still look at the side that failed.
    #[default]
    MarkDirty,
    /// As `MarkDirty`, and one round trip less: the savepoint is set in the message that begins the
    /// transaction. Where the mirror fails, all since then is undone, and the primary is written a second
    /// time, alone; so its method is called twice. What it has done in the database counts once, what it
    /// did elsewhere (a message that it sent, a number that it drew) has been done twice.
    ///
    /// Only where the dual write is the first thing that is run in the transaction; otherwise it is
    /// `MarkDirty`.
    Repeat,
    /// The caller's write fails.
    Abort,
}

/// What happens where the old and the new side answer one write differently. Answers are compared by
/// [`Compare`](crate::Compare), else by `PartialEq`; where the type has neither, they are not.
///
/// ```
/// assert_eq!(dualwrite::AnswerPolicy::default(), dualwrite::AnswerPolicy::MarkDirty);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnswerPolicy {
    /// The caller gets the primary's answer. The difference is counted and logged, and the key is marked
    /// dirty in the same transaction, so that it is copied again; it is not marked where it could not be
    /// copied in that direction.
    #[default]
    MarkDirty,
    /// The caller's write fails. Choose this where both sides may allocate ids: the copy function finds a
    /// row by its key, so it cannot repair two ids that differ.
    Error,
    /// Answers are not compared.
    Ignore,
}

/// What a registration chose.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) rule: BucketRule,
    pub(crate) lazy: bool,
    /// This build has the new path alone.
    pub(crate) new_only: bool,
    /// What is old.
    pub(crate) contract: Option<Contract>,
    /// What is new.
    pub(crate) expand: Option<Expand>,
    pub(crate) mirror: MirrorPolicy,
    pub(crate) answers: AnswerPolicy,
    pub(crate) mirror_write_timeout: Duration,
    pub(crate) primary_write_timeout: Option<Duration>,
    /// Two implementations may each write the one row that old and new share.
    pub(crate) two_statements: bool,
    pub(crate) soak: Duration,
    pub(crate) approvals: Vec<(Stage, String)>,
    pub(crate) rollout_health: HealthHook,
    pub(crate) unaware_window: Duration,
    pub(crate) shadow_sample: Percent,
    /// Whether the key, and not the call, decides what is sampled.
    pub(crate) shadow_by_key: bool,
    pub(crate) compare_writes: Percent,
    pub(crate) shadow_timeout: Duration,
    pub(crate) shadow_concurrency: usize,
    /// `None`: nothing is rolled back by itself.
    pub(crate) guards: Option<Guards>,
    /// Fields, as [`field_label`](crate::observe::tally::field_label) writes them.
    pub(crate) critical: Vec<String>,
    pub(crate) rules: ShadowRules,
}

/// Default bound on shadow reads at a time, per migration and process.
pub const SHADOW_CONCURRENCY: usize = 64;
/// Default limit on the time of one shadow read.
pub const SHADOW_TIMEOUT: Duration = Duration::from_secs(2);

/// Default limit on the time of one mirror write: what takes longer has failed.
pub const MIRROR_WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// Default limit on the time of the primary's write where the database has a single writer (SQLite): while
/// it lasts nobody else can write, no heartbeat either. Elsewhere there is none by default.
pub const SINGLE_WRITER_TIMEOUT: Duration = Duration::from_secs(8);

/// How long old must not have been written without this library before `Complete`, by default.
pub const UNAWARE_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Options {
    fn default() -> Self {
        Self {
            rule: BucketRule::Hash,
            lazy: false,
            new_only: false,
            contract: None,
            expand: None,
            mirror: MirrorPolicy::default(),
            answers: AnswerPolicy::default(),
            mirror_write_timeout: MIRROR_WRITE_TIMEOUT,
            primary_write_timeout: None,
            two_statements: false,
            soak: Duration::ZERO,
            approvals: Vec::new(),
            rollout_health: HealthHook::default(),
            unaware_window: UNAWARE_WINDOW,
            shadow_sample: Percent::FULL,
            shadow_by_key: false,
            compare_writes: Percent::ZERO,
            shadow_timeout: SHADOW_TIMEOUT,
            shadow_concurrency: SHADOW_CONCURRENCY,
            guards: None,
            critical: Vec::new(),
            rules: ShadowRules::default(),
        }
    }
}
