//! What one run of the backfill was asked for.

use std::time::Duration;

use super::decide::{BATCH_KEYS, BATCH_TIME, FAILURES_MAX};
use crate::pace::throttle::Throttle;
use crate::stages::stage::Side;

/// What one run of the backfill was asked for.
#[derive(Clone, Debug)]
pub(crate) struct BackfillOptions {
    /// The side that is copied to.
    pub(crate) to: Side,
    pub(crate) batch: u32,
    pub(crate) batch_time: Duration,
    pub(crate) rate: Option<u64>,
    pub(crate) throttle: Throttle,
    pub(crate) exact_total: bool,
    pub(crate) lease: Duration,
    pub(crate) failures_max: u64,
    pub(crate) owner: String,
    /// At least one.
    pub(crate) workers: u32,
}

impl Default for BackfillOptions {
    fn default() -> Self {
        Self {
            to: Side::New,
            batch: BATCH_KEYS,
            batch_time: BATCH_TIME,
            rate: None,
            throttle: Throttle::default(),
            exact_total: false,
            lease: Duration::from_secs(30),
            failures_max: FAILURES_MAX,
            owner: uuid::Uuid::new_v4().to_string(),
            workers: 1,
        }
    }
}
