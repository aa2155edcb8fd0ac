//! When a backfill makes way for others. Pure; the worker asks the database.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::Pressure;
use crate::hours::Hours;

/// Limits above which a backfill makes way: it backs off at once, and comes back gradually. The reason is
/// in its progress.
///
/// ```
/// use std::time::Duration;
/// use dualwrite::Throttle;
///
/// let throttle = Throttle::default()
///     .lock_waits(5)
///     .lag(Duration::from_secs(2))
///     .when(|| Some("the queue is long".to_owned()))
///     .hours(22, 6);
/// # let _ = throttle;
/// ```
#[derive(Clone)]
#[must_use]
pub struct Throttle {
    lock_waits: u64,
    active: u64,
    lag: Duration,
    hours: Option<Hours>,
    hook: Option<Hook>,
}

type Hook = Arc<dyn Fn() -> Option<String> + Send + Sync>;

impl Default for Throttle {
    /// More than 20 sessions that wait for a lock, more than 200 that are active, a replica more than ten
    /// seconds behind.
    fn default() -> Self {
        Self { lock_waits: 20, active: 200, lag: Duration::from_secs(10), hours: None, hook: None }
    }
}

impl Throttle {
    /// The most sessions of the database that may wait for a lock. PostgreSQL and MySQL.
    pub fn lock_waits(mut self, most: u64) -> Self {
        self.lock_waits = most;
        self
    }

    /// The most sessions of the database that may be active. PostgreSQL and MySQL.
    pub fn active(mut self, most: u64) -> Self {
        self.active = most;
        self
    }

    /// The most that a replica may be behind, as the primary knows it: on PostgreSQL alone.
    pub fn lag(mut self, most: Duration) -> Self {
        self.lag = most;
        self
    }

    /// The hours of the day, in UTC by the database's clock, in which it copies at all: from the first up
    /// to and without the last; 22 and 6 are the night.
    pub fn hours(mut self, from: u8, until: u8) -> Self {
        self.hours = Some(Hours(from, until));
        self
    }

    /// Asked after every batch, answers with a reason to make way. Must not block.
    pub fn when(mut self, hook: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        self.hook = Some(Arc::new(hook));
        self
    }

    /// Whether this hour is one to copy in.
    pub(crate) fn allows(&self, hour: u8) -> bool {
        self.hours.is_none_or(|hours| hours.contain(hour))
    }

    pub(crate) fn asks_host(&self) -> Option<String> {
        self.hook.as_ref().and_then(|hook| hook())
    }

    /// A reason to make way in what the database says of itself.
    pub(crate) fn judge(&self, pressure: Pressure) -> Option<String> {
        match pressure {
            Pressure { lock_waits: Some(found), .. } if found > self.lock_waits => {
                Some(format!("{found} sessions wait for locks"))
            }
            Pressure { active: Some(found), .. } if found > self.active => {
                Some(format!("{found} sessions are active"))
            }
            Pressure { lag: Some(found), .. } if found > self.lag => {
                Some(format!("a replica is {found:.1?} behind"))
            }
            _ => None,
        }
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle")
            .field("lock_waits", &self.lock_waits)
            .field("active", &self.active)
            .field("lag", &self.lag)
            .field("hours", &self.hours)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_may_span_midnight() {
        let allowed = |from, until| -> Vec<u8> {
            let throttle = Throttle::default().hours(from, until);
            (0..24).filter(|hour| throttle.allows(*hour)).collect()
        };
        assert_eq!(allowed(1, 4), [1, 2, 3]);
        assert_eq!(allowed(22, 2), [0, 1, 22, 23]);
        assert_eq!(allowed(0, 24).len(), 24);
        assert!((0..24).all(|hour| Throttle::default().allows(hour)));
    }

    #[test]
    fn each_limit_gives_its_reason_and_silence_gives_none() {
        let throttle = Throttle::default();
        let quiet = Pressure::default();
        assert_eq!(throttle.judge(quiet), None);
        let reason = |pressure| throttle.judge(pressure).unwrap();
        assert!(reason(Pressure { lock_waits: Some(21), ..quiet }).contains("21 sessions wait"));
        assert!(
            reason(Pressure { active: Some(201), ..quiet }).contains("201 sessions are active")
        );
        let lag = Some(Duration::from_secs(11));
        assert!(reason(Pressure { lag, ..quiet }).contains("11.0s behind"));
        assert_eq!(throttle.judge(Pressure { lock_waits: Some(20), ..quiet }), None);
    }
}
