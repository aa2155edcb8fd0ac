//! The preflight: what the catalogue of the database says about a migration before its first row moves.
//!
//! To add a kind of finding: one file in this folder with a pure `check(&Subject, &mut Vec<Finding>)` over what
//! [`schema`] knows of the tables, listed in [`checks::CHECKS`]; or, where more has to be asked, a function
//! beside [`run::probe`] and the statement in the adapter.

pub(crate) mod checks;
pub(crate) mod finding;
pub(crate) mod keys;
pub(crate) mod run;
pub(crate) mod schema;
