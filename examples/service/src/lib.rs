//! A shop in two releases, `before` and `after` it adopted dualwrite, and what the demonstration and its tests need
//! around them: databases, processes, load, and a check in plain SQL.

// The service is compiled for each of three databases; a service of yours has one.
#![allow(clippy::duplicate_mod)]

mod database;
mod demo;
mod load;
mod mysql;
mod postgres;
mod process;
mod sqlite;

pub use database::Database;
pub use demo::{Demo, Failure, tool, verdict};
pub use load::{Figures, Load, get};
pub use process::{Process, Release, announce};
