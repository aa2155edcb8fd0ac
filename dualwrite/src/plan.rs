//! A rollout as data, driven step by step by whichever instance leads it.

pub(crate) mod announce;
pub(crate) mod decide;
pub(crate) mod health;
pub(crate) mod order;
pub(crate) mod pace;
pub(crate) mod rollout;
pub(crate) mod run;
pub(crate) mod state;
#[cfg(feature = "toml")]
pub(crate) mod toml;
