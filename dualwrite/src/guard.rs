//! Watches over a migration: when is new so much worse than old that one must go back?

pub(crate) mod decide;
pub(crate) mod rules;
#[cfg(test)]
mod simulation;
pub(crate) mod statistics;
