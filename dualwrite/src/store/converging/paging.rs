//! The backfill of converging mode, as the control tables keep it: its cursor moves in the transaction that says which
//! keys are to be copied.

use std::time::Duration;

use crate::control::BackfillProgress;
use crate::database::Backend;
use crate::database::sealed::Adapter as _;
use crate::key::EncodedKey;
use crate::store::converging::statements::unsettle;
use crate::store::ledger::{Instructions, Ledger};

/// Where a phase stands.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) instructions: Instructions,
    pub(crate) cursor: Option<EncodedKey>,
    pub(crate) complete: bool,
    pub(crate) progress: BackfillProgress,
}

/// Reads where a phase stands; begins it where it has not begun. In a fenced transaction.
pub(crate) async fn place<DB: Backend>(
    conn: &mut DB::Connection,
    ledger: &Ledger<'_>,
    rate: Option<u64>,
) -> sqlx::Result<Option<Place>> {
    let head = match ledger.head::<DB>(conn).await? {
        Some(head) => head,
        None => {
            ledger.start::<DB>(conn, None, 0, rate).await?;
            match ledger.head::<DB>(conn).await? {
                Some(head) => head,
                None => return Ok(None),
            }
        }
    };
    let Some(instructions) = ledger.instructions::<DB>(conn).await? else { return Ok(None) };
    let progress = ledger.progress::<DB>(conn).await?;
    Ok(Some(Place { instructions, cursor: head.claimed, complete: head.complete, progress }))
}

/// Says that a page of keys is to be copied, and moves the cursor behind it; an empty page completes the phase. Returns
/// whether the cursor was where the caller believes it to be: else nothing is to be committed.
pub(crate) async fn page<DB: Backend>(
    conn: &mut DB::Connection,
    ledger: &Ledger<'_>,
    cursor: Option<&EncodedKey>,
    keys: &[EncodedKey],
) -> sqlx::Result<bool> {
    let Some(head) = ledger.head::<DB>(conn).await? else { return Ok(false) };
    if head.claimed.as_ref() != cursor || head.complete {
        return Ok(false);
    }
    let Some(last) = keys.last() else {
        return ledger.complete::<DB>(conn).await.map(|()| true);
    };
    let mut sorted: Vec<_> = keys.iter().map(|key| (key, Duration::ZERO)).collect();
    sorted.sort_unstable();
    sorted.dedup();
    unsettle::<DB>(conn, ledger.migration, &sorted).await?;
    let sql = "UPDATE dualwrite_backfill SET claimed = ?, batches = batches + 1, total = total + ? \
               WHERE migration = ? AND phase = ? AND generation = ?";
    let [migration, phase, generation] = ledger.id();
    let values = [last.0.as_str().into(), (keys.len() as u64).into(), migration, phase, generation];
    DB::Adapter::execute(conn, sql, &values).await?;
    Ok(true)
}

/// Counts what was copied of a page.
pub(crate) async fn count<DB: Backend>(
    conn: &mut DB::Connection,
    ledger: &Ledger<'_>,
    copied: u64,
    failed: u64,
) -> sqlx::Result<()> {
    ledger.count_migrated::<DB>(conn, copied, failed).await
}
