//! Statements that change the schema beside live traffic: each waits for its lock a short time, and is tried again.
//! Whoever waits for such a lock makes every later write of the table wait behind it.

use std::time::Duration;

use crate::clock;
use crate::control::Control;
use crate::control::contracts::AlterLimits;
use crate::copier::joined::Joined;
use crate::error::{Error, ErrorKind};

/// The first pause before another attempt; each next one is twice as long.
const BACKOFF: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// How long a statement about the trigger waits for its lock, may take, and is tried.
const TRIGGER_LIMITS: AlterLimits =
    AlterLimits { lock: Duration::from_secs(1), statement: Duration::from_secs(30) };
const TRIGGER_ATTEMPTS: u32 = 5;

/// Runs one statement, again while others hold its lock. `next` is what to do in the end.
pub(crate) async fn alter(
    control: &dyn Control,
    statement: &str,
    limits: AlterLimits,
    attempts: u32,
    next: &str,
) -> Result<(), Error> {
    let mut pause = BACKOFF;
    for attempt in 1..=attempts {
        if control.alter(statement, limits).await? {
            return Ok(());
        }
        if attempt < attempts {
            clock::sleep(clock::jittered(pause, u64::from(attempt) * 7_919)).await;
            pause = (pause * 2).min(BACKOFF_MAX);
        }
    }
    let message = format!(
        "a statement did not get its lock within {:?}, {attempts} times; look for a transaction that is held open, and \
         {next}",
        limits.lock
    );
    Err(Error::new(ErrorKind::Timeout, message))
}

/// Makes, or removes, the trigger that records writes of others. What was done before an error is done again without
/// harm.
pub(crate) async fn set_trigger(shared: &Joined, create: bool) -> Result<(), Error> {
    let next = if create { "install the trigger again" } else { "remove the trigger again" };
    for statement in shared.copier()?.triggers(&shared.name, create).await? {
        let altered =
            alter(&*shared.control, &statement, TRIGGER_LIMITS, TRIGGER_ATTEMPTS, next).await;
        altered.map_err(|error| error.of(&shared.name))?;
    }
    Ok(())
}
