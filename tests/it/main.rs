//! Behaviour of the library on every database it serves; one module for each behaviour, named as in
//! `dualwrite/src`. `tests/run` provides the databases.

// Not `allow-unwrap-in-tests`: that knows `#[test]` functions only, and here most of a test stands in
// functions generic over the database.
#![allow(clippy::unwrap_used, reason = "a test reports what it did not expect by panicking")]

mod support;

// Behaviours, one module each, in alphabetical order.
mod acceptance;
mod backfill;
mod compare;
mod copy_sql;
#[cfg(unix)]
mod crash;
mod cursor;
mod dropped;
mod dual;
#[cfg(unix)]
mod failover;
mod fence;
mod flags;
mod forms;
mod guard;
mod history;
mod hung;
mod input;
mod interleavings;
mod isolation;
mod lazy;
mod letters;
mod limits;
mod lost_control;
mod metrics;
mod options;
mod page;
mod preflight;
#[cfg(unix)]
mod processes;
mod read;
mod repeat;
mod reverse;
mod rollout;
mod schema;
mod sessions;
mod shadow;
mod shutdown;
mod started;
mod throttle;
mod tool;
mod transaction;
mod unaware;
mod unfinished;
mod verify;
mod writers;

// The tests' own tools.
mod harness;
mod tidy;
