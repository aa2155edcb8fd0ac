//! Exact mode: a migration between two SQL databases, with one of them in charge at every time. Begin with
//! [`Exact`].

mod alone;
mod background;
mod bound;
mod bulk;
pub(crate) mod closing;
mod columns;
mod copy;
mod core;
mod digest;
mod half;
pub(crate) mod handle;
mod inner;
pub(crate) mod jobs;
mod metrics;
mod moves;
mod operated;
pub(crate) mod options;
mod over;
mod payload;
mod port;
pub(crate) mod read;
mod relay;
mod report;
mod reported;
mod side;
mod snapshot;
pub(crate) mod start;
mod step;
mod verify;
pub(crate) mod write;

pub use crate::control::exact::ExactFailure;
pub use crate::exact::handle::{Exact, ExactStatus};
pub use crate::exact::read::ExactRead;
pub use crate::exact::start::ExactBuilder;
pub use crate::exact::write::ExactWrite;

pub use columns::ExactColumns;
pub use options::{
    BACKLOG_COUNTED, DRAIN_WAIT, EXACT_POLL, HAND_OVER_WAIT, OUTBOX_MAX, OUTBOX_PAGE,
    TAKE_OVER_AFTER,
};
pub use side::ExactSide;
pub use step::ExactStep;
pub use verify::ExactReport;
