//! What goes on beside the callers: the outbox is applied, and a hand-over that was left is taken up.

use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::error::Error;
use crate::exact::core::Core;
use crate::exact::{over, relay};

/// The longest pause after rounds that failed; each failure doubles it.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Until the handle is closed.
pub(crate) async fn run(core: Arc<Core>) {
    let mut pause = core.options.poll;
    loop {
        tokio::select! {
            biased;
            () = core.closing.cancelled() => return,
            () = core.wake.notified(), if pause == core.options.poll => {}
            () = clock::sleep(pause) => {}
        }
        if core.death.is_dead() {
            return;
        }
        let done = tokio::select! {
            biased;
            () = core.closing.cancelled() => return,
            done = round(&core) => done,
        };
        pause = match done {
            Ok(()) => core.options.poll,
            Err(error) => {
                let migration = &*core.name;
                tracing::warn!(migration, %error, "the outbox is applied later");
                PAUSE_MAX.min(pause * 2)
            }
        };
    }
}

async fn round(core: &Core) -> Result<(), Error> {
    if over::take_up(core).await? {
        return Ok(());
    }
    let rows = core.rows().await?;
    match rows.primary() {
        Some(side) if rows.of(side).recording => drop(relay::round(core, side).await?),
        _ => {}
    }
    Ok(())
}
