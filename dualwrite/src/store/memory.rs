//! Control tables in memory: for tests of wrappers and deciders without a database. Nothing is shared
//! with other processes, and there is no transaction to fence.

mod commands;
mod contracts;
mod dead_letters;
mod doctor;
mod entry;
mod expands;
mod hazards;
mod instances;
mod plans;
mod removals;
mod tasks;

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, ready};

use crate::clock::Clock;
use crate::contract::declared::Contract;
use crate::control::dead_letters::DeadLetter;
use crate::control::{
    Acknowledgement, AuditEvent, BackfillProgress, Change, Control, DirtyKey, Heartbeat, Mismatch,
    Polled, Pulse, Record, Sample, VerifyCommand, Watch,
};
use crate::error::Error;
use crate::expand::declared::Expand;
use crate::key::EncodedKey;
use crate::moment;
use crate::preflight::report::PreflightReport;
use crate::rollout::command::{NewRolloutCommand, RolloutCommand};
use crate::shadow::samples::has_room;
use crate::stages::facts::{Facts, InstanceReport};
use crate::stages::hazard::Hazard;
use crate::stages::lineage::{Mark, Token};
use crate::stages::position::{Epoch, Generation};
use crate::stages::stage::Side;
use crate::stages::stale::{StaleKind, StaleMark};
use crate::stages::verification::{Recorded, VerifyState};
use crate::state::unknown_migration;

#[derive(Debug)]
pub(crate) struct MemoryControl {
    clock: Clock,
    migrations: Mutex<BTreeMap<String, Entry>>,
    /// The number of the last heartbeat of each instance.
    beats: Mutex<BTreeMap<String, u64>>,
    /// Samples are never taken, nor refused.
    #[cfg(test)]
    pub(crate) is_stuck: std::sync::atomic::AtomicBool,
}

#[derive(Debug)]
struct Entry {
    record: Record,
    old_verified: Option<Generation>,
    /// With its owner.
    verification: Option<(String, VerifyState)>,
    verification_command: VerifyCommand,
    /// With the owner of the verification that found it at its beginning.
    stale: Vec<(StaleMark, Option<String>)>,
    hazards: Vec<Hazard>,
    preflight: Option<PreflightReport>,
    contract: Option<Contract>,
    expand: Option<Expand>,
    shape: Option<String>,
    approvals: Vec<(Epoch, String)>,
    releases: Vec<String>,
    stage_at: u64,
    events: Vec<AuditEvent>,
    /// What each acknowledged, and its token, and until when that holds.
    instances: BTreeMap<String, (InstanceReport, Token, u64)>,
    /// The positions before the present one.
    passed: Vec<Mark>,
    dirty: Vec<(Side, EncodedKey)>,
    dead_letters: Vec<DeadLetter>,
    samples: Vec<Mismatch>,
    plan: Option<plans::Stored>,
    tasks: Vec<tasks::Stored>,
    commands: Vec<RolloutCommand>,
    flag: Option<(String, Epoch)>,
}

impl MemoryControl {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            migrations: Mutex::default(),
            beats: Mutex::default(),
            #[cfg(test)]
            is_stuck: Default::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.migrations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn beats(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, name: &str, act: impl FnOnce(&mut Entry) -> T) -> Result<T, Error> {
        self.lock().get_mut(name).map(act).ok_or_else(|| unknown_migration(name))
    }

    /// Puts a migration where a test wants it, without gates.
    pub(crate) fn place(
        &self,
        name: &str,
        place: impl FnOnce(&mut Record),
    ) -> Result<Record, Error> {
        self.with(name, |entry| {
            let before = entry.record.mark();
            place(&mut entry.record);
            entry.renew_token(before);
            entry.record.clone()
        })
    }
}

fn done<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(ready(value))
}

impl Control for MemoryControl {
    fn install(&self) -> BoxFuture<'_, Result<(), Error>> {
        done(Ok(()))
    }

    fn enlist<'a>(&'a self, names: &'a [&'a str]) -> BoxFuture<'a, Result<Vec<Record>, Error>> {
        let now = self.clock.now();
        let mut migrations = self.lock();
        let mut record = |name: &&str| {
            let entry = migrations.entry((*name).to_owned());
            entry.or_insert_with(|| Entry::new(name, now)).record.clone()
        };
        done(Ok(names.iter().map(&mut record).collect()))
    }

    fn join<'a>(
        &'a self,
        heartbeat: &'a Heartbeat,
        number: u64,
        acknowledged: &'a [Acknowledgement],
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.beats().insert(heartbeat.instance.clone(), number);
        let now = self.clock.now();
        let joined = acknowledged.iter().try_for_each(|seen| {
            self.with(&seen.migration, |entry| entry.acknowledge(heartbeat, seen, now))
        });
        done(joined)
    }

    fn poll(&self) -> BoxFuture<'_, Result<Polled, Error>> {
        Box::pin(async { Ok(Polled { records: self.load().await?, at_us: None }) })
    }

    fn clock_stepped<'a>(
        &'a self,
        _by_us: i64,
        _lease: Duration,
    ) -> BoxFuture<'a, Result<(), Error>> {
        done(Ok(()))
    }

    fn descends<'a>(&'a self, name: &'a str, from: Mark) -> BoxFuture<'a, Result<bool, Error>> {
        done(self.with(name, |entry| entry.passed.contains(&from)))
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        let name = |entry: &mut Entry| entry.record.name.clone();
        done(Ok(self.lock().values_mut().map(name).collect()))
    }

    fn load(&self) -> BoxFuture<'_, Result<Vec<Record>, Error>> {
        let now = self.clock.now();
        let record = |entry: &mut Entry| {
            entry.count_dead_letters(now);
            entry.release_tasks(now);
            entry.record.clone()
        };
        done(Ok(self.lock().values_mut().map(record).collect()))
    }

    fn heartbeat<'a>(
        &'a self,
        heartbeat: &'a Heartbeat,
        pulse: Pulse,
        changed: &'a [Acknowledgement],
    ) -> BoxFuture<'a, Result<bool, Error>> {
        match self.beats().get_mut(&heartbeat.instance) {
            Some(known) if (pulse.confirmed..pulse.number).contains(known) => *known = pulse.number,
            _ => return done(Ok(false)),
        }
        let now = self.clock.now();
        for entry in self.lock().values_mut() {
            entry.extend(heartbeat, now);
        }
        let sent = changed.iter().try_for_each(|seen| {
            self.with(&seen.migration, |entry| entry.acknowledge(heartbeat, seen, now))
        });
        done(sent.map(|()| true))
    }

    fn leave<'a>(&'a self, instance: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        for entry in self.lock().values_mut() {
            entry.instances.remove(instance);
            entry.plan.iter_mut().for_each(|plan| plan.leave(instance));
            entry.leave_tasks(instance);
        }
        done(Ok(()))
    }

    fn change<'a>(
        &'a self,
        name: &'a str,
        change: &'a Change,
    ) -> BoxFuture<'a, Result<Record, Error>> {
        let now = self.clock.now();
        let changed = self.with(name, |entry| entry.change(change, now));
        done(changed.and_then(|changed| changed.map_err(|error| error.of(name))))
    }

    fn facts<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Facts, Error>> {
        let now = self.clock.now();
        done(self.with(name, |entry| entry.facts(now)))
    }

    fn facts_and_verification<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<(Facts, Option<VerifyState>), Error>> {
        Box::pin(async move {
            let facts = self.facts(name).await?;
            Ok((facts, self.verification(name).await?))
        })
    }

    fn summaries<'a>(
        &'a self,
        names: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Vec<(String, Facts)>, Error>> {
        let now = self.clock.now();
        let known = self.lock();
        let facts = |name: &&str| Some(((*name).to_owned(), known.get(*name)?.facts(now)));
        done(Ok(names.iter().filter_map(facts).collect()))
    }

    fn events<'a>(
        &'a self,
        name: &'a str,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<AuditEvent>, Error>> {
        done(
            self.with(name, |entry| {
                entry.events.iter().rev().take(limit as usize).cloned().collect()
            }),
        )
    }

    fn verified<'a>(
        &'a self,
        name: &'a str,
        owner: &'a str,
        [new, old]: [Generation; 2],
    ) -> BoxFuture<'a, Result<bool, Error>> {
        done(self.with(name, |entry| {
            if (entry.record.generation, entry.record.old_generation) != (new, old) {
                return false;
            }
            entry.stale.retain(|(_, seen_by)| seen_by.as_deref() != Some(owner));
            let proven = entry.stale.is_empty();
            entry.record.verified = proven.then_some(new);
            entry.old_verified = proven.then_some(old);
            proven
        }))
    }

    fn mark_stale<'a>(
        &'a self,
        name: &'a str,
        kind: StaleKind,
    ) -> BoxFuture<'a, Result<(), Error>> {
        let at = moment::from_nanos(self.clock.now());
        done(self.with(name, |entry| {
            entry.stale.retain(|(mark, _)| mark.kind != kind);
            entry.stale.push((StaleMark { kind, at }, None));
            (entry.record.verified, entry.old_verified) = (None, None);
        }))
    }

    fn begin_verification<'a>(
        &'a self,
        name: &'a str,
        owner: &'a str,
        fresh: &'a VerifyState,
        afresh: bool,
    ) -> BoxFuture<'a, Result<VerifyState, Error>> {
        done(self.with(name, |entry| {
            let known = entry.verification.clone();
            let earlier = known.as_ref().map(|(owner, _)| owner.as_str());
            let unseen = entry.stale.iter().any(|(_, seen_by)| seen_by.as_deref() != earlier);
            let goes_on = known.as_ref().map(|(_, state)| state);
            let goes_on = goes_on.filter(|state| !afresh && state.goes_on_as(fresh, unseen));
            for (_, seen_by) in &mut entry.stale {
                if goes_on.is_none() || seen_by.as_deref() == earlier {
                    *seen_by = Some(owner.to_owned());
                }
            }
            let state = VerifyState::begin(goes_on, fresh);
            entry.verification = Some((owner.to_owned(), state.clone()));
            state
        }))
    }

    fn record_verification<'a>(
        &'a self,
        name: &'a str,
        owner: &'a str,
        state: &'a VerifyState,
    ) -> BoxFuture<'a, Result<Recorded, Error>> {
        done(self.with(name, |entry| match &mut entry.verification {
            Some((known, stored)) if known == owner => {
                *stored = state.clone();
                match entry.verification_command {
                    VerifyCommand::Cancel if state.done => {
                        entry.verification_command = VerifyCommand::GoOn;
                        Recorded::Kept
                    }
                    VerifyCommand::Cancel => Recorded::Cancelled,
                    VerifyCommand::Pause => Recorded::Paused,
                    VerifyCommand::GoOn => Recorded::Kept,
                }
            }
            _ => Recorded::Superseded,
        }))
    }

    fn command_verification<'a>(
        &'a self,
        name: &'a str,
        command: VerifyCommand,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        done(self.with(name, |entry| {
            let known = entry.verification.as_ref();
            let takes =
                known.is_some_and(|(_, state)| command != VerifyCommand::Cancel || !state.done);
            if takes {
                entry.verification_command = command;
            }
            takes
        }))
    }

    fn verification<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<VerifyState>, Error>> {
        let state = |entry: &mut Entry| entry.verification.as_ref().map(|(_, state)| state.clone());
        done(self.with(name, state))
    }

    fn backfills(&self) -> BoxFuture<'_, Result<HashMap<String, BackfillProgress>, Error>> {
        done(Ok(HashMap::new()))
    }

    fn backfill<'a>(
        &'a self,
        _name: &'a str,
    ) -> BoxFuture<'a, Result<Option<BackfillProgress>, Error>> {
        done(Ok(None))
    }

    fn dirty<'a>(
        &'a self,
        name: &'a str,
        side: Side,
        after: Option<&'a DirtyKey>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<DirtyKey>, Error>> {
        done(self.with(name, |entry| {
            let keys = entry.dirty.iter().zip(0..).filter(|((dirty, _), _)| *dirty == side);
            let keys = keys.map(|((_, key), number)| DirtyKey {
                key: key.clone(),
                marked_at_us: number, // the command in which they were marked
            });
            let later =
                |key: &DirtyKey| after.is_none_or(|one| key.marked_at_us > one.marked_at_us);
            keys.filter(later).take(limit as usize).collect()
        }))
    }

    fn set_aside<'a>(
        &'a self,
        name: &'a str,
        key: &'a EncodedKey,
    ) -> BoxFuture<'a, Result<(), Error>> {
        let forgotten = self.with(name, |entry| {
            entry.dirty.retain(|(side, dirty)| (*side, dirty) != (Side::New, key));
        });
        match forgotten {
            Ok(()) => self.mark_stale(name, StaleKind::Key),
            Err(error) => done(Err(error)),
        }
    }

    fn approve<'a>(
        &'a self,
        name: &'a str,
        approval: &'a str,
        actor: &'a str,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        let now = self.clock.now();
        done(self.with(name, |entry| {
            entry.record_command(&NewRolloutCommand::approval(approval, actor, reason), now);
            let given = (entry.record.stage_epoch, approval.to_owned());
            entry.approvals.retain(|known| *known != given);
            entry.approvals.push(given);
        }))
    }

    fn declare<'a>(
        &'a self,
        name: &'a str,
        release: &'a str,
        gone: bool,
    ) -> BoxFuture<'a, Result<(), Error>> {
        done(self.with(name, |entry| {
            entry.releases.retain(|known| known != release);
            if !gone {
                entry.releases.push(release.to_owned());
            }
        }))
    }

    fn sample<'a>(
        &'a self,
        name: &'a str,
        sample: &'a Sample,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        #[cfg(test)]
        if self.is_stuck.load(std::sync::atomic::Ordering::SeqCst) {
            return Box::pin(std::future::pending());
        }
        let at = moment::from_nanos(self.clock.now());
        done(self.with(name, |entry| {
            let of_field = entry.samples.iter().filter(|known| known.field == sample.field);
            let counts = (entry.samples.len(), of_field.count());
            let kept = has_room(counts.0 as u32, counts.1 as u32);
            if kept {
                entry.samples.push(Mismatch {
                    method: sample.method.clone(),
                    field: sample.field.clone(),
                    key: sample.key.as_ref().map(|key| key.0.clone()),
                    old: sample.old.clone(),
                    new: sample.new.clone(),
                    at,
                });
            }
            kept
        }))
    }

    fn samples<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<Mismatch>, Error>> {
        done(self.with(name, |entry| entry.samples.clone()))
    }

    fn forget_samples<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<u64, Error>> {
        done(self.with(name, |entry| entry.samples.drain(..).count() as u64))
    }

    fn watch(&self) -> BoxFuture<'_, Result<Option<Box<dyn Watch>>, Error>> {
        done(Ok(None))
    }
}
