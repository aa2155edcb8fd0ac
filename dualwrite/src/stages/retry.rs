//! When what could not be copied is tried again.

use std::time::Duration;

/// When a key that could not be copied is tried again, at first; each further failure doubles it.
pub const RETRY_AFTER: Duration = Duration::from_secs(30);
/// The longest wait before a key that cannot be copied is tried once more. It is tried for as long as its
/// letter stands.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// How long a key waits that failed so many times.
pub(crate) fn retry_after(attempts: u64) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(20);
    RETRY_AFTER.saturating_mul(1 << doublings).min(RETRY_AFTER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_waits_longer_each_time_but_never_for_ever() {
        let waits: Vec<u64> = (0..12).map(|tried| retry_after(tried).as_secs()).collect();
        assert_eq!(waits[..9], [30, 30, 60, 120, 240, 480, 960, 1_920, 3_600]);
        assert_eq!(waits[11], 3_600);
        assert_eq!(retry_after(u64::MAX), RETRY_AFTER_MAX);
    }
}
