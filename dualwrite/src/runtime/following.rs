//! Beside the rounds of the runtime: runs the backfills that somebody started, for any instance to run.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Inner;
use crate::clock;
use crate::control::BackfillProgress;
use crate::control::tasks::StartedBackfill;
use crate::error::{Error, ErrorKind};
use crate::jobs::Backfill;
use crate::shared::Shared;
use crate::stage::Side;

/// The first pause after an error that may pass; each next one is twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

impl Inner {
    /// Takes what nobody runs, where this process can run it: one task a migration.
    pub(super) fn run_started(&self, stop: &CancellationToken) {
        for shared in self.migrations() {
            let wanted = shared.is_started() && shared.copier.is_some();
            if wanted && !shared.following.swap(true, SeqCst) {
                let (lease, stop) = (self.lease_length(), stop.clone());
                let following = Following(shared);
                self.tasks.spawn(async move { follow(&following.0, lease, &stop).await });
            }
        }
    }
}

/// Until it is dropped, also by a copy function that panics.
struct Following(Arc<Shared>);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.following.store(false, SeqCst);
    }
}

async fn follow(shared: &Arc<Shared>, lease: Duration, stop: &CancellationToken) {
    let tasks = match shared.control.tasks(&shared.name).await {
        Ok(tasks) => tasks,
        Err(error) => {
            tracing::warn!(migration = &*shared.name, %error, "a started backfill waits");
            return;
        }
    };
    for task in tasks {
        if let Err(error) = run_under_lease(shared, &task, lease, stop).await {
            let (migration, side) = (&*shared.name, task.side);
            tracing::warn!(migration, %side, %error, "a started backfill waits");
        }
        // What was known of them is old by now.
        shared.started.store(false, Relaxed);
    }
}

/// Runs a task if it is ours, until it ends, is cancelled, or somebody else has it.
async fn run_under_lease(
    shared: &Shared,
    task: &StartedBackfill,
    lease: Duration,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let (name, side, instance) = (&*shared.name, task.side, &*shared.instance);
    let can = side == Side::New || shared.terms().can_copy_back;
    if !can || !shared.control.take_task(name, side, instance, lease).await? {
        return Ok(());
    }
    tracing::info!(migration = name, %side, by = task.actor, "runs a backfill that was started");
    tokio::select! {
        () = stop.cancelled() => shared.control.release_task(name, side, instance).await,
        ended = run(shared, task) => ended,
        () = keep(shared, side, lease) => {
            tracing::info!(migration = name, %side, "a started backfill is no longer ours to run");
            Ok(())
        }
    }
}

/// Ends where the lease is lost: the task was cancelled, or somebody else runs it.
async fn keep(shared: &Shared, side: Side, lease: Duration) {
    loop {
        clock::sleep(lease / 3).await;
        // What cannot be asked runs out by itself, as the range of a worker does.
        let kept = shared.control.take_task(&shared.name, side, &shared.instance, lease).await;
        if matches!(kept, Ok(false)) {
            return;
        }
    }
}

async fn run(shared: &Shared, task: &StartedBackfill) -> Result<(), Error> {
    let (name, side, instance) = (&*shared.name, task.side, &*shared.instance);
    let mut pause = PAUSE_MIN;
    loop {
        match backfill(shared, task).await {
            Ok(_) => return shared.control.end_task(name, side, instance).await,
            Err(error) => {
                let halted = !may_pass(error.kind());
                tracing::warn!(migration = name, %side, %error, halted, "a started backfill failed");
                let said = error.to_string();
                shared.control.tell_task(name, side, instance, &said, halted).await?;
                if halted {
                    return Ok(());
                }
            }
        }
        clock::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn backfill(shared: &Shared, task: &StartedBackfill) -> Result<BackfillProgress, Error> {
    let mut backfill = Backfill::new(shared).workers(task.workers);
    if task.side == Side::Old {
        backfill = backfill.reverse();
    }
    if let Some(rate) = task.rate {
        backfill = backfill.rate(rate);
    }
    backfill.run().await
}

/// Whether it may go on by itself: the stage may come, or the database.
fn may_pass(kind: ErrorKind) -> bool {
    !matches!(
        kind,
        ErrorKind::Halted | ErrorKind::Unsupported | ErrorKind::WrongKey | ErrorKind::InvalidInput
    )
}
