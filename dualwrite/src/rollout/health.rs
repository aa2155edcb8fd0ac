//! [`Health`]: what a rollout asks before it goes on.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// How a migration does at its present position, as whoever watches it says; see
/// [`Registration::rollout_health`](crate::Registration::rollout_health).
///
/// ```
/// assert_eq!(dualwrite::rollout::Health::default(), dualwrite::rollout::Health::Healthy);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Nothing speaks against going on. What is said where nobody watches.
    #[default]
    Healthy,
    /// Too little has happened to tell: the rollout waits.
    NotEnoughData,
    /// A limit is breached: the rollout holds until somebody resumes it.
    Breached,
}

/// Asked by the leader of a rollout, once a look.
#[derive(Clone, Default)]
pub(crate) struct HealthHook(Option<Arc<dyn Fn() -> Health + Send + Sync>>);

impl HealthHook {
    pub(crate) fn new(ask: impl Fn() -> Health + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(ask)))
    }

    /// What the hook says. One that panics says nothing.
    pub(crate) fn ask(&self) -> Health {
        let Some(ask) = &self.0 else { return Health::Healthy };
        catch_unwind(AssertUnwindSafe(|| ask())).unwrap_or(Health::NotEnoughData)
    }
}

impl fmt::Debug for HealthHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HealthHook").field(&self.0.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_watched_is_healthy_and_who_panics_says_nothing() {
        assert_eq!(HealthHook::default().ask(), Health::Healthy);
        assert_eq!(HealthHook::new(|| Health::Breached).ask(), Health::Breached);
        assert_eq!(HealthHook::new(|| panic!("by itself")).ask(), Health::NotEnoughData);
    }
}
