//! What gates are judged by, in memory.

use std::time::Duration;

use crate::stages::facts::Facts;
use crate::stages::stage::Side;
use crate::store::memory::Entry;

impl Entry {
    pub(super) fn dirty_on(&self, wanted: Side) -> u64 {
        self.dirty.iter().filter(|(side, _)| *side == wanted).count() as u64
    }

    pub(super) fn facts(&self, now: u64) -> Facts {
        Facts {
            position: self.record.position,
            token: self.record.token,
            generation: self.record.generation,
            stage_epoch: self.record.stage_epoch,
            stage_age: Duration::from_nanos(now.saturating_sub(self.stage_at)),
            backfilled: self.record.backfilled,
            verified: self.record.verified,
            dirty_old: self.dirty_on(Side::Old),
            dirty_new: self.dirty_on(Side::New),
            dead_letters: self.letters_for(Side::New, false),
            waived: self.letters_for(Side::New, true),
            old_generation: self.record.old_generation,
            old_backfilled: false,
            old_verified: self.old_verified,
            old_dead_letters: self.letters_for(Side::Old, false),
            old_waived: self.letters_for(Side::Old, true),
            approvals: self
                .approvals
                .iter()
                .filter(|(epoch, _)| *epoch == self.record.stage_epoch)
                .map(|(_, name)| name.clone())
                .collect(),
            releases: self.releases.clone(),
            unaware: None,
            instances: self
                .instances
                .values()
                .filter(|(_, _, expires)| *expires > now)
                .map(|(report, token, _)| self.of_this_history(report, *token))
                .collect(),
        }
    }
}
