//! The contract of a migration: what it calls old, what must be proven before that is dropped, and the statements
//! that drop it. Values and deciders; whoever runs it is `migration/contracting.rs`.

pub(crate) mod decide;
pub(crate) mod declared;
pub(crate) mod facts;
pub(crate) mod plan;
pub(crate) mod relax;
pub(crate) mod shape;
