//! Verification and repair: every key compared, chunk by chunk and without locks. What differs is looked at again under
//! the lock of a copy before it counts. Begin with [`Migration::verify`](crate::Migration::verify).

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

pub use crate::stages::stale::{StaleKind, StaleMark};
pub use crate::stages::verification::{KeyDifference, KeyDifferenceKind, VerifyReport};
pub use crate::verify::repair::RepairReport;
