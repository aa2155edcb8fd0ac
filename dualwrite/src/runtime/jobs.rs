//! Beside the rounds of the runtime: does the jobs that operators started, for any instance to do. Each kind of job
//! runs beside the others, so that a long verification keeps no short job waiting.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Inner;
use crate::clock;
use crate::control::commands::{Job, JobKind};
use crate::copier::dead_letters::retry_all;
use crate::copier::joined::Joined;
use crate::error::{Error, ErrorKind};
use crate::key::EncodedKey;
use crate::migration::altering::set_trigger;
use crate::migration::jobs::Verification;
use crate::stages::stage::Side;
use crate::state::Shared;

/// How long an instance waits that could take none of the jobs.
const PAUSE: Duration = Duration::from_secs(1);

impl Inner {
    /// Takes jobs that nobody does, where this process can do them.
    pub(super) fn do_jobs(self: &Arc<Self>, stop: &CancellationToken) {
        for shared in self.migrations() {
            let wanted = shared.is_started() && shared.copier.is_some();
            if wanted && !shared.background.finding_jobs.swap(true, SeqCst) {
                let (lease, stop) = (self.lease_length(), stop.clone());
                let finder = Finder { shared, runtime: Arc::downgrade(self) };
                self.spawn(async move { finder.find(lease, &stop).await });
            }
        }
    }
}

/// Finds the jobs of one migration, until this is dropped.
struct Finder {
    shared: Arc<Joined>,
    runtime: Weak<Inner>,
}

impl Drop for Finder {
    fn drop(&mut self) {
        self.shared.background.finding_jobs.store(false, SeqCst);
    }
}

impl Finder {
    async fn find(&self, lease: Duration, stop: &CancellationToken) {
        let found = self.start_all(lease, stop).await.unwrap_or_else(|error| {
            tracing::warn!(migration = &*self.shared.name, %error, "jobs that were started wait");
            false
        });
        // What is not for this instance, or cannot be asked after, is not asked after in every round.
        if !found {
            let _ = clock::limit(PAUSE, stop.cancelled()).await;
        }
        self.shared.forget_started();
    }

    /// Takes those that nobody does. Answers whether there were any.
    async fn start_all(&self, lease: Duration, stop: &CancellationToken) -> Result<bool, Error> {
        let (shared, name) = (&self.shared, &*self.shared.name);
        let mut found = false;
        for job in shared.control.jobs(name).await? {
            let bit = job.kind.bit();
            if job.done || shared.background.jobs.fetch_or(bit, SeqCst) & bit != 0 {
                continue;
            }
            let (shared, runtime) = (Arc::clone(shared), Weak::clone(&self.runtime));
            let worker = Worker { shared, runtime, job };
            if worker.take(lease).await?
                && let Some(runtime) = self.runtime.upgrade()
            {
                found = true;
                let stop = stop.clone();
                runtime.spawn(async move { worker.run(lease, &stop).await });
            }
        }
        Ok(found)
    }
}

/// Does one job, until this is dropped.
struct Worker {
    shared: Arc<Joined>,
    runtime: Weak<Inner>,
    job: Job,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.background.jobs.fetch_and(!self.job.kind.bit(), SeqCst);
    }
}

impl Worker {
    /// Takes the job, or extends the lease on it.
    async fn take(&self, lease: Duration) -> Result<bool, Error> {
        let Shared { name, instance, control, .. } = &**self.shared;
        control.take_job(name, self.job.kind, instance, lease).await
    }

    async fn run(&self, lease: Duration, stop: &CancellationToken) {
        let (shared, kind) = (&*self.shared, self.job.kind);
        let name = &*shared.name;
        tracing::info!(migration = name, %kind, by = self.job.actor, "does a job that was started");
        let done = tokio::select! {
            biased;
            // Its lease runs out, and another instance takes it.
            () = stop.cancelled() => return,
            done = self.work() => done,
            () = self.keep(lease) => return,
        };
        let (failed, answer) = match done {
            Ok(answer) => (false, answer),
            Err(error) if error.kind() == ErrorKind::ShuttingDown => return,
            Err(error) => {
                tracing::warn!(migration = name, %kind, %error, "a job that was started failed");
                (true, error.to_string())
            }
        };
        if let Err(error) =
            shared.control.end_job(name, kind, &shared.instance, failed, &answer).await
        {
            tracing::warn!(migration = name, %kind, %error, "the end of a job could not be stored; it is done again");
        }
    }

    /// Ends where the lease is lost, because somebody else does the job, and where the runtime was dropped.
    async fn keep(&self, lease: Duration) {
        loop {
            clock::sleep(lease / 3).await;
            // What cannot be asked runs out by itself.
            if matches!(self.take(lease).await, Ok(false)) || self.runtime.strong_count() == 0 {
                return;
            }
        }
    }

    /// Does it, and answers with what it came to.
    async fn work(&self) -> Result<String, Error> {
        let shared = &*self.shared;
        match self.job.kind {
            JobKind::Verify => {
                let report = Verification::new(shared).run().await?;
                let verdict = if report.is_clean() { "clean" } else { "the sides differ" };
                let (compared, differing) = (report.compared, report.differing);
                Ok(format!("{verdict}: {compared} keys compared, {differing} differ"))
            }
            JobKind::Repair => {
                let report = Verification::new(shared).repair().run().await?;
                let (copied, removed, failed) = (report.copied, report.removed, report.failed);
                Ok(format!("{copied} keys copied, {removed} removed, {failed} failed"))
            }
            JobKind::DeadLetters => {
                let copied = shared.operating(retry_all(shared)).await?;
                shared.refresh().await?;
                Ok(format!("{copied} dead letters were copied, and are gone"))
            }
            JobKind::Copy => self.copy().await,
            JobKind::Sequences => {
                let statements = shared.copier()?.advance_sequences(shared).await?;
                Ok(match statements.is_empty() {
                    true => "no sequence was behind".to_owned(),
                    false => format!("done: {}", statements.join("; ")),
                })
            }
            JobKind::TriggerInstall => {
                self.set_trigger(true).await?;
                Ok("the trigger is there: a write past this library is seen from now on".to_owned())
            }
            JobKind::TriggerRemove => {
                self.set_trigger(false).await?;
                Ok("the trigger is gone: a write past this library is seen no more".to_owned())
            }
            JobKind::Catalogue => {
                let found = shared.run_preflight().await?;
                if let Some(runtime) = self.runtime.upgrade() {
                    runtime.send_heartbeat().await?; // what this instance declares is stored with it
                }
                let refused = found.refusals().count();
                Ok(format!("{} findings, {refused} of them refuse", found.findings.len()))
            }
            JobKind::Move | JobKind::CopyAll | JobKind::Waive | JobKind::Maintenance => {
                let message = "this is a job of a migration in exact mode";
                Err(Error::new(ErrorKind::Unsupported, message).of(&shared.name))
            }
        }
    }

    async fn set_trigger(&self, create: bool) -> Result<(), Error> {
        let shared = &*self.shared;
        set_trigger(shared, create).await?;
        shared.copier()?.find_hazards(shared).await
    }

    async fn copy(&self) -> Result<String, Error> {
        let (shared, name) = (&*self.shared, &*self.shared.name);
        let missing = || Error::new(ErrorKind::InvalidInput, "the key is missing").of(name);
        let key = EncodedKey(self.job.key.clone().ok_or_else(missing)?);
        let copying = shared.copier()?.copy_key(shared, &key, Side::New);
        if shared.operating(copying).await?.is_none() {
            let message = "the present stage copies nothing to the new side; advance it first";
            return Err(Error::new(ErrorKind::Conflict, message).of(name));
        }
        shared.control.remove_dead_letter(name, Side::New, &key, None).await?;
        Ok("the key was copied".to_owned())
    }
}
