//! The control tables of converging mode: marks of writes in flight, keys to be copied, and moves that wait.

pub(crate) mod paging;
pub(crate) mod port;
pub(crate) mod statements;
pub(crate) mod tables;
