//! Flags from elsewhere: what they want, who says it, and where that takes a migration.

pub(crate) mod decide;
pub(crate) mod desired;
pub(crate) mod report;
pub(crate) mod source;
