//! Shadow comparison: what the caller got is compared with the other side, off the caller's path.

pub(crate) mod cohort;
pub(crate) mod context;
pub(crate) mod decide;
pub(crate) mod noise;
pub(crate) mod report;
pub(crate) mod rules;
pub(crate) mod samples;
pub(crate) mod sampling;
