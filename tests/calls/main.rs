#![allow(dead_code, unused, clippy::unwrap_used)]
#[path = "../it/dropped.rs"]
mod dropped;
#[path = "../it/forms.rs"]
mod forms;
#[path = "../it/guard.rs"]
mod guard;
#[path = "../it/lazy.rs"]
mod lazy;
#[path = "../it/limits.rs"]
mod limits;
#[path = "../it/metrics.rs"]
mod metrics;
#[path = "../it/options.rs"]
mod options;
#[path = "../it/read.rs"]
mod read;
#[path = "../it/repeat.rs"]
mod repeat;
#[path = "../it/support/mod.rs"]
mod support;
#[path = "../it/tidy.rs"]
mod tidy;
#[path = "../it/transaction.rs"]
mod transaction;
#[path = "../it/unfinished.rs"]
mod unfinished;
