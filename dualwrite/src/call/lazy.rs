//! Lazy migration on read: a key that new misses is copied when it is read.

pub(crate) mod decide;
pub(crate) mod run;
