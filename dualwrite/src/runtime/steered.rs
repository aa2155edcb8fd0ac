//! Moves every migration where its flags, kill switches and rollout want it, one look after the other.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::copier::joined::Joined;
use crate::database::Backend;
use crate::flags::source::FlagSource;
use crate::rollout::decide::Work;
use crate::rollout::health::{Health, HealthHook};
use crate::runtime::flags::{Reconciled, reconcile};
use crate::runtime::rollout::{Outcome, drive, work};
use crate::runtime::{Inner, Registration, RuntimeBuilder};

/// A rollout, and flags that are in their place, are looked at once in so many polls.
const POLLS: u32 = 4;

impl<DB: Backend> RuntimeBuilder<DB> {
    /// Adds a source of flags: [`FileFlags`](crate::runtime::FileFlags), [`EnvFlags`](crate::runtime::EnvFlags),
    /// [`OpenFeatureFlags`](crate::runtime::OpenFeatureFlags), or one of your own. The first that says where a
    /// migration shall be is listened to, and any may kill it. See the [guide](crate::guide::flags).
    pub fn flags(mut self, source: impl FlagSource) -> Self {
        self.steering.sources.push(Arc::new(source));
        self
    }

    /// Where the kill switch `DUALWRITE_KILL` is read; the process' environment by default. It holds names
    /// of migrations, separated by commas, or `all`.
    pub fn environment(
        mut self,
        lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.steering.environment = Arc::new(lookup);
        self
    }
}

impl<DB: Backend> Registration<'_, DB> {
    /// Asked before a rollout leaves a step, by the instance that leads it; where guards are registered,
    /// they are asked too, and the worse of both counts. Must not block.
    pub fn rollout_health(mut self, ask: impl Fn() -> Health + Send + Sync + 'static) -> Self {
        self.options.rollout_health = HealthHook::new(ask);
        self
    }
}

impl Inner {
    /// Whether some migration may have to be moved.
    pub(crate) fn is_steered(&self) -> bool {
        self.migrations().iter().any(|shared| self.steering.concerns(shared))
    }

    /// One look at every migration.
    pub(crate) async fn steer(&self, poll: Duration) {
        let migrations = self.migrations();
        join_all(migrations.iter().map(|shared| self.steering.ask(shared))).await;
        for shared in &migrations {
            if self.steering.kill(shared).await || !self.steering.is_due(shared, poll * POLLS) {
                continue;
            }
            if shared.flags().wanted.is_some() {
                match reconcile(shared).await {
                    Ok(Reconciled::Waits(waiting)) => shared.set_waiting(waiting),
                    Ok(Reconciled::Unheard) => self.steering.with(shared, |seen| seen.next = 0),
                    Err(error) => {
                        tracing::warn!(migration = &*shared.name, %error, "flags did not move it yet");
                    }
                }
            }
            if shared.is_planned() {
                self.follow(shared).await;
            }
        }
    }

    async fn follow(&self, shared: &Arc<Joined>) {
        let working = self.steering.working(shared).await;
        match drive(shared, self.lease_length(), working).await {
            Ok(Outcome::Work(kind)) => {
                let task =
                    self.tasks.spawn(work_until(Arc::clone(shared), kind, self.closing.clone()));
                self.steering.with(shared, |seen| seen.work = Some((kind, task)));
            }
            Ok(_) => {
                self.steering.with(shared, |seen| (seen.failed, seen.complaint) = (None, None))
            }
            Err(error) => {
                let complaint = Some(error.to_string());
                let known = self.steering.with(shared, |seen| {
                    std::mem::replace(&mut seen.complaint, complaint.clone()) == complaint
                });
                if !known {
                    tracing::warn!(migration = &*shared.name, %error, "the rollout was not looked at");
                }
            }
        }
    }
}

async fn work_until(
    shared: Arc<Joined>,
    kind: Work,
    stop: CancellationToken,
) -> Result<(), String> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        done = work(&shared, kind) => done,
    }
}

/// One look at everything, unless the runtime stops.
pub(crate) async fn steer_all(inner: Arc<Inner>, poll: Duration, stop: CancellationToken) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = inner.steer(poll) => {}
    }
}
