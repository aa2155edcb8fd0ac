//! Guards: limits on how much worse than the old side the new one may be. A breach takes the migration back. Begin
//! with [`Guards`].

pub(crate) mod decide;
pub(crate) mod rules;
#[cfg(test)]
mod simulation;
pub(crate) mod statistics;

pub use crate::guard::rules::{Breach, Guard, GuardReport, Guards, Inconclusive};
