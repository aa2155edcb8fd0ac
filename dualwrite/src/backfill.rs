//! The backfill: every key of old, copied in pages while the service goes on writing.

pub(crate) mod account;
pub(crate) mod burying;
mod claims;
mod committing;
pub(crate) mod decide;
pub(crate) mod ledger;
pub(crate) mod letters;
pub(crate) mod load;
pub(crate) mod options;
pub(crate) mod ordering;
pub(crate) mod pace;
mod page;
mod pressure;
pub(crate) mod progress;
pub(crate) mod run;
pub(crate) mod throttle;
pub(crate) mod walk;
mod worker;
