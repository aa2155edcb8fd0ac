//! Where flags come from: the environment, a file, OpenFeature.

pub(crate) mod env;
#[cfg(feature = "toml")]
pub(crate) mod file;
#[cfg(feature = "open-feature")]
pub(crate) mod open_feature;
