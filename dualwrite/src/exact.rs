//! Exact mode: a migration between two SQL databases, of which one at a time has the authority. The guide is
//! `docs/exact.md`.

mod background;
mod copy;
mod core;
mod half;
pub(crate) mod handle;
mod inner;
mod moves;
pub(crate) mod options;
mod over;
mod payload;
mod port;
pub(crate) mod read;
mod relay;
mod side;
mod snapshot;
pub(crate) mod start;
mod step;
mod verify;
pub(crate) mod write;

pub use options::{
    BACKLOG_COUNTED, DRAIN_WAIT, EXACT_POLL, HAND_OVER_WAIT, OUTBOX_PAGE, TAKE_OVER_AFTER,
};
pub use side::ExactSide;
pub use step::ExactStep;
pub use verify::ExactReport;
