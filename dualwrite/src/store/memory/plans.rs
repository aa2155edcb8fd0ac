//! Rollouts and flags in memory.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::control::plans::{NewPlan, Plans, under_way};
use crate::error::Error;
use crate::moment;
use crate::rollout::command::{NewRolloutCommand, RolloutCommand};
use crate::rollout::state::{PlanMove, PlanRow, PlanUpdate, RolloutState};
use crate::stages::position::Epoch;
use crate::store::memory::{Entry, MemoryControl, done};

const HOUR_NS: u64 = 3_600_000_000_000;

/// The row, with times instead of durations.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    row: PlanRow,
    since: u64,
    led_until: u64,
}

impl Stored {
    fn at(&self, now: u64) -> PlanRow {
        PlanRow {
            at_step: Duration::from_nanos(now.saturating_sub(self.since)),
            led: Duration::from_nanos(self.led_until.saturating_sub(now)),
            hour: (now / HOUR_NS % 24) as u8,
            ..self.row.clone()
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.row.state == RolloutState::Running
    }

    pub(super) fn fits(&self, step: &PlanMove) -> bool {
        let led = self.row.leader.as_deref() == Some(&step.leader);
        self.is_running() && self.row.version == step.version && led
    }

    pub(super) fn take_step(&mut self, step: &PlanMove, epoch: Epoch, now: u64) {
        let row = &mut self.row;
        (row.version, row.step, row.epoch) = (row.version + 1, step.step, epoch);
        (row.soak_skipped, row.waiting) = (false, None);
        self.since = now;
    }

    pub(super) fn leave(&mut self, instance: &str) {
        if self.row.leader.as_deref() == Some(instance) {
            self.row.leader = None;
        }
    }
}

impl MemoryControl {
    fn with_plan<T>(
        &self,
        name: &str,
        act: impl FnOnce(&mut Option<Stored>, u64) -> T,
    ) -> Result<T, Error> {
        let now = self.clock.now();
        self.with(name, |entry: &mut Entry| entry.act_on_plan(act, now))
    }

    /// The same; where it says that it changed something, the command is recorded.
    fn with_order(
        &self,
        name: &str,
        audit: &NewRolloutCommand,
        act: impl FnOnce(&mut Option<Stored>, u64) -> bool,
    ) -> Result<bool, Error> {
        let now = self.clock.now();
        self.with(name, |entry: &mut Entry| {
            let changed = entry.act_on_plan(act, now);
            if changed {
                entry.record_command(audit, now);
            }
            changed
        })
    }
}

impl Entry {
    fn act_on_plan<T>(&mut self, act: impl FnOnce(&mut Option<Stored>, u64) -> T, now: u64) -> T {
        let answer = act(&mut self.plan, now);
        self.record.planned = self.plan.as_ref().is_some_and(Stored::is_running);
        answer
    }

    pub(super) fn record_command(&mut self, audit: &NewRolloutCommand, now: u64) {
        self.commands.push(RolloutCommand {
            at: moment::from_nanos(now),
            kind: audit.kind,
            approval: audit.approval.clone(),
            detail: audit.detail.clone(),
            actor: audit.actor.clone(),
            reason: audit.reason.clone(),
            epoch: self.record.position.epoch,
        });
    }
}

impl Plans for MemoryControl {
    fn plan<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<PlanRow>, Error>> {
        done(self.with_plan(name, |plan, now| plan.as_ref().map(|stored| stored.at(now))))
    }

    fn start_plan<'a>(
        &'a self,
        name: &'a str,
        new: &'a NewPlan,
    ) -> BoxFuture<'a, Result<(), Error>> {
        let started = self.with_order(name, &new.audit, |plan, now| {
            if plan.as_ref().is_some_and(|stored| !stored.row.state.is_over()) {
                return false;
            }
            let row = PlanRow {
                version: plan.as_ref().map_or(1, |stored| stored.row.version + 1),
                text: new.text.clone(),
                state: RolloutState::Running,
                step: new.step,
                epoch: new.epoch,
                at_step: Duration::ZERO,
                soak_skipped: false,
                leader: None,
                led: Duration::ZERO,
                note: new.note.clone(),
                waiting: None,
                hour: 0,
            };
            *plan = Some(Stored { row, since: now, led_until: 0 });
            true
        });
        done(started.and_then(|started| if started { Ok(()) } else { Err(under_way(name)) }))
    }

    fn update_plan<'a>(
        &'a self,
        name: &'a str,
        version: u64,
        update: &'a PlanUpdate,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        done(self.with_order(name, &update.audit, |plan, now| {
            let stored = plan.as_mut().filter(|stored| stored.row.version == version);
            let Some(stored) = stored else { return false };
            let row = &mut stored.row;
            (row.version, row.state, row.step) = (row.version + 1, update.state, update.step);
            (row.epoch, row.soak_skipped) = (update.epoch, update.soak_skipped);
            (row.note, row.waiting) = (update.note.clone(), None);
            if update.restarts {
                stored.since = now;
            }
            true
        }))
    }

    fn recorded_commands<'a>(
        &'a self,
        name: &'a str,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<RolloutCommand>, Error>> {
        let newest = |entry: &mut Entry| {
            entry.commands.iter().rev().take(limit as usize).cloned().collect::<Vec<_>>()
        };
        done(self.with(name, newest))
    }

    fn lead_plan<'a>(
        &'a self,
        name: &'a str,
        instance: &'a str,
        lease: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        done(self.with_plan(name, |plan, now| {
            let Some(stored) = plan else { return false };
            let leader = stored.row.leader.as_deref();
            let free = leader.is_none_or(|leader| leader == instance) || stored.led_until < now;
            if free {
                stored.row.leader = Some(instance.to_owned());
                let lease = u64::try_from(lease.as_nanos()).unwrap_or(u64::MAX);
                stored.led_until = now.saturating_add(lease);
            }
            free
        }))
    }

    fn report_plan<'a>(
        &'a self,
        name: &'a str,
        instance: &'a str,
        waiting: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        done(self.with_plan(name, |plan, _| {
            let led = plan.as_mut().filter(|s| s.row.leader.as_deref() == Some(instance));
            if let Some(stored) = led {
                stored.row.waiting = Some(waiting.to_owned());
            }
        }))
    }

    fn flagged<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<(String, Epoch)>, Error>> {
        done(self.with(name, |entry| entry.flag.clone()))
    }

    fn note_flag<'a>(
        &'a self,
        name: &'a str,
        wanted: &'a str,
        epoch: Epoch,
    ) -> BoxFuture<'a, Result<(), Error>> {
        done(self.with(name, |entry| {
            if entry.record.position.epoch == epoch {
                entry.flag = Some((wanted.to_owned(), epoch));
            }
        }))
    }
}
