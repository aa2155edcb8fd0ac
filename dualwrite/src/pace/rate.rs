//! How long background work pauses, for a rate that it keeps and for whoever needs the database more.

use std::time::Duration;

/// The longest pause between two batches of a worker that is throttled.
const PAUSE_MAX: Duration = Duration::from_secs(10);
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// How many keys a batch of one of these workers may have at such a rate: those of a second. So the rate holds
/// over a few seconds, whatever fits into a batch, and a command is heard after one.
pub(crate) fn rate_keys(rate: Option<u64>, workers: u64) -> u32 {
    let Some(rate) = rate else { return u32::MAX };
    u32::try_from(rate / workers.max(1)).unwrap_or(u32::MAX).max(1)
}

/// How long to wait after a batch so that all workers together stay below `rate` keys a second.
pub(crate) fn rate_pause(keys: u64, spent: Duration, rate: Option<u64>, workers: u64) -> Duration {
    let Some(rate) = rate else { return Duration::ZERO };
    let share = rate as f64 / workers.max(1) as f64;
    let wanted = Duration::try_from_secs_f64(keys as f64 / share.max(0.001)).unwrap_or(PAUSE_MAX);
    wanted.saturating_sub(spent).min(PAUSE_MAX)
}

/// The pause between batches while something asks for one: doubled at once as long as the reason lasts,
/// given back by a quarter with each batch after that.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Brake {
    pause: Duration,
}

impl Brake {
    /// Answers with the pause before the next batch.
    pub(crate) fn judge(&mut self, pressed: bool) -> Duration {
        self.pause = match pressed {
            true => (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX),
            false if self.pause <= PAUSE_MIN => Duration::ZERO,
            false => self.pause * 3 / 4,
        };
        self.pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_brake_is_pulled_at_once_and_released_gradually() {
        let mut brake = Brake::default();
        assert_eq!(brake.judge(false), Duration::ZERO);
        let pulled: Vec<Duration> = (0..12).map(|_| brake.judge(true)).collect();
        assert_eq!((pulled[0], pulled[1], pulled[11]), (PAUSE_MIN, PAUSE_MIN * 2, PAUSE_MAX));
        let released = (1..).find(|_| brake.judge(false).is_zero()).unwrap();
        assert!((10..30).contains(&released), "{released}");
    }

    #[test]
    fn a_rate_is_shared_by_all_workers() {
        let none = Duration::ZERO;
        assert_eq!(rate_pause(100, none, None, 1), none);
        assert_eq!(rate_pause(100, none, Some(1_000), 1), Duration::from_millis(100));
        assert_eq!(rate_pause(100, none, Some(1_000), 4), Duration::from_millis(400));
        assert_eq!(
            rate_pause(100, Duration::from_millis(300), Some(1_000), 4),
            Duration::from_millis(100)
        );
        assert_eq!(rate_pause(u64::MAX, none, Some(0), 1), PAUSE_MAX);
    }

    #[test]
    fn a_batch_has_the_keys_of_a_second_of_its_worker() {
        assert_eq!(rate_keys(None, 4), u32::MAX);
        assert_eq!(rate_keys(Some(1_000), 4), 250);
        assert_eq!(rate_keys(Some(1_000), 0), 1_000, "one at the least");
        assert_eq!(rate_keys(Some(3), 4), 1, "a key at the least");
        assert_eq!(rate_keys(Some(u64::MAX), 1), u32::MAX);
    }

    #[test]
    fn each_pull_and_each_release_has_its_length() {
        let mut brake = Brake::default();
        assert_eq!([true, true, true].map(|on| brake.judge(on).as_millis()), [50, 100, 200]);
        assert_eq!([false; 7].map(|on| brake.judge(on).as_millis()), [150, 112, 84, 63, 47, 0, 0]);
    }

    proptest! {
        #[test]
        fn a_rate_holds_and_is_heard(
            rate in 1_u64..100_000, workers in 1_u64..40, spent_ms in 0_u64..20_000,
        ) {
            let keys = u64::from(rate_keys(Some(rate), workers));
            let spent = Duration::from_millis(spent_ms);
            let pause = rate_pause(keys, spent, Some(rate), workers);
            prop_assert!(pause <= Duration::from_secs(1) || workers > rate);
            // Below a key in ten seconds and worker it does not wait any longer.
            let took = (spent + pause).as_secs_f64();
            let together = keys as f64 / took * workers as f64;
            prop_assert!(together <= rate as f64 * 1.001 || pause == PAUSE_MAX, "{together}");
        }
    }
}
