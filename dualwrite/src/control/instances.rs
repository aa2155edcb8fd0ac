//! What an instance says of itself.

use std::time::Duration;

use crate::stages::lineage::Mark;
use crate::stages::position::Epoch;
use crate::stages::stage::Stage;
use crate::stages::terms::Terms;

/// What an instance tells about itself when it joins and with each heartbeat.
#[derive(Clone, Debug)]
pub(crate) struct Heartbeat {
    pub(crate) instance: String,
    pub(crate) release: String,
    pub(crate) min_stage: Stage,
    pub(crate) max_stage: Stage,
    pub(crate) lease: Duration,
}

/// The number of a heartbeat, and of the last one that was acknowledged; zero before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pulse {
    pub(crate) number: u64,
    pub(crate) confirmed: u64,
}

/// What an instance acknowledges for one migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledgement {
    pub(crate) migration: String,
    pub(crate) seen: Mark,
    pub(crate) drained: Epoch,
    pub(crate) lazy: bool,
    /// Its build has the new path alone.
    pub(crate) new_only: bool,
    /// Where its flags want the migration.
    pub(crate) wanted: Option<String>,
    /// The kill switch that it sees set.
    pub(crate) killed_by: Option<String>,
    /// What its release declares of the migration.
    pub(crate) terms: Terms,
    /// For how long its oldest fenced transaction has been open, about; 0 below a second.
    pub(crate) open_s: u64,
}

impl Acknowledgement {
    /// Of an instance that has just come.
    #[cfg(test)]
    pub(crate) fn joining(migration: &str, seen: Mark, lazy: bool) -> Self {
        Self {
            migration: migration.to_owned(),
            seen,
            drained: seen.epoch,
            lazy,
            new_only: false,
            wanted: None,
            killed_by: None,
            terms: Terms { lazy, ..Terms::default() },
            open_s: 0,
        }
    }
}
