//! What gates are judged by: what the control tables know, and what a release declares of its migration.

use std::time::Duration;

use serde::Serialize;

use crate::error::Maintenance;
use crate::stages::hazard::Hazard;
use crate::stages::lineage::Token;
use crate::stages::mirror::MirrorNote;
use crate::stages::position::{Epoch, Generation, Position};
use crate::stages::sample::SampleOverride;
use crate::stages::stage::Stage;
use crate::stages::stale::StaleMark;
use crate::stages::terms::Terms;

/// What one live instance reported last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct InstanceReport {
    /// The identity that the process drew at its start.
    pub id: String,
    /// The release it runs.
    pub release: String,
    /// The newest epoch that it has seen.
    pub seen: Epoch,
    /// Nothing pinned below this epoch is in flight in it.
    pub drained: Epoch,
    /// The first stage that its build can run.
    pub min_stage: Stage,
    /// The last stage that its build can run.
    pub max_stage: Stage,
    /// Whether its lazy reads copy what they miss in new.
    pub lazy: bool,
    /// Its build has the new path alone; see [`Registration::new_only`](crate::Registration::new_only).
    pub new_only: bool,
    /// Where its flags want the migration.
    pub wanted: Option<String>,
    /// The kill switch that it sees set.
    pub killed_by: Option<String>,
    /// How many of its mirror writes failed of late, and why, where some did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorNote>,
    /// What its release declares of the migration, where this release understands it.
    #[serde(skip)]
    pub(crate) terms: Option<Terms>,
    /// How many instances report the same: more than one where instances are read in groups, and one stands for all.
    #[serde(skip)]
    pub(crate) alike: u64,
}

/// What the control tables know, read under the exclusive fence.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) position: Position,
    pub(crate) token: Token,
    pub(crate) stage: StageFacts,
    pub(crate) new: SideFacts,
    pub(crate) old: SideFacts,
    /// Why the sides may differ, one of each kind: the reason why nothing is verified.
    pub(crate) stale: Vec<StaleMark>,
    /// The newest verification, ended or not; unknown where figures are published for many migrations.
    pub(crate) verification: Option<LastVerification>,
    /// What the catalogue said at the last look.
    pub(crate) hazards: Vec<Hazard>,
    pub(crate) unfenced: Unfenced,
    pub(crate) operated: Operated,
    /// What is under way in converging mode.
    pub(crate) converging: Unsettled,
    /// Live instances only: a lease that ran out no longer counts.
    pub(crate) instances: Vec<InstanceReport>,
}

/// What is known of copies to one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SideFacts {
    /// Of the old side, it is raised whenever the new side begins to be written alone.
    pub(crate) generation: Generation,
    /// Its generation is copied.
    pub(crate) backfilled: bool,
    /// The generation that a verification found equal.
    pub(crate) verified: Option<Generation>,
    /// Keys to be copied again.
    pub(crate) dirty: u64,
    /// Keys that could not be copied, and nobody waived.
    pub(crate) dead_letters: u64,
    /// Keys that could not be copied, and somebody waived.
    pub(crate) waived: u64,
}

/// Of the first generation, and nothing is copied.
impl Default for SideFacts {
    fn default() -> Self {
        Self {
            generation: Generation::FIRST,
            backfilled: false,
            verified: None,
            dirty: 0,
            dead_letters: 0,
            waived: 0,
        }
    }
}

/// What is known of the present stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StageFacts {
    /// At which it was entered.
    pub(crate) epoch: Epoch,
    /// How long ago that was.
    pub(crate) age: Duration,
    /// Approvals that were given since.
    pub(crate) approvals: Vec<String>,
}

/// Who writes the old side without the fence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unfenced {
    /// Releases without this library that are said to run.
    pub(crate) releases: Vec<String>,
    /// How long ago the old side was last written without this library, as far as known.
    pub(crate) last_write: Option<Duration>,
}

/// What operators have set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Operated {
    /// Who has set the kill switch in the control tables.
    pub(crate) killed: Option<String>,
    /// What is to be compared.
    pub(crate) sample: SampleOverride,
    /// Which calls are closed, and why.
    pub(crate) maintenance: Option<Maintenance>,
    /// Somebody has begun to drop the old side.
    pub(crate) contract_begun: bool,
}

impl Facts {
    /// How many instances live.
    pub(crate) fn live(&self) -> u64 {
        self.instances.iter().map(|instance| instance.alike).sum()
    }
}

/// What the newest verification has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LastVerification {
    /// Of the new and of the old side, when it began.
    pub(crate) generations: [u64; 2],
    pub(crate) compared: u64,
    pub(crate) differing: u64,
    pub(crate) is_sample: bool,
    pub(crate) done: bool,
}

/// What is under way between two stores that share no transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unsettled {
    /// Writes in flight.
    pub(crate) writes: u64,
    /// The instances whose writes these are, some of them.
    pub(crate) instances: Vec<String>,
    /// Keys to be copied again that nobody waived.
    pub(crate) keys: u64,
}
