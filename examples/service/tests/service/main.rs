//! The example service as processes, on every database, and what the guide says of it.

mod demo;
mod diff;
mod runbook;
mod support;
