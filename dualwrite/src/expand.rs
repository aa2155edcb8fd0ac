//! Expand: what a migration needs as new, whether the database has it and it can hold what the old side holds, and the
//! files that make what is missing. Begin with [`Expand`].

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

pub use crate::expand::declared::Expand;
pub use crate::expand::plan::{ExpandPlan, ExpandStatement};
pub use crate::expand::table::NewTable;
