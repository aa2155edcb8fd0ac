//! Whose turn it is to write. SQLite has one writer at a time and no queue: who finds the lock taken sleeps, longer each
//! time, and a service that writes without a pause always takes it first. So transactions of this process wait, for a short
//! while, as long as a statement of the control tables waits for the lock.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock;

/// The longest that a transaction waits for the control tables.
const WAIT_MAX: Duration = Duration::from_millis(100);

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

    async fn make_way(&self) {
        if self.waiting.load(SeqCst) > 0 {
            // Whatever comes of it, SQLite decides then.
            let _ = clock::limit(WAIT_MAX, self.all_done()).await;
        }
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

/// Lets the control tables go first.
pub(super) async fn make_way() {
    TURNS.make_way().await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn transactions_wait_until_the_control_tables_have_the_lock() {
        let (turns, start) = (Arc::new(Turns::new()), tokio::time::Instant::now());
        turns.make_way().await;
        assert!(start.elapsed().is_zero(), "nobody waits");
        turns.begin();
        turns.begin();
        turns.make_way().await;
        assert_eq!(start.elapsed(), WAIT_MAX, "not for ever");
        let other = Arc::clone(&turns);
        let waits = tokio::spawn(async move { other.make_way().await });
        tokio::task::yield_now().await;
        turns.end();
        tokio::task::yield_now().await;
        assert!(!waits.is_finished(), "one is still waiting");
        turns.end();
        waits.await.unwrap();
        assert_eq!(start.elapsed(), WAIT_MAX);
    }
}
