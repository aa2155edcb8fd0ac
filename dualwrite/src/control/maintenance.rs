//! Closing calls for a planned downtime, and opening them: what a change makes of what is closed. Pure.

use std::time::Duration;

use crate::error::{Closed, Maintenance};
use crate::rollout::command::NewRolloutCommand;

/// An end that differs by less is the same: a command that is given twice changes nothing the second time.
const SAME_END_US: i64 = 60_000_000;

/// What an operator wants closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MaintenanceChange {
    /// These calls, for about so long from now on.
    Close(Closed, Duration),
    Open,
}

impl MaintenanceChange {
    /// What is closed then; `None` where it is so already. `now_us`: by the database's clock.
    pub(crate) fn applied(
        self,
        found: Option<&Maintenance>,
        audit: &NewRolloutCommand,
        now_us: i64,
    ) -> Option<Option<Maintenance>> {
        let (closed, lasts) = match self {
            Self::Close(closed, lasts) if closed.is_closed() => (closed, lasts),
            _ => return found.is_some().then_some(None),
        };
        let lasts = i64::try_from(lasts.as_micros()).unwrap_or(i64::MAX);
        let until_us = now_us.saturating_add(lasts);
        let holds = found.is_some_and(|found| {
            found.closed == closed
                && found.reason == audit.reason
                && found.until_us.abs_diff(until_us) < SAME_END_US.unsigned_abs()
        });
        let (actor, reason) = (audit.actor.clone(), audit.reason.clone());
        (!holds).then_some(Some(Maintenance { closed, actor, reason, until_us }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::command::RolloutCommandKind;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn audit(reason: &str) -> NewRolloutCommand {
        NewRolloutCommand::new(RolloutCommandKind::Close, "ada", reason)
    }

    #[test]
    fn what_is_so_already_is_no_change() {
        let close = MaintenanceChange::Close(Closed::Writes, HOUR);
        let first = close.applied(None, &audit("disks"), 0).unwrap().unwrap();
        assert_eq!(first.until_us, 3_600_000_000);
        assert_eq!(close.applied(Some(&first), &audit("disks"), 59_000_000), None);
        assert!(close.applied(Some(&first), &audit("disks"), 61_000_000).is_some(), "longer");
        assert!(close.applied(Some(&first), &audit("network"), 0).is_some(), "another reason");
        let wider = MaintenanceChange::Close(Closed::Calls, HOUR);
        assert!(wider.applied(Some(&first), &audit("disks"), 0).is_some(), "more is closed");
        assert_eq!(MaintenanceChange::Open.applied(Some(&first), &audit("done"), 0), Some(None));
        assert_eq!(MaintenanceChange::Open.applied(None, &audit("done"), 0), None);
    }
}
