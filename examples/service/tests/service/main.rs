//! The example service as processes, on every database, and what the guide says of it.

#![allow(clippy::unwrap_used, reason = "a test reports what it did not expect by panicking")]

mod demo;
mod diff;
mod runbook;
mod support;
