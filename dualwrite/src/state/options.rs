//! What a registration chose.

use std::time::Duration;

use crate::contract::declared::Contract;
use crate::guard::rules::Guards;
use crate::rollout::health::HealthHook;
use crate::shadow::rules::ShadowRules;
use crate::stages::bucket::BucketRule;
use crate::stages::position::Percent;
use crate::stages::stage::Stage;
use crate::state::{MirrorPolicy, SHADOW_CONCURRENCY, SHADOW_TIMEOUT, UNAWARE_WINDOW};

/// What a registration chose.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) rule: BucketRule,
    pub(crate) lazy: bool,
    /// This build has the new path alone.
    pub(crate) new_only: bool,
    /// What is old.
    pub(crate) contract: Option<Contract>,
    pub(crate) mirror: MirrorPolicy,
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

impl Default for Options {
    fn default() -> Self {
        Self {
            rule: BucketRule::Hash,
            lazy: false,
            new_only: false,
            contract: None,
            mirror: MirrorPolicy::default(),
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
