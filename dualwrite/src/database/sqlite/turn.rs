//! Whose turn it is to write. SQLite has one writer at a time and no queue: who finds the lock taken sleeps, longer each
//! time, and a service that writes without a pause always takes it first. So transactions of this process wait, for a short
//! while, as long as a statement of the control tables waits for the lock.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use tokio::sync::Notify;

use crate::clock;
use crate::database::sealed::CONTROL_TURN_WAIT;

/// Of all databases of this process: to wait for another one's costs little.
static TURNS: Turns = Turns::new();

#[derive(Debug)]
struct Turns {
    waiting: AtomicU32,
    done: Notify,
}

impl Turns {
    const fn new() -> Self {
        Self { waiting: AtomicU32::new(0), done: Notify::const_new() }
    }

    fn begin(&self) {
        self.waiting.fetch_add(1, SeqCst);
    }

    fn end(&self) {
        if self.waiting.fetch_sub(1, SeqCst) == 1 {
            self.done.notify_waiters();
        }
    }

    /// Answers `false` where the time was up before they had their turn. SQLite decides then who writes first.
    async fn make_way(&self) -> bool {
        self.waiting.load(SeqCst) == 0
            || clock::limit(CONTROL_TURN_WAIT, self.all_done()).await.is_ok()
    }

    async fn all_done(&self) {
        let done = self.done.notified();
        if self.waiting.load(SeqCst) > 0 {
            done.await;
        }
    }
}

/// A statement of the control tables that wants to write, until it has the lock or has given up.
#[derive(Debug)]
pub struct Waiting(());

impl Default for Waiting {
    fn default() -> Self {
        TURNS.begin();
        Self(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        TURNS.end();
    }
}

/// Lets the control tables go first; answers whether they had their turn.
pub(super) async fn make_way() -> bool {
    TURNS.make_way().await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn transactions_wait_until_the_control_tables_have_the_lock() {
        let (turns, start) = (Arc::new(Turns::new()), tokio::time::Instant::now());
        assert!(turns.make_way().await);
        assert!(start.elapsed().is_zero(), "nobody waits");
        turns.begin();
        turns.begin();
        assert!(!turns.make_way().await);
        assert_eq!(start.elapsed(), CONTROL_TURN_WAIT, "not for ever");
        let other = Arc::clone(&turns);
        let waits = tokio::spawn(async move { other.make_way().await });
        tokio::task::yield_now().await;
        turns.end();
        tokio::task::yield_now().await;
        assert!(!waits.is_finished(), "one is still waiting");
        turns.end();
        assert!(waits.await.unwrap());
        assert_eq!(start.elapsed(), CONTROL_TURN_WAIT);
    }
}
