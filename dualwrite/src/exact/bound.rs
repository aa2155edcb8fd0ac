//! The bound of the outbox. Where the mirror is down for too long, writes are recorded no more: the primary goes on alone,
//! as it did before, and its disk does not fill up.

use crate::error::Error;
use crate::exact::core::Core;
use crate::exact::options::BACKLOG_COUNTED;
use crate::exact::{metrics, moves};
use crate::stages::stage::Side;

/// Stops the recording where the outbox has more records than it may. `counted`: up to [`BACKLOG_COUNTED`].
pub(crate) async fn judge(core: &Core, primary: Side, counted: u64) -> Result<(), Error> {
    let most = core.options.outbox_max;
    if counted < most.min(BACKLOG_COUNTED) {
        return Ok(());
    }
    let left = match most > counted {
        true => core.port(primary).left(most).await?,
        false => counted,
    };
    let rows = core.rows().await?;
    let row = rows.of(primary);
    if left < most || !(row.primary && row.open && row.recording) {
        return Ok(());
    }
    moves::record(core, primary, false).await?;
    metrics::outbox_full(&core.name);
    let (migration, side) = (&*core.name, primary);
    tracing::error!(
        migration,
        %side,
        most,
        "the outbox is full: writes are recorded no more, and what was recorded is thrown away; see that the other side \
         is up, then advance or roll back to the stage at which writes are recorded, and copy again"
    );
    Ok(())
}
