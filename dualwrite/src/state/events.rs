//! Tells the service what happened, off everybody's path: a bounded queue, and a hook that may be slow or
//! panic without harm.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::mpsc;

use crate::guard::rules::Breach;
use crate::stages::position::Position;

/// How many events may wait for the hook. More are dropped and counted, as `events_dropped`.
pub const EVENTS_WAITING_MAX: usize = 1_024;

/// Something that a service may want to hear of.
///
/// ```
/// use dualwrite::runtime::RuntimeEvent;
///
/// fn tell(event: &RuntimeEvent) {
///     match event {
///         RuntimeEvent::GuardBreached { migration, breaches, .. } => {
///             eprintln!("{migration}: {} guards breached", breaches.len());
///         }
///         other => eprintln!("{}: {other:?}", other.migration()),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RuntimeEvent {
    /// This process follows another position from now on, whoever changed it. Of several changes between
    /// two looks only the last is told.
    #[non_exhaustive]
    PositionChanged {
        /// The migration.
        migration: String,
        /// The position before.
        from: Position,
        /// The position since.
        to: Position,
    },
    /// A guard found its limit exceeded; told at every evaluation that does.
    #[non_exhaustive]
    GuardBreached {
        /// The migration.
        migration: String,
        /// The position that was judged.
        position: Position,
        /// What was found.
        breaches: Vec<Breach>,
    },
    /// A guard of this process rolled back.
    #[non_exhaustive]
    RolledBack {
        /// The migration.
        migration: String,
        /// The position that was judged.
        from: Position,
        /// The position since.
        to: Position,
        /// As in the audit.
        reason: String,
    },
    /// A guard could not roll back; it tries again at its next evaluation.
    #[non_exhaustive]
    RollbackFailed {
        /// The migration.
        migration: String,
        /// The position that was judged.
        position: Position,
        /// Why.
        error: String,
    },
    /// A rollout of which this process is the leader took a step.
    #[non_exhaustive]
    RolloutStepped {
        /// The migration.
        migration: String,
        /// The step, from 1.
        step: usize,
        /// The position since.
        to: Position,
    },
    /// A rollout of which this process is the leader goes no further until somebody resumes it.
    #[non_exhaustive]
    RolloutHeld {
        /// The migration.
        migration: String,
        /// Why.
        reason: String,
    },
    /// A rollout of which this process is the leader has taken its last step.
    #[non_exhaustive]
    RolloutDone {
        /// The migration.
        migration: String,
    },
}

impl RuntimeEvent {
    /// The migration it is about.
    #[must_use]
    pub fn migration(&self) -> &str {
        match self {
            Self::PositionChanged { migration, .. }
            | Self::GuardBreached { migration, .. }
            | Self::RolledBack { migration, .. }
            | Self::RollbackFailed { migration, .. }
            | Self::RolloutStepped { migration, .. }
            | Self::RolloutHeld { migration, .. }
            | Self::RolloutDone { migration } => migration,
        }
    }
}

/// What the service does with an event.
pub(crate) type Hook = Arc<dyn Fn(&RuntimeEvent) + Send + Sync>;

/// All that the service does.
#[derive(Clone, Default)]
pub(crate) struct Hooks(Vec<Hook>);

impl Hooks {
    pub(crate) fn add(&mut self, hook: Hook) {
        self.0.push(hook);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Calls each, also after one that panicked.
    pub(crate) fn call(&self, event: &RuntimeEvent) {
        for hook in &self.0 {
            if catch_unwind(AssertUnwindSafe(|| hook(event))).is_err() {
                tracing::error!(migration = event.migration(), "a hook for events panicked");
            }
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hooks", self.0.len())
    }
}

/// Where events go; nowhere without a hook.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events(Option<mpsc::Sender<RuntimeEvent>>);

impl Events {
    pub(crate) fn queue() -> (Self, mpsc::Receiver<RuntimeEvent>) {
        let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
        (Self(Some(sender)), receiver)
    }

    /// Puts an event into the queue. Returns whether there was room.
    pub(crate) fn send(&self, event: impl FnOnce() -> RuntimeEvent) -> bool {
        match &self.0 {
            Some(queue) => queue.try_send(event()).is_ok(),
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    fn event() -> RuntimeEvent {
        let migration = "orders".to_owned();
        RuntimeEvent::PositionChanged { migration, from: Position::start(), to: Position::start() }
    }

    #[test]
    fn the_queue_is_bounded_and_never_waits() {
        let (events, waiting) = Events::queue();
        for _ in 0..EVENTS_WAITING_MAX {
            assert!(events.send(event));
        }
        assert!(!events.send(event));
        drop(waiting);
        assert!(!events.send(event));
        let nobody_listens = Events::default();
        assert!(nobody_listens.send(|| panic!("made for nobody")));
    }

    #[test]
    fn a_hook_that_panics_keeps_no_other_from_hearing() {
        let (mut hooks, heard) = (Hooks::default(), Arc::new(AtomicU64::new(0)));
        hooks.add(Arc::new(|_| panic!("a bug in a hook")));
        let counter = Arc::clone(&heard);
        hooks.add(Arc::new(move |_| {
            counter.fetch_add(1, SeqCst);
        }));
        hooks.call(&event());
        hooks.call(&event());
        assert_eq!(heard.load(SeqCst), 2);
    }
}
