//! Converging mode: two stores that share no transaction.

mod basics;
mod fault;
mod faults;
mod http;
mod moves;
mod rounds;
mod stores;
