//! Instances in memory: what they acknowledged, and in which history.

use crate::control::{Acknowledgement, Heartbeat};
use crate::stages::facts::InstanceReport;
use crate::stages::lineage::{Mark, Token};
use crate::stages::position::Epoch;
use crate::store::memory::Entry;

impl Entry {
    pub(super) fn acknowledge(&mut self, heartbeat: &Heartbeat, seen: &Acknowledgement, now: u64) {
        let report = InstanceReport {
            id: heartbeat.instance.clone(),
            release: heartbeat.release.clone(),
            seen: seen.seen.epoch,
            drained: seen.drained,
            min_stage: heartbeat.min_stage,
            max_stage: heartbeat.max_stage,
            lazy: seen.lazy,
            new_only: seen.new_only,
            wanted: seen.wanted.clone(),
            killed_by: seen.killed_by.clone(),
            mirror: seen.terms.mirror.clone(),
            terms: Some(seen.terms.clone()),
            alike: 1,
        };
        let lease = u64::try_from(heartbeat.lease.as_nanos()).unwrap_or(u64::MAX);
        let acknowledged = (report, seen.seen.token, now.saturating_add(lease));
        self.instances.insert(heartbeat.instance.clone(), acknowledged);
    }

    pub(super) fn extend(&mut self, heartbeat: &Heartbeat, now: u64) {
        let lease = u64::try_from(heartbeat.lease.as_nanos()).unwrap_or(u64::MAX);
        if let Some((_, _, expires)) = self.instances.get_mut(&heartbeat.instance) {
            *expires = now.saturating_add(lease);
        }
    }

    /// What an instance has seen of another history counts as nothing.
    pub(super) fn of_this_history(&self, report: &InstanceReport, token: Token) -> InstanceReport {
        let mark = Mark { epoch: report.seen, token };
        let mut report = report.clone();
        if mark != self.record.mark() && !self.passed.contains(&mark) {
            (report.seen, report.drained) = (Epoch(0), Epoch(0));
        }
        report
    }

    /// After a change of the position.
    pub(super) fn renew_token(&mut self, before: Mark) {
        if self.record.position.epoch != before.epoch {
            (self.record.token, self.record.from_token) = (Token::random(), before.token);
            self.passed.push(before);
        }
    }
}
