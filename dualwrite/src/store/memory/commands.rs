//! Commands of operators in memory: there is one process, and whoever asks has the migration itself.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::control::commands::{
    Commands, Compared, Job, JobKind, Open, RecordedChange, Taken, moved,
};
use crate::control::exact::{ExactMigrations, Named};
use crate::control::maintenance::MaintenanceChange;
use crate::control::tasks::Tasks as _;
use crate::control::{AuditEvent, Control as _};
use crate::error::{Closed, Error, ErrorKind};
use crate::moment;
use crate::rollout::command::NewRolloutCommand;
use crate::stages::hazard::Stopped;
use crate::stages::position::{Epoch, Position};
use crate::stages::stale::StaleKind;
use crate::store::memory::{Entry, MemoryControl, done};

impl Entry {
    fn maintain(
        &mut self,
        change: MaintenanceChange,
        audit: &NewRolloutCommand,
        now: u64,
    ) -> Taken {
        let at = moment::from_nanos(now);
        let found = self.record.maintenance.as_ref();
        let Some(maintenance) = change.applied(found, audit, at) else { return Taken::Already };
        let (before, from) = (self.record.mark(), self.record.position);
        let closed = maintenance.as_ref().map_or(Closed::Nothing, |found| found.closed);
        let epoch = Epoch(from.epoch.0 + 1);
        self.record.position = Position { epoch, closed, ..from };
        self.record.maintenance = maintenance;
        self.renew_token(before);
        self.events.push(AuditEvent {
            at,
            actor: audit.actor.clone(),
            reason: audit.reason.clone(),
            from_stage: from.stage,
            from_ramp: from.ramp,
            to_stage: from.stage,
            to_ramp: from.ramp,
            epoch,
            generation: self.record.generation,
            overridden: Vec::new(),
        });
        Taken::Done
    }

    fn carry_out(
        &mut self,
        change: &RecordedChange,
        audit: &NewRolloutCommand,
        now: u64,
    ) -> Result<Taken, Error> {
        Ok(match change {
            RecordedChange::Kill => {
                self.record.killed = Some(audit.actor.clone());
                Taken::Done
            }
            RecordedChange::Unkill => match self.record.killed.take() {
                Some(_) => Taken::Done,
                None => Taken::Already,
            },
            RecordedChange::Sample(of, share) => {
                let sample = &mut self.record.sample;
                let slot = match of {
                    Compared::Reads => &mut sample.reads,
                    Compared::Writes => &mut sample.writes,
                };
                match std::mem::replace(slot, *share) == *share {
                    true => Taken::Already,
                    false => Taken::Done,
                }
            }
            RecordedChange::Maintain(change) => self.maintain(*change, audit, now),
            RecordedChange::StopWriter(writer) => self.stop_writer(writer, audit, now),
            RecordedChange::Backfill(..) => Taken::Nothing,
            _ => {
                let message = "in memory there is no operator beside the process";
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        })
    }

    fn stop_writer(&mut self, writer: &str, audit: &NewRolloutCommand, now: u64) -> Taken {
        let mut writers = self.hazards.iter_mut().filter(|one| one.kind.is_writer());
        let Some(found) = writers.find(|one| one.name == writer) else { return Taken::Nothing };
        if found.stopped.is_some() {
            return Taken::Already;
        }
        let at = moment::from_nanos(now);
        let (actor, reason) = (audit.actor.clone(), audit.reason.clone());
        found.stopped = Some(Stopped { actor, reason, at });
        Taken::Done
    }
}

impl ExactMigrations for MemoryControl {
    fn names_and_exact(&self) -> BoxFuture<'_, Result<Named, Error>> {
        Box::pin(async move { Ok((self.names().await?, Vec::new())) })
    }
}

impl Commands for MemoryControl {
    fn command<'a>(
        &'a self,
        name: &'a str,
        change: &'a RecordedChange,
        expected: Option<Epoch>,
        audit: &'a NewRolloutCommand,
    ) -> BoxFuture<'a, Result<Taken, Error>> {
        let now = self.clock.now();
        let commanded = self.with(name, |entry| {
            let found = entry.record.position.epoch;
            if let Some(expected) = expected.filter(|epoch| *epoch != found) {
                return Err(moved(name, expected, found));
            }
            let taken = entry.carry_out(change, audit, now).map_err(|error| error.of(name))?;
            if taken == Taken::Done {
                entry.record_command(audit, now);
            }
            Ok(taken)
        });
        let commanded = commanded.and_then(|commanded| commanded);
        Box::pin(async move {
            let taken = commanded?;
            if taken == Taken::Done && matches!(change, RecordedChange::StopWriter(_)) {
                self.mark_stale(name, StaleKind::Writer).await?;
            }
            Ok(taken)
        })
    }

    fn jobs<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, Result<Vec<Job>, Error>> {
        done(Ok(Vec::new()))
    }

    fn all_started<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Open, Error>> {
        Box::pin(async move { Ok((self.tasks(name).await?, Vec::new())) })
    }

    fn take_job<'a>(
        &'a self,
        _name: &'a str,
        _kind: JobKind,
        _instance: &'a str,
        _lease: Duration,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        done(Ok(false))
    }

    fn end_job<'a>(
        &'a self,
        _name: &'a str,
        _kind: JobKind,
        _instance: &'a str,
        _failed: bool,
        _answer: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        done(Ok(()))
    }
}
