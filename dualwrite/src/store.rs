//! The control tables, in memory and in SQL, and what is written to them inside a caller's transaction.

pub(crate) mod account;
pub(crate) mod backfill_commands;
pub(crate) mod changed;
pub(crate) mod connections;
pub(crate) mod converging;
pub(crate) mod dead_letter;
pub(crate) mod exact;
pub(crate) mod ledger;
pub(crate) mod marks;
pub(crate) mod memory;
pub(crate) mod sql;
