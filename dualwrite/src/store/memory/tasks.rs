//! Started backfills in memory.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::control::tasks::{NewTask, StartedBackfill, Tasks};
use crate::control::traffic::Traffic;
use crate::error::Error;
use crate::moment;
use crate::stages::stage::Side;
use crate::store::memory::{Entry, MemoryControl, done};

/// A task, and until when its runner has it.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    task: StartedBackfill,
    until: u64,
}

impl MemoryControl {
    fn with_tasks<T>(
        &self,
        name: &str,
        act: impl FnOnce(&mut Vec<Stored>, u64) -> T,
    ) -> Result<T, Error> {
        let now = self.clock.now();
        self.with(name, |entry| {
            let answer = act(&mut entry.tasks, now);
            entry.release_tasks(now);
            answer
        })
    }

    /// Changes the task that this instance runs.
    fn with_own<'a>(
        &'a self,
        name: &str,
        side: Side,
        instance: &str,
        act: impl FnMut(&mut Stored),
    ) -> BoxFuture<'a, Result<(), Error>> {
        done(self.with_tasks(name, |tasks, _| {
            let own = |stored: &&mut Stored| stored.task.runner.as_deref() == Some(instance);
            tasks.iter_mut().filter(own).filter(|stored| stored.task.side == side).for_each(act);
        }))
    }
}

impl Entry {
    pub(super) fn release_tasks(&mut self, now: u64) {
        let is_free = |stored: &Stored| !stored.task.halted && stored.until <= now;
        self.record.started = self.tasks.iter().any(is_free);
    }

    pub(super) fn leave_tasks(&mut self, instance: &str) {
        for stored in &mut self.tasks {
            if stored.task.runner.as_deref() == Some(instance) {
                stored.until = 0;
            }
        }
    }
}

impl Tasks for MemoryControl {
    fn start_task<'a>(
        &'a self,
        name: &'a str,
        task: &'a NewTask,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        let now = self.clock.now();
        done(self.with(name, |entry| {
            let tasks = &mut entry.tasks;
            tasks.retain(|stored| stored.task.side != task.side || !stored.task.halted);
            if tasks.iter().any(|stored| stored.task.side == task.side) {
                return false;
            }
            let audit = task.audit();
            let task = StartedBackfill {
                side: task.side,
                workers: task.workers,
                rate: task.rate,
                stop_after_failures: task.stop_after_failures,
                actor: task.actor.clone(),
                reason: task.reason.clone(),
                at: moment::from_nanos(now),
                runner: None,
                waiting: None,
                halted: false,
            };
            tasks.push(Stored { task, until: 0 });
            entry.record_command(&audit, now);
            entry.release_tasks(now);
            true
        }))
    }

    fn tasks<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<StartedBackfill>, Error>> {
        done(self.with_tasks(name, |tasks, now| {
            let shown = |stored: &Stored| {
                let runner = stored.task.runner.clone().filter(|_| stored.until > now);
                StartedBackfill { runner, ..stored.task.clone() }
            };
            tasks.iter().map(shown).collect()
        }))
    }

    fn take_task<'a>(
        &'a self,
        name: &'a str,
        side: Side,
        instance: &'a str,
        lease: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        done(self.with_tasks(name, |tasks, now| {
            let is_free = |stored: &&mut Stored| {
                let own = stored.task.runner.as_deref() == Some(instance);
                stored.task.side == side && !stored.task.halted && (own || stored.until <= now)
            };
            let Some(stored) = tasks.iter_mut().find(is_free) else { return false };
            stored.task.runner = Some(instance.to_owned());
            let lease = u64::try_from(lease.as_nanos()).unwrap_or(u64::MAX);
            stored.until = now.saturating_add(lease);
            true
        }))
    }

    fn report_task<'a>(
        &'a self,
        name: &'a str,
        side: Side,
        instance: &'a str,
        waiting: Option<&'a str>,
        halted: bool,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.with_own(name, side, instance, |stored| {
            (stored.task.waiting, stored.task.halted) = (waiting.map(str::to_owned), halted);
        })
    }

    fn end_task<'a>(
        &'a self,
        name: &'a str,
        side: Side,
        instance: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        done(self.with_tasks(name, |tasks, _| {
            tasks.retain(|stored| {
                stored.task.side != side || stored.task.runner.as_deref() != Some(instance)
            });
        }))
    }

    fn release_task<'a>(
        &'a self,
        name: &'a str,
        side: Side,
        instance: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.with_own(name, side, instance, |stored| stored.until = 0)
    }
}

impl Traffic for MemoryControl {}
