//! Contracts: what a migration calls old is dropped when all evidence is there, and not before.

mod column;
mod command;
mod evidence;
mod run;
mod world;
