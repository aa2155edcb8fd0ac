//! Behaviour of the library on every database it serves; one module for each behaviour, named as in
//! `dualwrite/src`. `tests/run` provides the databases.

// Not `allow-unwrap-in-tests`: that knows `#[test]` functions only, and here most of a test stands in
// functions generic over the database.
#![allow(clippy::unwrap_used, reason = "a test reports what it did not expect by panicking")]

mod support;

// Behaviours, one module each, in alphabetical order.
mod acceptance;
mod adopted;
mod adoption;
mod altered_keys;
mod backfill;
mod browser;
mod bulk;
mod catalogue;
mod changes;
mod clocks;
mod closures;
mod commands;
mod commits;
mod compare;
mod contract;
mod converging;
mod copy_sql;
mod copy_sql_texts;
#[cfg(unix)]
mod crash;
mod cursor;
mod cut_answers;
mod dashboard;
mod dead_letters;
mod derived_keys;
mod doctor;
mod drawn;
mod dropped;
mod dual;
mod ended;
#[cfg(unix)]
mod engines;
mod equality;
mod exact;
mod expand;
#[cfg(unix)]
mod failing_mirror;
mod failover;
mod far_away;
mod fence;
mod fenced_writes;
mod flags;
mod forms;
mod guard;
mod health;
mod history;
mod hung;
mod input;
mod interleavings;
mod isolation;
mod joining;
mod key_change;
mod key_pages;
mod key_values;
mod keys;
mod lazy;
mod limits;
mod long_keys;
mod lost_control;
mod made;
mod maintenance;
mod metrics;
mod migration_test;
mod mocked;
mod one_list;
mod one_row;
mod openapi;
mod options;
mod orders;
#[cfg(unix)]
mod own_settings;
mod page;
#[cfg(unix)]
mod pipeline;
#[cfg(unix)]
mod pooler;
mod pools;
mod preflight;
#[cfg(unix)]
mod processes;
mod read;
mod real_rows;
mod removal;
mod repeat;
mod reverse;
mod rollout;
mod rollout_start;
mod row;
mod schema;
mod sessions;
mod settling;
mod shadow;
mod shutdown;
mod started;
mod streams;
mod supertraits;
mod throttle;
mod tool;
mod tool_commands;
mod tool_process;
mod transaction;
mod unaware;
mod unfinished;
mod unfinished_forms;
mod unit_of_work;
mod verify;
mod writers;

// What is written for readers, and what is shipped.
mod checksums;
mod guide;
mod prose;

// The tests' own tools.
mod harness;
mod tidy;
