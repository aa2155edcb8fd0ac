//! The background task of a runtime: keeps the positions fresh, and starts what is due beside it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Inner, repairing, watching};
use crate::clock;
use crate::runtime::steered::steer_all;

/// It wakes at least so often, to see whether something was drained that others wait for. That asks no database.
const WAKE: Duration = Duration::from_millis(250);

/// Ends the operations of a runtime whose background task has ended, by whatever: a shutdown, a runtime that was
/// dropped, or tokio's that is going away.
struct Ended {
    inner: Weak<Inner>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.upgrade() {
            inner.close();
        }
    }
}

/// The background task: looks when told to, or after a jittered pause.
pub(super) async fn maintain(inner: Weak<Inner>, poll: Duration, stop: CancellationToken) {
    let _ended = Ended { inner: Weak::clone(&inner) };
    let mut draw = 0_u64;
    let mut beside = Beside::default();
    let mut asked = false;
    loop {
        let Some(inner) = inner.upgrade() else { return };
        if stop.is_cancelled() {
            return;
        }
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(inner.clock.now() | 1);
        // A round is never dropped halfway: a heartbeat that is already on its way would bring the
        // instance back after it has left.
        if let Err(error) = inner.round(clock::jittered(poll, draw >> 32), asked).await {
            inner.count_control_failure();
            tracing::warn!(%error, "the control tables could not be reached; trying again");
        }
        beside.start(&inner, poll);
        inner.control.trim();
        inner.trim_stores();
        let wake = Arc::clone(&inner.wake);
        drop(inner); // a runtime that was dropped must not be kept alive by its own sleep
        asked = tokio::select! {
            () = stop.cancelled() => return,
            () = wake.notified() => true,
            () = clock::sleep(poll.min(WAKE)) => false,
        };
    }
}

/// What runs beside the rounds, so that the lease does not run out over it: a repair may be long, or wait for a row
/// that somebody has locked.
#[derive(Default)]
struct Beside {
    repairing: Option<JoinHandle<()>>,
    steering: Option<JoinHandle<()>>,
    watching: Option<JoinHandle<()>>,
}

impl Beside {
    fn start(&mut self, inner: &Arc<Inner>, poll: Duration) {
        let closing = &inner.closing;
        if closing.is_cancelled() {
            return;
        }
        let is_over =
            |task: &Option<JoinHandle<()>>| task.as_ref().is_none_or(JoinHandle::is_finished);
        if inner.wants_repair() && is_over(&self.repairing) {
            let repair = repairing::repair_all(Arc::clone(inner), closing.clone());
            self.repairing = Some(inner.spawn(repair));
        }
        inner.run_started(closing);
        inner.do_jobs(closing);
        if inner.is_watch_due() && is_over(&self.watching) {
            self.watching =
                Some(inner.spawn(watching::watch_all(Arc::clone(inner), closing.clone())));
        }
        if inner.is_steered() && is_over(&self.steering) {
            self.steering = Some(inner.spawn(steer_all(Arc::clone(inner), poll, closing.clone())));
        }
    }
}
