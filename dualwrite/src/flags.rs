//! Flags from elsewhere: what they want, who says it, and where that takes a migration.

pub(crate) mod decide;
pub(crate) mod env;
#[cfg(feature = "toml")]
pub(crate) mod file;
#[cfg(feature = "open-feature")]
pub(crate) mod open_feature;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod source;
pub(crate) mod wanted;
