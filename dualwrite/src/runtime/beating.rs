//! Heartbeats and looks: the lease of an instance, and what it knows of the positions.

use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use crate::control::{Acknowledgement, Pulse, Record};
use crate::error::{Error, ErrorKind};
use crate::lineage::{Lineage, Mark};
use crate::state::Shared;

/// How often in a row an instance joins again.
const JOINS_MAX: u32 = 3;

/// What the control tables know of this instance.
#[derive(Debug, Default)]
pub(super) struct Beats {
    pulse: Pulse,
    /// When the last one that was acknowledged had been sent, in ticks.
    sent: u64,
    acknowledged: Vec<Acknowledgement>,
}

impl Beats {
    /// What of the acknowledgements is not known there yet.
    fn changed(&self, now: &[Acknowledgement]) -> Vec<Acknowledgement> {
        now.iter().filter(|seen| !self.acknowledged.contains(seen)).cloned().collect()
    }
}

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Some position has another history than it is known to have here.
    lost: bool,
}

impl Inner {
    /// Extends the lease. The order matters: only when the others see us alive, with what we have
    /// drained, may the positions that we read *after* that be trusted for a lease, counted from
    /// *before* the heartbeat was sent.
    pub(crate) async fn beat(&self) -> Result<(), Error> {
        let mut beats = self.beats.lock().await;
        for _ in 0..JOINS_MAX {
            if self.try_beat(&mut beats).await? {
                return Ok(());
            }
        }
        let message = "the history of the positions kept changing; is more than one database behind the pool?";
        Err(Error::new(ErrorKind::Conflict, message))
    }

    /// Returns whether the lease is held: not where the control tables have another history than was known here.
    async fn try_beat(&self, beats: &mut Beats) -> Result<bool, Error> {
        let sent = self.clock.ticks();
        let since = Duration::from_nanos(self.clock.nanos(beats.sent, sent));
        let mut acknowledged = self.acknowledgements();
        beats.pulse.number += 1;
        // Who has been silent for a lease may have been forgotten, and joins again.
        let known = beats.pulse.confirmed > 0 && since < self.beat.lease && {
            let changed = beats.changed(&acknowledged);
            let known = self.control.heartbeat(&self.beat, beats.pulse, &changed).await?;
            if !known {
                self.forgotten();
                acknowledged = self.acknowledgements();
            }
            known
        };
        if !known {
            self.control.join(&self.beat, beats.pulse.number, &acknowledged).await?;
        }
        beats.pulse.confirmed = beats.pulse.number;
        beats.acknowledged = acknowledged;
        let received = self.clock.ticks();
        if self.look().await?.lost {
            return Ok(false);
        }
        if !self.stop.is_cancelled() {
            let lease = self.clock.ticks_in(self.beat.lease);
            self.lease.extend(sent, received, self.clock.ticks(), lease);
        }
        beats.sent = sent;
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
        let acknowledge = |shared: &Arc<Shared>| {
            // First what is drained: it must not be newer than what is said to be seen.
            let drained = shared.drained();
            Acknowledgement {
                migration: shared.name.to_string(),
                seen: shared.mark(),
                drained,
                lazy: shared.options.lazy,
                wanted: shared.flags().wanted,
                killed_by: shared.flags().killed_by,
            }
        };
        self.migrations().iter().map(acknowledge).collect()
    }

    /// Reads the positions. What has another history ends the lease, and is taken over.
    async fn look(&self) -> Result<Look, Error> {
        let before: Vec<(Arc<Shared>, Mark)> = self
            .migrations()
            .into_iter()
            .map(|shared| (Arc::clone(&shared), shared.mark()))
            .collect();
        let records = self.control.load().await?;
        self.steering.check_switch(&records);
        let mut look = Look::default();
        for (shared, before) in before {
            let Some(record) = records.iter().find(|record| *record.name == *shared.name) else {
                continue;
            };
            if self.is_of_another_history(&shared, before, record).await? {
                shared.lose();
                shared.restart(record);
                look.lost = true;
            }
        }
        Ok(look)
    }

    /// `before`: what was known when the record was about to be read. Since then it may have become older by a
    /// move that was made here.
    async fn is_of_another_history(
        &self,
        shared: &Shared,
        before: Mark,
        record: &Record,
    ) -> Result<bool, Error> {
        let found = shared.adopt(record).await?;
        let went_back = found == Lineage::Earlier && record.position.epoch < before.epoch;
        Ok(went_back || shared.is_lost())
    }

    /// One round of the background task.
    pub(super) async fn round(&self) -> Result<(), Error> {
        let (since, told) = {
            let beats = self.beats.lock().await;
            let since = self.clock.nanos(beats.sent, self.clock.ticks());
            (Duration::from_nanos(since), beats.acknowledged.clone())
        };
        // A heartbeat looks as well.
        if since >= self.beat.lease / 3 {
            return self.beat().await;
        }
        let look = self.look().await?;
        if look.lost || self.acknowledgements() != told {
            self.beat().await?;
        }
        Ok(())
    }
}
