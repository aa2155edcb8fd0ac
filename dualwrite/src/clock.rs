//! The only place that reads a clock. Measuring uses the processor's counter; tests put a mock under it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// Monotonic time since the start of this process' runtime, in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    quanta: quanta::Clock,
    base: u64,
    /// A test moves its hands: for how long it has suspended the machine, in nanoseconds.
    manual: Option<Arc<AtomicU64>>,
}

/// The hands of a clock that a test moves.
#[derive(Clone, Debug)]
pub struct ManualClock {
    hands: Arc<quanta::Mock>,
    suspended: Arc<AtomicU64>,
}

impl ManualClock {
    /// Lets time pass for whoever measures by this clock.
    pub fn advance(&self, by: Duration) {
        self.hands.increment(by);
    }

    /// Lets time pass as where the machine is suspended: whoever measures by this clock does not notice.
    pub fn suspend(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.suspended.fetch_add(nanos, Relaxed);
    }
}

impl Clock {
    pub(crate) fn system() -> Self {
        let quanta = quanta::Clock::new();
        let base = quanta.raw();
        Self { quanta, base, manual: None }
    }

    pub(crate) fn manual() -> (Self, ManualClock) {
        let (quanta, mock) = quanta::Clock::mock();
        let base = quanta.raw();
        let suspended = Arc::<AtomicU64>::default();
        let hands = ManualClock { hands: mock, suspended: Arc::clone(&suspended) };
        (Self { quanta, base, manual: Some(suspended) }, hands)
    }

    /// Nanoseconds since the base.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.nanos(self.base, self.ticks())
    }

    /// The time in the counter's own unit, for calls that need its value only seldom.
    #[inline]
    pub(crate) fn ticks(&self) -> u64 {
        self.quanta.raw()
    }

    /// Nanoseconds from one time in ticks to another, zero where that came before.
    #[inline]
    pub(crate) fn nanos(&self, from: u64, to: u64) -> u64 {
        self.quanta.delta_as_nanos(from, to)
    }

    /// Nanoseconds of a clock that goes on while the machine is suspended, where there is one; the clock for measuring
    /// may stand still then.
    pub(crate) fn awake_or_not(&self) -> u64 {
        if let Some(suspended) = &self.manual {
            return self.now().saturating_add(suspended.load(Relaxed));
        }
        #[cfg(target_os = "linux")]
        {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
            let nanos = i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec);
            u64::try_from(nanos).unwrap_or_default()
        }
        #[cfg(not(target_os = "linux"))]
        self.now()
    }

    /// Whether a test moves it, which nobody else's clock follows.
    pub(crate) fn is_manual(&self) -> bool {
        self.manual.is_some()
    }

    /// How many ticks last as long as that.
    pub(crate) fn ticks_in(&self, duration: Duration) -> u64 {
        const MANY: u64 = 1 << 40;
        let nanos_in_many = u128::from(self.nanos(0, MANY)).max(1);
        let ticks = duration.as_nanos().saturating_mul(u128::from(MANY)) / nanos_in_many;
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }
}

/// The runtime of tokio that this is called in.
///
/// # Errors
/// `OutsideTokio`.
pub(crate) fn tokio_runtime() -> Result<tokio::runtime::Handle, Error> {
    tokio::runtime::Handle::try_current().map_err(|error| {
        let message = "it was called outside of tokio, without which neither dualwrite nor sqlx works; call it in a \
                       task of a tokio runtime";
        Error::new(ErrorKind::OutsideTokio, message).caused_by(error)
    })
}

/// A time by which pauses are measured; tokio's paused time applies.
pub(crate) type Moment = tokio::time::Instant;

/// Waits without blocking the thread; tokio's paused time applies.
pub(crate) async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Limits a future in time.
///
/// # Errors
/// `()` when the time is over.
pub(crate) async fn limit<F: Future>(duration: Duration, future: F) -> Result<F::Output, ()> {
    tokio::time::timeout(duration, future).await.map_err(drop)
}

/// A duration shortened or lengthened by up to a quarter, so that many instances do not act in step.
pub(crate) fn jittered(duration: Duration, draw: u64) -> Duration {
    let share = 750 + (draw % 501) as u32; // 0.750 to 1.250
    duration * share / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_last_as_long_as_they_say() {
        for clock in [Clock::system(), Clock::manual().0] {
            for seconds in [1, 15, 3_600] {
                let lease = Duration::from_secs(seconds);
                let nanos = clock.nanos(0, clock.ticks_in(lease));
                assert!(nanos.abs_diff(seconds * 1_000_000_000) < 10_000, "{clock:?}: {nanos}");
            }
            assert_eq!(clock.nanos(7, 3), 0);
        }
    }
}
