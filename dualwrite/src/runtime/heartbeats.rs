//! Heartbeats and looks: the lease of an instance, and what it knows of the positions.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Inner;
use super::drift::{Awake, Reading, slept, stepped};
use super::due::{Due, Since, due};
use crate::clock::Moment;
use crate::control::{Acknowledgement, Polled, Positions, Pulse, Record};
use crate::copier::joined::Joined;
use crate::error::{Error, ErrorKind};
use crate::stages::lineage::{Lineage, Mark};
use crate::state::open::reported_seconds;

/// How often in a row an instance joins again.
const JOINS_MAX: u32 = 3;

/// What the control tables know of this instance.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pulse: Pulse,
    /// When the last one that was acknowledged had been sent, in ticks.
    sent: u64,
    /// When positions were read last.
    polled: Option<Moment>,
    acknowledged: Vec<Acknowledgement>,
    /// The token of the control tables, from before the last poll that asked for it.
    token: Option<i64>,
    /// The last poll found something under way that polls look after.
    active: bool,
    /// And something that is under way, or waits to be done.
    busy: bool,
    /// Where the migrations stood when a heartbeat read that, and how many were registered here, from before the poll
    /// that followed.
    positions: Option<(Positions, usize)>,
}

impl Sent {
    /// What of the acknowledgements is not known there yet.
    fn changed(&self, now: &[Acknowledgement]) -> Vec<Acknowledgement> {
        now.iter().filter(|seen| !self.acknowledged.contains(seen)).cloned().collect()
    }
}

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct PollOutcome {
    /// Some position has another history than it is known to have here.
    lost: bool,
    /// Some position has changed.
    moved: bool,
    /// Something is under way that polls look after.
    active: bool,
    /// Something is under way, or waits to be done.
    busy: bool,
}

impl Inner {
    /// Extends the lease. The order matters: only when the others see us alive, with what we have
    /// drained, may the positions that we read *after* that be trusted for a lease, counted from
    /// *before* the heartbeat was sent.
    pub(crate) async fn send_heartbeat(&self) -> Result<(), Error> {
        let mut last = self.beats.lock().await;
        for _ in 0..JOINS_MAX {
            if self.try_heartbeat(&mut last).await? {
                return Ok(());
            }
        }
        let message = "the history of the positions kept changing; is more than one database behind the pool?";
        Err(Error::new(ErrorKind::Conflict, message))
    }

    /// Returns whether the lease is held: not where the control tables have another history than was known here.
    async fn try_heartbeat(&self, last: &mut Sent) -> Result<bool, Error> {
        let sent = self.clock.ticks();
        let since = Duration::from_nanos(self.clock.nanos(last.sent, sent));
        let mut acknowledged = self.acknowledgements();
        last.pulse.number += 1;
        // Who has been silent for a lease may have been forgotten, and joins again.
        let known = last.pulse.confirmed > 0 && since < self.heartbeat.lease && {
            let changed = last.changed(&acknowledged);
            let known = self.control.heartbeat(&self.heartbeat, last.pulse, &changed).await?;
            if !known {
                self.forgotten();
                acknowledged = self.acknowledgements();
            }
            known
        };
        if !known {
            last.positions = None;
            self.control.join(&self.heartbeat, last.pulse.number, &acknowledged).await?;
        }
        last.pulse.confirmed = last.pulse.number;
        last.acknowledged = acknowledged;
        let received = self.clock.ticks();
        if self.read_positions(last).await?.lost {
            return Ok(false);
        }
        if !self.stop.is_cancelled() {
            let lease = self.clock.ticks_in(self.heartbeat.lease);
            self.lease.extend(sent, received, self.clock.ticks(), lease);
        }
        (last.sent, last.polled) = (sent, Some(Moment::now()));
        Ok(true)
    }

    /// The control tables have lost a heartbeat that they had acknowledged.
    fn forgotten(&self) {
        tracing::warn!(
            "the control tables have lost a heartbeat of this instance, as after a failover to a standby that \
             lagged, or a restore; it joins again"
        );
        self.lease.end();
        for shared in self.migrations() {
            shared.in_flight.restart();
        }
    }

    fn acknowledgements(&self) -> Vec<Acknowledgement> {
        let acknowledge = |shared: &Arc<Joined>| {
            // First what is drained: it must not be newer than what is said to be seen.
            let drained = shared.drained();
            Acknowledgement {
                migration: shared.name.to_string(),
                seen: shared.mark(),
                drained,
                lazy: shared.options.lazy,
                new_only: shared.options.new_only,
                wanted: shared.flags().wanted,
                killed_by: shared.flags().killed_by,
                terms: shared.declared(),
                open_s: reported_seconds(shared.open.oldest(shared.clock.now())),
            }
        };
        self.migrations().iter().map(acknowledge).collect()
    }

    /// Reads where the migrations stand, with a heartbeat; and the rest of the control tables, unless they are as the last
    /// heartbeat found them.
    async fn read_positions(&self, last: &mut Sent) -> Result<PollOutcome, Error> {
        let before = last.positions.take();
        let (sent, registered) = (self.clock.now(), self.migrations().len());
        let now = match last.busy {
            true => None,
            false => self.control.positions().await?,
        };
        let at_us = now.as_ref().map(|(_, at_us)| *at_us);
        let lost = self.has_clock_stepped(sent, at_us).await?;
        let now = now.map(|(now, _)| (now, registered));
        if before.is_some() && before == now && !lost {
            last.positions = now;
            return Ok(PollOutcome::default());
        }
        let outcome = self.poll().await?;
        (last.active, last.busy) = (outcome.active, outcome.busy);
        let lost = outcome.lost || lost;
        last.positions = now.filter(|_| !lost);
        Ok(PollOutcome { lost, ..outcome })
    }

    /// Reads the positions, unless the control tables are as the last poll found them. `wanted`: they are read at any
    /// rate.
    async fn poll_if_changed(&self, last: &mut Sent, wanted: bool) -> Result<PollOutcome, Error> {
        // What fails from here on is followed by a whole poll.
        let before = last.token.take();
        let sent = self.clock.now();
        let now = match wanted || last.active {
            true => None,
            false => self.control.fingerprint().await?,
        };
        let lost = self.has_clock_stepped(sent, now.map(|now| now.at_us)).await?;
        let token = now.map(|now| now.token);
        if before.is_some() && before == token && !lost {
            last.token = token;
            return Ok(PollOutcome::default());
        }
        let outcome = self.poll().await?;
        (last.active, last.busy) = (outcome.active, outcome.busy);
        last.token = token;
        Ok(PollOutcome { lost: outcome.lost || lost, ..outcome })
    }

    /// Reads the positions. What has another history ends the lease, and is taken over.
    async fn poll(&self) -> Result<PollOutcome, Error> {
        let marked = |shared: Arc<Joined>| {
            let mark = shared.mark();
            (shared, mark)
        };
        let before: Vec<(Arc<Joined>, Mark)> = self.migrations().into_iter().map(marked).collect();
        let sent = self.clock.now();
        let Polled { records, at_us } = self.control.poll().await?;
        let lost = self.has_clock_stepped(sent, at_us).await?;
        let active = records.iter().any(Record::is_active);
        let busy = !records.iter().all(Record::is_quiet);
        let mut outcome = PollOutcome { lost, active, busy, ..PollOutcome::default() };
        self.steering.check_switch(&records);
        for (shared, before) in before {
            let record = records.iter().find(|record| *record.name == *shared.name);
            shared.set_known(record.is_some());
            let Some(record) = record else { continue };
            if self.is_of_another_history(&shared, before, record).await? {
                shared.lose();
                shared.restart(record);
                outcome.lost = true;
            }
            outcome.moved |= shared.mark() != before;
        }
        Ok(outcome)
    }

    /// `at_us`: what the database's clock showed after `sent`. Returns whether the lease ended over it: the others may
    /// have taken this instance for dead.
    async fn has_clock_stepped(&self, sent: u64, at_us: Option<i64>) -> Result<bool, Error> {
        let Some(database_us) = at_us.filter(|_| !self.clock.is_manual()) else { return Ok(false) };
        let now = Reading { sent, received: self.clock.now(), database_us };
        let before = self.clocks.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
        let Some(by_us) = before.and_then(|before| stepped(before, now)) else { return Ok(false) };
        tracing::warn!(
            by_us,
            "the database's clock has stepped against ours, or this machine was suspended; the instance joins again"
        );
        if by_us > 0 {
            self.lease.end();
        }
        self.control.clock_stepped(by_us, self.heartbeat.lease).await?;
        Ok(by_us > 0)
    }

    /// `before`: what was known when the record was about to be read. Since then it may have become older by a
    /// move that was made here.
    async fn is_of_another_history(
        &self,
        shared: &Joined,
        before: Mark,
        record: &Record,
    ) -> Result<bool, Error> {
        let found = shared.adopt(record).await?;
        let went_back = found == Lineage::Earlier && record.position.epoch < before.epoch;
        Ok(went_back || shared.is_lost())
    }

    /// Whether the machine was suspended since the last round: the clock that leases are counted by stood still, and the
    /// others took this instance for dead. Ends the lease then, before anything is asked.
    fn was_suspended(&self) -> bool {
        let now = Awake { measured: self.clock.now(), all: self.clock.awake_or_not() };
        let before = self.awake.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
        let Some(slept) = before.and_then(|before| slept(before, now)) else { return false };
        tracing::warn!(
            ?slept,
            "this machine was suspended; the instance sends a heartbeat before it answers again"
        );
        self.lease.end();
        true
    }

    /// One round of the background task: a heartbeat or a look, where one is due.
    pub(super) async fn round(&self, poll: Duration, asked: bool) -> Result<(), Error> {
        if self.was_suspended() {
            return self.send_heartbeat().await;
        }
        let now = self.clock.ticks();
        let (heartbeat, polled, changed) = {
            let last = self.beats.lock().await;
            let changed = last.pulse.confirmed > 0 && self.acknowledgements() != last.acknowledged;
            (last.sent, last.polled, changed)
        };
        let heard = self.ear.take();
        let since = Since {
            heartbeat: Duration::from_nanos(self.clock.nanos(heartbeat, now)),
            polled: polled.map_or(poll, |then| then.elapsed()),
            asked: heard || asked,
            notified: self.ear.listens(),
            busy: self.is_busy(),
        };
        // What has changed here, the others wait for. A heartbeat looks as well.
        match due(since, self.heartbeat.lease, poll) {
            Due::Heartbeat => {
                self.ear.judge();
                let before = self.marks();
                self.send_heartbeat().await?;
                if self.marks() != before && !heard {
                    self.ear.suspect();
                }
                return Ok(());
            }
            _ if changed => return self.send_heartbeat().await,
            Due::Nothing => return Ok(()),
            Due::Poll => {}
        }
        let outcome = {
            let mut last = self.beats.lock().await;
            let outcome = self.poll_if_changed(&mut last, since.asked || since.busy).await?;
            last.polled = Some(Moment::now());
            outcome
        };
        if outcome.moved && !heard {
            self.ear.suspect();
        }
        if outcome.lost || outcome.moved {
            self.send_heartbeat().await?;
        }
        Ok(())
    }

    fn marks(&self) -> Vec<Mark> {
        self.migrations().iter().map(|shared| shared.mark()).collect()
    }

    /// Whether something is under way that is driven by what a look finds.
    fn is_busy(&self) -> bool {
        let busy = |shared: &Arc<Joined>| shared.is_planned() || shared.is_started();
        self.wants_repair() || self.is_steered() || self.migrations().iter().any(busy)
    }
}
