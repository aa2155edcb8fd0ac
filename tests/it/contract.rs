//! Contracts: what a migration calls old is dropped when all evidence is there, and not before.

mod backup;
mod column;
mod command;
mod evidence;
mod guarded;
mod http;
mod run;
mod triggers;
mod whole;
mod world;
