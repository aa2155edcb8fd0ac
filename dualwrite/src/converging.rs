//! Converging mode: a migration between any two stores that share no transaction. Begin with [`TwoStores`].

mod backfill;
pub(crate) mod copier;
pub(crate) mod drain;
mod gathering;
mod marking;
mod options;
mod order;
pub(crate) mod repair;
mod stores;
pub(crate) mod two;
mod verify;
pub(crate) mod within;
pub(crate) mod write;

pub use options::{
    COPY_ATTEMPTS_MAX, Converging, IN_FLIGHT_MAX, MirrorFailure, Overflow, QUEUE_WAIT,
    SETTLE_AFTER, STORE_CALL_LIMIT,
};
pub use stores::TwoStores;
