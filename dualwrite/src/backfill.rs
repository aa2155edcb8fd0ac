//! Backfill: copies every key of the old side to the new one in pages, while the service goes on writing. It survives
//! the end of any process. Begin with [`Migration::backfill`](crate::Migration::backfill).

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

pub use crate::backfill::walk::CopyReport;
pub use crate::control::dead_letters::{DeadLetter, Waived};
pub use crate::control::settings::{BackfillSetting, BackfillSettings};
pub use crate::control::tasks::StartedBackfill;
pub use crate::control::{BackfillProgress, WorkerProgress};
pub use crate::pace::throttle::Throttle;
