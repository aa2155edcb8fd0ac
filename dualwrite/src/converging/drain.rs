//! A move that changes where some key is written: has new writes wait, and waits for those in flight.

use std::time::Duration;

use crate::clock;
use crate::converging::repair::round;
use crate::converging::two::Two;
use crate::error::Error;
use crate::stages::converging::changes_writes;
use crate::stages::moves::{Move, destination};
use crate::state::Shared;

/// How long one attempt of a move has new writes wait.
pub(crate) const DRAIN: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(10);

/// Waits until nothing is in flight and no key is left to be copied, for at most [`DRAIN`]. Whether that is so is judged by
/// the move itself. Returns whether new writes wait now.
pub(crate) async fn drain(shared: &Shared, two: &Two, requested: Move) -> Result<bool, Error> {
    let position = shared.refresh().await?.position;
    let Ok(to) = destination(position, shared.generation(), requested) else { return Ok(false) };
    if !changes_writes(position, position.with_stage(to.stage).with_ramp(to.ramp)) {
        return Ok(false);
    }
    // Most keys that wait are copied before writes have to. Those that failed wait for their time: a move that is tried
    // again and again must not hurry a store that is down.
    round(shared, two, false).await?;
    two.marks.drain(shared, Some(DRAIN)).await?;
    let start = shared.clock.now();
    loop {
        let left = two.marks.left(shared).await?;
        let waited = Duration::from_nanos(shared.clock.now().saturating_sub(start));
        if left == (0, 0) || waited + POLL >= DRAIN {
            return Ok(true);
        }
        if left.1 > 0 && round(shared, two, false).await?.failure.is_some() {
            return Ok(true); // the move is refused, and says what is left
        }
        clock::sleep(POLL).await;
    }
}

/// Lets new writes go on.
pub(crate) async fn reopen(shared: &Shared, two: &Two) {
    if let Err(error) = two.marks.drain(shared, None).await {
        // They wait no longer than they were told to.
        tracing::debug!(migration = &*shared.name, %error, "writes go on when the drain ends");
    }
}
