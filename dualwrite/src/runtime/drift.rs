//! Whether the clock that leases are counted by goes on together with others: with the kernel's, which counts while
//! the machine is suspended, and with the database's. Where ours falls behind, the machine was suspended, or the
//! database's clock was set; either way a lease that was counted by one of them says nothing to the other.

use std::time::Duration;

/// How far they may be apart after a look.
const TOLERATED_US: i64 = 1_000_000;
/// The same of the two clocks of this machine, after a round.
const TOLERATED: Duration = Duration::from_secs(1);

/// The clock that leases are counted by, and the one that goes on while the machine is suspended, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awake {
    pub(super) measured: u64,
    pub(super) all: u64,
}

/// For how long the machine was suspended in between; `None` where it was not.
pub(super) fn slept(before: Awake, now: Awake) -> Option<Duration> {
    let measured = now.measured.saturating_sub(before.measured);
    let slept = now.all.saturating_sub(before.all).saturating_sub(measured);
    Some(Duration::from_nanos(slept)).filter(|slept| *slept > TOLERATED)
}

/// One look: our time when the question was sent and when the answer came, in nanoseconds, and what the database's
/// clock said in between, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) database_us: i64,
}

/// By how much the database's clock has gone ahead of ours since the look before, in microseconds (negative: fallen
/// behind); `None` where that may be the time that the answers took.
pub(super) fn stepped(before: Reading, now: Reading) -> Option<i64> {
    let theirs = now.database_us.saturating_sub(before.database_us);
    let us = |from: u64, to: u64| {
        i64::try_from(Duration::from_nanos(to.saturating_sub(from)).as_micros()).unwrap_or(i64::MAX)
    };
    let (least, most) = (us(before.received, now.sent), us(before.sent, now.received));
    let (ahead, behind) = (theirs.saturating_sub(most), theirs.saturating_sub(least));
    match (ahead > TOLERATED_US, behind < -TOLERATED_US) {
        (true, _) => Some(ahead),
        (_, true) => Some(behind),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn reading(sent_s: u64, took_s: u64, database_s: i64) -> Reading {
        let sent = sent_s * SECOND;
        Reading { sent, received: sent + took_s * SECOND, database_us: database_s * 1_000_000 }
    }

    #[test]
    fn clocks_that_go_on_together_have_not_stepped() {
        assert_eq!(stepped(reading(10, 0, 500), reading(15, 0, 505)), None);
        assert_eq!(stepped(reading(10, 3, 510), reading(20, 4, 518)), None, "slow answers");
    }

    #[test]
    fn a_clock_that_stood_still_says_that_the_machine_slept() {
        let at = |measured_s: u64, all_s: u64| Awake {
            measured: measured_s * SECOND,
            all: all_s * SECOND,
        };
        assert_eq!(slept(at(10, 5_000), at(11, 5_031)), Some(Duration::from_secs(30)));
        assert_eq!(slept(at(10, 5_000), at(70, 5_060)), None);
        assert_eq!(slept(at(10, 5_000), at(12, 5_001)), None, "the two are not read at once");
    }

    #[test]
    fn a_step_and_a_suspend_are_seen() {
        assert_eq!(stepped(reading(10, 0, 500), reading(15, 0, 4_105)), Some(3_600_000_000));
        assert_eq!(stepped(reading(10, 0, 500), reading(15, 0, 445)), Some(-60_000_000));
        // Ours stood still for 30 seconds.
        assert_eq!(stepped(reading(10, 0, 500), reading(11, 0, 531)), Some(30_000_000));
    }
}
