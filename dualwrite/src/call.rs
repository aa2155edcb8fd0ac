//! What one call through a wrapper passes.

pub(crate) mod closures;
pub(crate) mod lazy;
pub(crate) mod read;
pub(crate) mod repository;
pub(crate) mod shadow;
pub(crate) mod write;
