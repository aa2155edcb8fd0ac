//! What a rollout tells the world. One place, so that whoever wants to hear it is called from here.

use crate::copier::joined::Joined;
use crate::stages::position::Position;
use crate::state::events::RuntimeEvent;

/// Something happened to a rollout.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Announcement<'a> {
    /// An order: start, pause, resume, skip, abort; who gave it, and why.
    Ordered {
        what: &'a str,
        by: &'a str,
        because: &'a str,
    },
    Moved {
        step: usize,
        to: Position,
    },
    /// The leader waits for something else than before.
    Waits {
        reason: &'a str,
    },
    Held {
        reason: &'a str,
    },
    Done,
}

/// Tells it: the log of everything, the service's hooks of what it may want to act upon.
pub(crate) fn announce(shared: &Joined, what: Announcement<'_>) {
    let migration = &*shared.name;
    let name = || migration.to_owned();
    match what {
        Announcement::Ordered { what, by, because } => {
            tracing::info!(migration, what, by, because, "a command for the rollout");
        }
        Announcement::Waits { reason } => tracing::debug!(migration, reason, "the rollout waits"),
        Announcement::Moved { step, to } => {
            tracing::info!(migration, step, %to, "the rollout took a step");
            shared.emit(|| RuntimeEvent::RolloutStepped { migration: name(), step, to });
        }
        Announcement::Held { reason } => {
            tracing::warn!(migration, reason, "the rollout holds");
            let reason = reason.to_owned();
            shared.emit(|| RuntimeEvent::RolloutHeld { migration: name(), reason });
        }
        Announcement::Done => {
            tracing::info!(migration, "the rollout is done");
            shared.emit(|| RuntimeEvent::RolloutDone { migration: name() });
        }
    }
}
