//! What this instance has said last of the migration.

use crate::control::exact::ExactState;

/// Times are those of the controlled clock.
#[derive(Debug, Default)]
pub(crate) struct Reported {
    pub(crate) wrote: Option<u64>,
    pub(crate) state: Option<ExactState>,
}
