//! What hurts migrations in a running database: what is asked, and what of it is told.

pub(crate) mod decide;
pub(crate) mod facts;
pub(crate) mod report;
mod stars;
