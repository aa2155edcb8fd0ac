//! The only place that reads a clock. Measuring uses the processor's counter; tests put a mock under it.

use std::sync::Arc;
use std::time::Duration;

/// Monotonic time since the start of this process' runtime, in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    quanta: quanta::Clock,
    base: u64,
}

/// The hands of a clock that a test moves.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<quanta::Mock>);

impl ManualClock {
    /// Lets time pass for whoever measures by this clock.
    pub fn advance(&self, by: Duration) {
        self.0.increment(by);
    }
}

impl Clock {
    pub(crate) fn system() -> Self {
        let quanta = quanta::Clock::new();
        let base = quanta.raw();
        Self { quanta, base }
    }

    pub(crate) fn manual() -> (Self, ManualClock) {
        let (quanta, mock) = quanta::Clock::mock();
        let base = quanta.raw();
        (Self { quanta, base }, ManualClock(mock))
    }

    /// Nanoseconds since the base.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.quanta.delta_as_nanos(self.base, self.quanta.raw())
    }
}

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
