//! The expand of a migration: what is declared as new, whether the database has it and it can hold what old holds, and
//! the files that make what is missing. Values and deciders; whoever reads the catalogue is `migration/expanding.rs`.

pub(crate) mod column;
pub(crate) mod create;
pub(crate) mod decide;
pub(crate) mod declared;
pub(crate) mod image;
pub(crate) mod indexes;
pub(crate) mod names;
pub(crate) mod need;
pub(crate) mod plan;
pub(crate) mod rules;
pub(crate) mod shape;
pub(crate) mod spell;
pub(crate) mod table;
pub(crate) mod tighten;
pub(crate) mod types;
