//! Closing calls for a planned downtime, and opening them: what a change makes of what is closed. Pure.

use std::time::{Duration, SystemTime};

use crate::error::{Closed, Maintenance};
use crate::rollout::command::NewRolloutCommand;

/// An end that differs by less is the same: a command that is given twice changes nothing the second time.
const SAME_END: Duration = Duration::from_secs(60);

/// What an operator wants closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MaintenanceChange {
    /// These calls, for about so long from now on.
    Close(Closed, Duration),
    Open,
}

impl MaintenanceChange {
    /// What is closed then; `None` where it is so already. `now`: by the database's clock.
    pub(crate) fn applied(
        self,
        found: Option<&Maintenance>,
        audit: &NewRolloutCommand,
        now: SystemTime,
    ) -> Option<Option<Maintenance>> {
        let (closed, lasts) = match self {
            Self::Close(closed, lasts) if closed.is_closed() => (closed, lasts),
            _ => return found.is_some().then_some(None),
        };
        let until = now.checked_add(lasts).unwrap_or(now);
        let holds = found.is_some_and(|found| {
            found.closed == closed
                && found.reason == audit.reason
                && between(found.until, until) < SAME_END
        });
        let (actor, reason) = (audit.actor.clone(), audit.reason.clone());
        (!holds).then_some(Some(Maintenance { closed, actor, reason, until }))
    }
}

fn between(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).unwrap_or_else(|other_is_later| other_is_later.duration())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::from_micros;
    use crate::rollout::command::RolloutCommandKind;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn audit(reason: &str) -> NewRolloutCommand {
        NewRolloutCommand::new(RolloutCommandKind::Close, "ada", reason)
    }

    #[test]
    fn what_is_so_already_is_no_change() {
        let close = MaintenanceChange::Close(Closed::Writes, HOUR);
        let first = close.applied(None, &audit("disks"), from_micros(0)).unwrap().unwrap();
        assert_eq!(first.until, from_micros(3_600_000_000));
        assert_eq!(close.applied(Some(&first), &audit("disks"), from_micros(59_000_000)), None);
        assert!(
            close.applied(Some(&first), &audit("disks"), from_micros(61_000_000)).is_some(),
            "longer"
        );
        assert!(
            close.applied(Some(&first), &audit("network"), from_micros(0)).is_some(),
            "another reason"
        );
        let wider = MaintenanceChange::Close(Closed::Calls, HOUR);
        assert!(
            wider.applied(Some(&first), &audit("disks"), from_micros(0)).is_some(),
            "more is closed"
        );
        assert_eq!(
            MaintenanceChange::Open.applied(Some(&first), &audit("done"), from_micros(0)),
            Some(None)
        );
        assert_eq!(MaintenanceChange::Open.applied(None, &audit("done"), from_micros(0)), None);
    }
}
