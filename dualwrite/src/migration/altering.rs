//! Statements that change the schema beside live traffic: each waits for its lock a short time, and is tried again.
//! Whoever waits for such a lock makes every later write of the table wait behind it.

use std::time::Duration;

use crate::clock;
use crate::control::Control;
use crate::control::contracts::AlterLimits;
use crate::copier::joined::Joined;
use crate::doctor::in_the_way::{WayLimits, in_the_way};
use crate::error::{Error, ErrorKind};

/// The first pause before another attempt; each next one is twice as long.
const BACKOFF: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// How long a statement about the trigger waits for its lock, may take, and is tried.
const TRIGGER_LIMITS: AlterLimits =
    AlterLimits { lock: Duration::from_secs(1), statement: Duration::from_secs(30) };
const TRIGGER_ATTEMPTS: u32 = 5;

/// By how much a replica may be behind before a statement is begun that it has to repeat.
pub(crate) const LAG_MAX: Duration = Duration::from_secs(10);

/// How a statement is run that changes the schema.
#[derive(Clone, Copy)]
pub(crate) struct Altering<'a> {
    pub(crate) control: &'a dyn Control,
    /// The tables that it locks, as they are declared.
    pub(crate) tables: &'a [String],
    pub(crate) limits: AlterLimits,
    /// How often it is tried.
    pub(crate) attempts: u32,
    /// What to do in the end.
    pub(crate) next: &'a str,
}

impl Altering<'_> {
    /// Runs one statement, again while others hold its lock. It is not begun where the server shows somebody who would
    /// keep it waiting, or a replica that is behind: whoever waits makes all others wait.
    pub(crate) async fn run(&self, statement: &str) -> Result<(), Error> {
        let (mut pause, mut seen) = (BACKOFF, Vec::new());
        for attempt in 1..=self.attempts {
            seen = stands_in_the_way(self.control, self.tables, self.limits.lock).await;
            if seen.is_empty() && self.control.alter(statement, self.limits).await? {
                return Ok(());
            }
            if attempt < self.attempts {
                clock::sleep(clock::jittered(pause, u64::from(attempt) * 7_919)).await;
                pause = (pause * 2).min(BACKOFF_MAX);
            }
        }
        Err(self.late(&seen))
    }

    fn late(&self, seen: &[String]) -> Error {
        let Self { limits, attempts, next, .. } = self;
        let message = match seen {
            [] => format!(
                "a statement did not get its lock within {:?}, {attempts} times; look for a transaction that is held \
                 open, and {next}",
                limits.lock
            ),
            seen => format!(
                "a statement was not begun, for it would have waited ({attempts} times): {}; wait until that is over, \
                 and {next}",
                seen.join(", ")
            ),
        };
        Error::new(ErrorKind::Timeout, message)
    }
}

/// Who is in the way of a statement on these tables, as far as the server says.
pub(crate) async fn stands_in_the_way(
    control: &dyn Control,
    tables: &[String],
    lock: Duration,
) -> Vec<String> {
    match control.in_use(tables).await {
        Ok(seen) => in_the_way(&seen, WayLimits { lock, lag: LAG_MAX }),
        Err(error) => {
            tracing::debug!(%error, "nobody could be asked who uses a table");
            Vec::new()
        }
    }
}

/// Makes, or removes, the trigger that records writes of others. What was done before an error is done again without
/// harm.
pub(crate) async fn set_trigger(shared: &Joined, create: bool) -> Result<(), Error> {
    let next = if create { "install the trigger again" } else { "remove the trigger again" };
    let altering = Altering {
        control: &*shared.control,
        tables: &[],
        limits: TRIGGER_LIMITS,
        attempts: TRIGGER_ATTEMPTS,
        next,
    };
    for statement in shared.copier()?.triggers(&shared.name, create).await? {
        altering.run(&statement).await.map_err(|error| error.of(&shared.name))?;
    }
    Ok(())
}
