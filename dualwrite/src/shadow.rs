//! Shadow comparison: what the caller got is compared with the other side, off the caller's path.

pub(crate) mod decide;
pub(crate) mod run;
