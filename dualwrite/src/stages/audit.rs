//! The audit of the moves of a migration.

use std::time::SystemTime;

use serde::Serialize;

use crate::stages::position::{Epoch, Generation, Percent};
use crate::stages::stage::Stage;

/// One line of the audit: a position changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditEvent {
    /// When, by the database's clock.
    #[serde(rename = "at_us", with = "crate::moment::as_micros")]
    pub at: SystemTime,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// The stage before.
    pub from_stage: Stage,
    /// The ramp before.
    pub from_ramp: Percent,
    /// The stage since.
    pub to_stage: Stage,
    /// The ramp since.
    pub to_ramp: Percent,
    /// The epoch that this change made.
    pub epoch: Epoch,
    /// The generation since.
    pub generation: Generation,
    /// Gates that were overridden, by name.
    pub overridden: Vec<String>,
}
