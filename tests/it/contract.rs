//! Contracts: what a migration calls old is dropped when all evidence is there, and not before.

mod backup;
mod column;
mod command;
mod evidence;
mod guarded;
mod run;
mod whole;
mod world;
