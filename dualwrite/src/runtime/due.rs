//! When an instance sends a heartbeat, and when it reads the positions without one.

use std::time::Duration;

/// What the background task knows when it wakes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since {
    pub(super) heartbeat: Duration,
    pub(super) polled: Duration,
    /// Somebody asked for a polled: a notification, a move, an acknowledgement that others wait for.
    pub(super) asked: bool,
    /// The database tells when a position changes.
    pub(super) notified: bool,
    /// Something is under way that is driven by looks: a rollout, a backfill, a repair.
    pub(super) busy: bool,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Which looks as well.
    Heartbeat,
    Poll,
    Nothing,
}

/// A heartbeat goes three times a lease. In between, positions are read once a poll; not where nothing is under way
/// and the database tells of changes.
pub(super) fn due(since: Since, lease: Duration, poll: Duration) -> Due {
    let polls = !since.notified || since.busy;
    match since {
        _ if since.heartbeat >= lease / 3 => Due::Heartbeat,
        _ if since.asked || polls && since.polled >= poll => Due::Poll,
        _ => Due::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(15);
    const POLL: Duration = Duration::from_millis(600);
    const IDLE: Since = Since {
        heartbeat: Duration::ZERO,
        polled: Duration::ZERO,
        asked: false,
        notified: false,
        busy: false,
    };

    fn at(since: Since) -> Due {
        due(since, LEASE, POLL)
    }

    #[test]
    fn an_idle_instance_that_is_told_only_sends_heartbeats() {
        let notified = Since { notified: true, polled: Duration::from_secs(4), ..IDLE };
        assert_eq!(at(notified), Due::Nothing);
        assert_eq!(at(Since { heartbeat: Duration::from_secs(5), ..notified }), Due::Heartbeat);
        assert_eq!(at(Since { asked: true, ..notified }), Due::Poll);
        assert_eq!(at(Since { busy: true, ..notified }), Due::Poll);
    }

    #[test]
    fn without_notifications_it_polls() {
        assert_eq!(at(Since { polled: POLL, ..IDLE }), Due::Poll);
        assert_eq!(at(Since { polled: POLL / 2, ..IDLE }), Due::Nothing);
    }
}
