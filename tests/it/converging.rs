//! Converging mode: two stores that share no transaction.

mod basics;
mod downtime;
mod fault;
mod faults;
mod http;
#[cfg(unix)]
pub(crate) mod killed;
mod moves;
mod own_store;
mod rounds;
mod stores;
