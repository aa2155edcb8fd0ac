//! The commit of a page that is on its way to the disk while the next page is copied.
//!
//! The next page is committed after this one's commit was answered, and never where that was an error. Besides,
//! it moves the cursor from where this one leaves it: it waits for the lock of that row, and finds the cursor
//! elsewhere where this commit came to nothing.

use tokio::task::JoinHandle;

use crate::database::Backend;
use crate::error::{Error, ErrorKind};
use crate::key::EncodedKey;
use crate::store::ledger::Range;
use crate::transaction::Tx;

/// A page whose commit is under way. At most one a worker.
pub(crate) struct Committing {
    /// The cursor before it.
    before: Option<EncodedKey>,
    commit: JoinHandle<Result<(), Error>>,
}

impl Committing {
    /// Moves the range's cursor past a page, and sends its commit.
    pub(crate) fn page<DB: Backend>(
        tx: Tx<'static, DB>,
        range: &mut Range,
        cursor: EncodedKey,
    ) -> Self {
        let before = range.after.replace(cursor);
        Self { before, commit: tokio::spawn(tx.commit()) }
    }

    /// Waits for the commit. Where it failed, the cursor is back before the page; whether it was applied all the
    /// same shows when that page is copied again.
    pub(crate) async fn end(self, range: &mut Range) -> Result<(), Error> {
        let ended = self.commit.await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::ShuttingDown, "the runtime ended during a commit"))
        });
        if ended.is_err() {
            range.after = self.before;
        }
        ended
    }
}
