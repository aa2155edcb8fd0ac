//! The control tables of exact mode, in each of the two databases: statements inside the transaction of the caller.

pub(crate) mod authority;
pub(crate) mod operated;
pub(crate) mod outbox;
pub(crate) mod relay;
pub(crate) mod version;

/// Rows that one statement writes, or names, at the most.
pub(crate) const BULK: usize = 1_000;
