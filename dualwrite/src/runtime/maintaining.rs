//! The background task of a runtime: keeps the positions fresh, and starts what is due beside it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Inner, repairing, watching};
use crate::clock;
use crate::control::Watch;
use crate::error::Error;
use crate::runtime::steering::steer_all;

/// The background task: looks when told to, or after a jittered pause.
pub(super) async fn maintain(inner: Weak<Inner>, poll: Duration, stop: CancellationToken) {
    let mut watch: Option<Box<dyn Watch>> = None;
    let mut told = Vec::new();
    let mut draw = 0_u64;
    let mut repairing: Option<JoinHandle<()>> = None;
    let mut steering: Option<JoinHandle<()>> = None;
    let mut watching: Option<JoinHandle<()>> = None;
    loop {
        let Some(inner) = inner.upgrade() else { return };
        if stop.is_cancelled() {
            return;
        }
        if watch.is_none() {
            watch = inner.control.watch().await.unwrap_or_default();
        }
        // A round is never dropped halfway: a heartbeat that is already on its way would bring the
        // instance back after it has left.
        if let Err(error) = inner.round(&mut told).await {
            inner.count_control_failure();
            tracing::warn!(%error, "the control tables could not be reached; trying again");
        }
        // Beside the rounds: a repair may be long, or wait for a row that somebody has locked, and the
        // lease must not run out over that.
        if inner.wants_repair() && repairing.as_ref().is_none_or(JoinHandle::is_finished) {
            repairing =
                Some(inner.tasks.spawn(repairing::repair_all(Arc::clone(&inner), stop.clone())));
        }
        inner.run_started(&stop);
        if inner.is_watch_due() && watching.as_ref().is_none_or(JoinHandle::is_finished) {
            watching =
                Some(inner.tasks.spawn(watching::watch_all(Arc::clone(&inner), stop.clone())));
        }
        if inner.is_steered() && steering.as_ref().is_none_or(JoinHandle::is_finished) {
            steering = Some(inner.tasks.spawn(steer_all(Arc::clone(&inner), poll, stop.clone())));
        }
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(inner.clock.now() | 1);
        let pause = clock::jittered(poll, draw >> 32);
        let nudge = Arc::clone(&inner.nudge);
        drop(inner); // a runtime that was dropped must not be kept alive by its own sleep
        let lost = tokio::select! {
            () = stop.cancelled() => return,
            () = nudge.notified() => false,
            () = clock::sleep(pause) => false,
            heard = hear(&mut watch) => heard.is_err(),
        };
        if lost {
            watch = None;
        }
    }
}

async fn hear(watch: &mut Option<Box<dyn Watch>>) -> Result<(), Error> {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}
