//! Dropping what nothing takes the place of, in phases: what is declared, what stands against the next phase, and the
//! statements.

pub(crate) mod decide;
pub(crate) mod declared;
pub(crate) mod phase;
pub(crate) mod report;
pub(crate) mod statements;
