//! One migration in memory: how it begins, what gates see of it, and how its position changes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Entry;
use crate::control::plans::outdated;
use crate::control::{AuditEvent, Change, Record, VerifyCommand};
use crate::error::Error;
use crate::moment;
use crate::stages::facts::{Facts, Operated, SideFacts, StageFacts, Unfenced, Unsettled};
use crate::stages::lineage::Token;
use crate::stages::position::{Epoch, Generation, Position};
use crate::stages::sample::SampleOverride;
use crate::stages::stage::Side;
use crate::stages::stale::StaleMark;
use crate::store::sql::change::decide_change;

impl Entry {
    pub(super) fn new(name: &str, now: u64) -> Self {
        Self {
            record: Record {
                fence: 0, // nobody takes it
                name: name.to_owned(),
                position: Position::start(),
                token: Token::random(),
                from_token: Token::default(),
                generation: Generation::FIRST,
                stage_epoch: Epoch(1),
                backfilled: false,
                verified: None,
                dirty: false,
                has_dead_letter: false,
                letters: false,
                due: false,
                old_generation: Generation::FIRST,
                planned: false,
                started: false,
                wanted: false,
                killed: None,
                sample: SampleOverride::default(),
                maintenance: None,
            },
            old_verified: None,
            verification: None,
            verification_command: VerifyCommand::GoOn,
            stale: Vec::new(),
            hazards: Vec::new(),
            preflight: None,
            contract: None,
            expand: None,
            shape: None,
            approvals: Vec::new(),
            releases: Vec::new(),
            stage_at: now,
            events: Vec::new(),
            instances: BTreeMap::new(),
            passed: Vec::new(),
            dirty: Vec::new(),
            dead_letters: Vec::new(),
            samples: Vec::new(),
            plan: None,
            tasks: Vec::new(),
            commands: Vec::new(),
            flag: None,
        }
    }

    pub(super) fn stale_marks(&self) -> Vec<StaleMark> {
        let mut marks: Vec<StaleMark> = self.stale.iter().map(|(mark, _)| *mark).collect();
        marks.sort_by_key(|mark| mark.kind.as_str());
        marks
    }

    pub(super) fn dirty_on(&self, wanted: Side) -> u64 {
        self.dirty.iter().filter(|(side, _)| *side == wanted).count() as u64
    }

    fn side_facts(
        &self,
        side: Side,
        generation: Generation,
        verified: Option<Generation>,
    ) -> SideFacts {
        SideFacts {
            generation,
            backfilled: false,
            verified,
            dirty: self.dirty_on(side),
            dead_letters: self.dead_letters_for(side, false),
            waived: self.dead_letters_for(side, true),
        }
    }

    pub(super) fn facts(&self, now: u64) -> Facts {
        let record = &self.record;
        let given = self.approvals.iter().filter(|(epoch, _)| *epoch == record.stage_epoch);
        Facts {
            position: record.position,
            token: record.token,
            stage: StageFacts {
                epoch: record.stage_epoch,
                age: Duration::from_nanos(now.saturating_sub(self.stage_at)),
                approvals: given.map(|(_, name)| name.clone()).collect(),
            },
            new: SideFacts {
                backfilled: record.backfilled,
                ..self.side_facts(Side::New, record.generation, record.verified)
            },
            old: self.side_facts(Side::Old, record.old_generation, self.old_verified),
            stale: self.stale_marks(),
            verification: self.verification.as_ref().map(|(_, state)| state.summary()),
            hazards: self.hazards.clone(),
            unfenced: Unfenced { releases: self.releases.clone(), last_write: None },
            operated: Operated {
                killed: record.killed.clone(),
                sample: record.sample,
                maintenance: record.maintenance.clone(),
                contract_begun: false,
            },
            converging: Unsettled::default(),
            instances: self
                .instances
                .values()
                .filter(|(_, _, expires)| *expires > now)
                .map(|(report, token, _)| self.of_this_history(report, *token))
                .collect(),
        }
    }

    pub(super) fn change(&mut self, change: &Change, now: u64) -> Result<Record, Error> {
        let Some(to) = decide_change(&self.facts(now), change)? else {
            return Ok(self.record.clone());
        };
        let from = self.record.position;
        let epoch = Epoch(from.epoch.0 + 1);
        if let Some(step) = &change.plan {
            let stored = self.plan.as_mut().filter(|stored| stored.fits(step));
            let stored = stored.ok_or_else(|| outdated(&self.record.name))?;
            stored.take_step(step, epoch, now);
        }
        if let Some(wanted) = &change.flag {
            self.flag = Some((wanted.clone(), epoch));
        }
        if to.stage != from.stage {
            self.record.stage_epoch = epoch;
            self.stage_at = now;
        }
        if to.generation != self.record.generation {
            self.record.backfilled = false;
            self.forget_waivers(Side::New, now);
            self.hazards.iter_mut().for_each(|hazard| hazard.stopped = None);
        }
        let before = self.record.mark();
        self.record.position = Position { stage: to.stage, ramp: to.ramp, epoch, ..from };
        self.renew_token(before);
        self.record.generation = to.generation;
        let old_generation = to.old_generation(from, self.record.old_generation);
        if old_generation != self.record.old_generation {
            self.forget_waivers(Side::Old, now);
        }
        self.record.old_generation = old_generation;
        self.events.push(AuditEvent {
            at: moment::from_nanos(now),
            actor: change.actor.clone(),
            reason: change.reason.clone(),
            from_stage: from.stage,
            from_ramp: from.ramp,
            to_stage: to.stage,
            to_ramp: to.ramp,
            epoch,
            generation: to.generation,
            overridden: change.overridden.iter().map(ToString::to_string).collect(),
        });
        Ok(self.record.clone())
    }
}
