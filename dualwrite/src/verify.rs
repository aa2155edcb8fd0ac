//! Verification: every key compared, chunk by chunk and without locks; what differs is looked at again under
//! the lock of a copy before it counts.

mod apart;
pub(crate) mod chunk;
pub(crate) mod confirm;
pub(crate) mod equality;
pub(crate) mod hashed;
pub(crate) mod mapped;
pub(crate) mod plan;
pub(crate) mod repair;
pub(crate) mod run;
pub(crate) mod statements;
