//! Verification: every key compared, under the same lock as a copy.

pub(crate) mod run;
