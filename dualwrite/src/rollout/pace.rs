//! How fast a plan's own backfill runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What the plan says; what it does not say is as for any backfill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackfillPace {
    /// Keys a second, of all workers together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) workers: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) batch_time_ms: Option<u64>,
}

impl BackfillPace {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn batch_time(&self) -> Option<Duration> {
        self.batch_time_ms.map(Duration::from_millis)
    }

    /// Keeps the milliseconds.
    pub(crate) fn with_batch_time(self, time: Duration) -> Self {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self { batch_time_ms: Some(millis), ..self }
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        let zero = match self {
            Self { rate: Some(0), .. } => "rate is no key a second: pause it instead",
            Self { workers: Some(0), .. } => "workers are none",
            Self { batch_time_ms: Some(0), .. } => "batch time is below a millisecond",
            _ => return Ok(()),
        };
        Err(format!("the backfill's {zero}"))
    }
}
