//! The backfill: every key of old, copied in pages while the service goes on writing.

pub(crate) mod decide;
pub(crate) mod ledger;
pub(crate) mod letters;
pub(crate) mod load;
pub(crate) mod progress;
pub(crate) mod run;
pub(crate) mod throttle;
pub(crate) mod walk;
