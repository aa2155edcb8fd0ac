//! The preflight: what the catalogue of the database says about a migration before its first row moves. Here
//! are the values and the checks; `copier/preflight.rs` reads and asks.
//!
//! To add a kind of finding, add a file to this folder with a pure function over what [`schema`] knows of the
//! tables, and list it in [`checks::CHECKS`]. What has to ask the database more than the catalogue stands in
//! `probe` of `copier/preflight.rs`, with its statement in the adapter.

pub(crate) mod checks;
pub(crate) mod finding;
pub(crate) mod form;
pub(crate) mod keys;
pub(crate) mod live;
pub(crate) mod report;
pub(crate) mod rows;
pub(crate) mod schema;
