//! Rollouts: a plan of steps that one of the instances follows, through restarts. Begin with [`RolloutPlan`].

pub(crate) mod command;
pub(crate) mod decide;
pub(crate) mod health;
pub(crate) mod hours;
pub(crate) mod pace;
pub(crate) mod plan;
pub(crate) mod state;
#[cfg(feature = "toml")]
pub(crate) mod toml;
#[cfg(feature = "toml")]
pub(crate) mod toml_text;

pub use crate::rollout::command::{RolloutCommand, RolloutCommandKind};
pub use crate::rollout::health::Health;
pub use crate::rollout::plan::{RolloutPlan, RolloutStep};
pub use crate::rollout::state::RolloutState;
