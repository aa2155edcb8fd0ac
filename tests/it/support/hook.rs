//! A place in the code of a test's service where it can be held, in the same process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tokio::sync::Notify;

/// Holds the next one that comes by, where it was told to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hook(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    armed: AtomicBool,
    reached: Notify,
    go: Notify,
}

impl Hook {
    /// Holds the next one.
    pub(crate) fn hold(&self) {
        self.0.armed.store(true, SeqCst);
    }

    /// Waits until one is held.
    pub(crate) async fn reached(&self) {
        self.0.reached.notified().await;
    }

    /// Lets it go on.
    pub(crate) fn let_go(&self) {
        self.0.go.notify_one();
    }

    /// The place itself.
    pub(crate) async fn pass(&self) {
        if self.0.armed.swap(false, SeqCst) {
            self.0.reached.notify_one();
            self.0.go.notified().await;
        }
    }
}
