//! Doctor: what hurts migrations in a running database, found by reading it.

pub(crate) mod decide;
pub(crate) mod facts;
pub(crate) mod in_the_way;
pub(crate) mod report;
mod stars;

pub use crate::doctor::report::{DoctorFinding, DoctorLimits, DoctorReport};
