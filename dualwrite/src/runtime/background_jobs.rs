//! Beside the rounds of the runtime: runs the backfills that somebody started, for any instance to run.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Inner;
use crate::clock;
use crate::control::BackfillProgress;
use crate::control::tasks::StartedBackfill;
use crate::copier::joined::Joined;
use crate::error::{Error, ErrorKind};
use crate::migration::jobs::Backfill;
use crate::stages::stage::Side;

/// The first pause after an error that may pass; each next one is twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

impl Inner {
    /// Takes what nobody runs, where this process can run it: one task a migration.
    pub(super) fn run_started(self: &Arc<Self>, stop: &CancellationToken) {
        for shared in self.migrations() {
            let wanted = shared.is_started() && shared.copier.is_some();
            if wanted && !shared.background.following.swap(true, SeqCst) {
                let (lease, stop) = (self.lease_length(), stop.clone());
                let following = BackgroundJobs { shared, runtime: Arc::downgrade(self) };
                self.spawn(async move { following.follow(lease, &stop).await });
            }
        }
    }
}

/// A migration that is looked after, until this is dropped, also by a copy function that panics.
struct BackgroundJobs {
    shared: Arc<Joined>,
    runtime: Weak<Inner>,
}

impl Drop for BackgroundJobs {
    fn drop(&mut self) {
        self.shared.background.following.store(false, SeqCst);
    }
}

impl BackgroundJobs {
    async fn follow(&self, lease: Duration, stop: &CancellationToken) {
        let (shared, name) = (&*self.shared, &*self.shared.name);
        let done = async {
            let mut ran = false;
            for task in shared.control.tasks(name).await? {
                ran |= self.run_under_lease(&task, lease, stop).await?;
            }
            Ok::<_, Error>(ran)
        };
        let ran = done.await.unwrap_or_else(|error| {
            tracing::warn!(migration = name, %error, "a started backfill waits");
            false
        });
        // What is not for this instance, or cannot be asked after, is not asked after in every round.
        if !ran {
            let _ = clock::limit(PAUSE_MIN, stop.cancelled()).await;
        }
        shared.forget_started();
    }

    /// Runs a task if it is ours, until it ends, is cancelled, or somebody else has it. Answers whether it was.
    async fn run_under_lease(
        &self,
        task: &StartedBackfill,
        lease: Duration,
        stop: &CancellationToken,
    ) -> Result<bool, Error> {
        let shared = &*self.shared;
        let (name, side, instance) = (&*shared.name, task.side, &*shared.instance);
        let can = side == Side::New || shared.terms().can_copy_back;
        if task.halted || !can || !shared.control.take_task(name, side, instance, lease).await? {
            return Ok(false);
        }
        tracing::info!(migration = name, %side, by = task.actor, "runs a backfill that was started");
        tokio::select! {
            biased;
            () = stop.cancelled() => shared.control.release_task(name, side, instance).await?,
            ended = run(shared, side) => ended?,
            () = self.keep(side, lease) => {
                tracing::info!(migration = name, %side, "a started backfill is no longer run here");
            }
        }
        Ok(true)
    }

    /// Ends where the lease is lost, because the task was cancelled or somebody else runs it, and where the
    /// runtime was dropped.
    async fn keep(&self, side: Side, lease: Duration) {
        let shared = &*self.shared;
        loop {
            clock::sleep(lease / 3).await;
            // What cannot be asked runs out by itself, as the range of a worker does.
            let kept = shared.control.take_task(&shared.name, side, &shared.instance, lease).await;
            if matches!(kept, Ok(false)) || self.runtime.strong_count() == 0 {
                return;
            }
        }
    }
}

async fn run(shared: &Joined, side: Side) -> Result<(), Error> {
    let (name, instance) = (&*shared.name, &*shared.instance);
    let mut pause = PAUSE_MIN;
    loop {
        // Its rate may have changed while it waited.
        let tasks = shared.control.tasks(name).await?;
        let Some(task) = tasks.iter().find(|task| task.side == side) else { return Ok(()) };
        if task.waiting.is_some() {
            shared.control.report_task(name, side, instance, None, false).await?;
        }
        match backfill(shared, task).await {
            Ok(_) => return shared.control.end_task(name, side, instance).await,
            // It is left to another instance.
            Err(error) if error.kind() == ErrorKind::ShuttingDown => {
                return shared.control.release_task(name, side, instance).await;
            }
            Err(error) => {
                let halted = !may_pass(error.kind());
                tracing::warn!(migration = name, %side, %error, halted, "a started backfill failed");
                let said = error.to_string();
                shared.control.report_task(name, side, instance, Some(&said), halted).await?;
                if halted {
                    return Ok(());
                }
            }
        }
        clock::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn backfill(shared: &Joined, task: &StartedBackfill) -> Result<BackfillProgress, Error> {
    let mut backfill =
        Backfill::new(shared).workers(task.workers).stop_after_failures(task.stop_after_failures);
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
