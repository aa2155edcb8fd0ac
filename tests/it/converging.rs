//! Converging mode: two stores that share no transaction.

mod basics;
mod faults;
mod http;
mod moves;
mod rounds;
mod stores;
