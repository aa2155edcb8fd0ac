//! The backfill: every key of old, copied in pages while the service goes on writing.

pub(crate) mod claims;
pub(crate) mod committing;
pub(crate) mod crew;
pub(crate) mod decide;
pub(crate) mod options;
pub(crate) mod pace;
pub(crate) mod page;
mod pressure;
pub(crate) mod progress;
pub(crate) mod run;
mod step;
pub(crate) mod walk;
pub(crate) mod worker;
