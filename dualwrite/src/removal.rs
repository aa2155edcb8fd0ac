//! Removal: dropping in phases what nothing takes the place of. Begin with [`Removal`].

pub(crate) mod decide;
pub(crate) mod declared;
pub(crate) mod phase;
pub(crate) mod report;
pub(crate) mod statements;

pub use crate::removal::declared::Removal;
pub use crate::removal::phase::RemovalPhase;
pub use crate::removal::report::{RemovalReport, RemovalUse};
