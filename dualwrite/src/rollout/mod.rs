//! A rollout as data, driven step by step by whichever instance leads it.

pub(crate) mod decide;
pub(crate) mod health;
pub(crate) mod hours;
pub(crate) mod order;
pub(crate) mod pace;
pub(crate) mod plan;
pub(crate) mod state;
#[cfg(feature = "toml")]
pub(crate) mod toml;
#[cfg(feature = "toml")]
pub(crate) mod toml_text;
