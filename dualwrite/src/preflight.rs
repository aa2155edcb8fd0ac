//! Preflight: what the catalogue of the database says about a migration before its first row moves, and which writers
//! of the old side no trigger sees.

// To add a kind of finding, add a file to this folder with a pure function over what `schema` knows of the
// tables, and list it in `checks::CHECKS`. What has to ask the database more than the catalogue stands in
// `probe` of `copier/preflight.rs`, with its statement in the adapter.

pub(crate) mod checks;
pub(crate) mod finding;
pub(crate) mod form;
pub(crate) mod keys;
pub(crate) mod live;
pub(crate) mod report;
pub(crate) mod rows;
pub(crate) mod schema;

pub use crate::preflight::finding::{Finding, FindingLevel, Preflight};
pub use crate::preflight::live::{Live, LiveTable};
pub use crate::preflight::report::PreflightReport;
pub use crate::stages::hazard::{Hazard, HazardKind, Stopped};
