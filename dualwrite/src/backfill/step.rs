//! What the steps of a worker come to.

use crate::database::Backend;
use crate::key::EncodedKey;
use crate::store::ledger::Range;
use crate::transaction::Tx;

/// What claiming found.
pub(crate) enum Claim {
    Range(Range),
    /// Other workers hold the rest.
    Wait,
    Complete,
}

/// What one page came to.
pub(crate) enum Page<DB: Backend> {
    /// Cursor and rows are to be committed.
    Copied {
        tx: Tx<'static, DB>,
        cursor: EncodedKey,
        keys: u32,
    },
    RangeDone,
}
