//! When a backfill makes way for others. Pure; the worker asks the database.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::control::settings::BackfillSettings;
use crate::database::Pressure;
use crate::observe::figures::Figures;
use crate::observe::histogram::Counts;
use crate::pace::replicas::trail::Behind;
use crate::rollout::hours::Hours;
use crate::stages::stage::Side;

/// How far back the latency of the service's own writes is looked at.
pub const WRITES_WINDOW: Duration = Duration::from_secs(10);
/// Writes of one side in that time below which they say nothing.
pub const WRITES_MIN: u64 = 20;

/// What is known of the load; `None` where nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) pressure: Pressure,
    /// Bytes a second.
    pub(crate) log_rate: Option<u64>,
    pub(crate) writes: Option<WriteLatency>,
    pub(crate) replicas: Vec<Behind>,
}

/// Of the slower side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WriteLatency {
    pub(crate) p95: Duration,
    pub(crate) p99: Duration,
}

impl WriteLatency {
    /// Of the writes of some time; `None` where they are too few to say anything.
    pub(crate) fn of(figures: &Figures) -> Option<Self> {
        let of_side = |side: Side| {
            let mut counts = Counts::default();
            for method in figures.methods.iter().filter(|method| method.writes) {
                counts.add(match side {
                    Side::Old => &method.old.latency,
                    Side::New => &method.new.latency,
                });
            }
            (counts.total() >= WRITES_MIN).then(|| counts.quantiles([0.95, 0.99]))
        };
        let slow = [Side::Old, Side::New].into_iter().filter_map(of_side);
        let slower = |a: [Duration; 2], b: [Duration; 2]| [a[0].max(b[0]), a[1].max(b[1])];
        slow.reduce(slower).map(|[p95, p99]| Self { p95, p99 })
    }
}

/// The speed of a log from what was ever written to it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogMeter {
    /// Bytes, and when, in nanoseconds.
    last: Option<(u64, u64)>,
}

impl LogMeter {
    /// Takes a look in. Bytes a second since the one before; `None` at first, and where the number went
    /// back, as after a failover.
    pub(crate) fn sample(&mut self, written: u64, now: u64) -> Option<u64> {
        let (before, then) = self.last.replace((written, now))?;
        let (bytes, nanos) = (written.checked_sub(before)?, now.checked_sub(then)?);
        let rate = u128::from(bytes) * 1_000_000_000 / u128::from(nanos.max(1));
        Some(u64::try_from(rate).unwrap_or(u64::MAX))
    }
}

/// Limits above which a backfill makes way: it backs off at once, and comes back gradually. The reason is
/// in its progress.
///
/// ```
/// use std::time::Duration;
/// use dualwrite::backfill::Throttle;
///
/// let throttle = Throttle::default()
///     .lock_waits(5)
///     .lag(Duration::from_secs(2))
///     .log_rate(20 * 1024 * 1024)
///     .write_p99(Duration::from_millis(50))
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
    log_rate: Option<u64>,
    write_p95: Option<Duration>,
    write_p99: Option<Duration>,
    hours: Option<Hours>,
    hook: Option<Hook>,
}

type Hook = Arc<dyn Fn() -> Option<String> + Send + Sync>;

impl Default for Throttle {
    /// More than 20 sessions that wait for a lock, more than 200 that are active, a replica more than ten
    /// seconds behind. No limit on the log and on the latency of writes: what is much depends on the disks.
    fn default() -> Self {
        Self {
            lock_waits: 20,
            active: 200,
            lag: Duration::from_secs(10),
            log_rate: None,
            write_p95: None,
            write_p99: None,
            hours: None,
            hook: None,
        }
    }
}

impl Throttle {
    /// The most sessions that may wait for a lock: of the database on PostgreSQL, of the server on MySQL and
    /// MariaDB. For one of them to be too many, say 0.
    pub fn lock_waits(mut self, most: u64) -> Self {
        self.lock_waits = most;
        self
    }

    /// The most sessions that may be active, likewise. The backfill's own are among them.
    pub fn active(mut self, most: u64) -> Self {
        self.active = most;
        self
    }

    /// The most that a replica may be behind: of those that the runtime
    /// [was told of](crate::RuntimeBuilder::replica), told to within a second; and on PostgreSQL of those
    /// whose lag the primary knows, if this role may see it (`pg_monitor`).
    pub fn lag(mut self, most: Duration) -> Self {
        self.lag = most;
        self
    }

    /// The most bytes a second that the whole database server may write to its log, which replicas and
    /// backups have to carry: the WAL of PostgreSQL, the redo log of MySQL and MariaDB. What the backfill
    /// writes itself is part of it. Averaged between two looks, a second apart.
    pub fn log_rate(mut self, bytes: u64) -> Self {
        self.log_rate = Some(bytes);
        self
    }

    /// The most that 95 % of the service's own writes may take: of the repositories' write methods for
    /// this migration in this process, each side by itself, over the last [`WRITES_WINDOW`] and from
    /// [`WRITES_MIN`] writes on.
    pub fn write_p95(mut self, most: Duration) -> Self {
        self.write_p95 = Some(most);
        self
    }

    /// The most that 99 % of them may take.
    pub fn write_p99(mut self, most: Duration) -> Self {
        self.write_p99 = Some(most);
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

    /// With what operators have set.
    pub(crate) fn tuned(&self, settings: &BackfillSettings) -> Self {
        Self {
            lock_waits: settings.lock_waits.unwrap_or(self.lock_waits),
            active: settings.active.unwrap_or(self.active),
            lag: settings.lag.unwrap_or(self.lag),
            log_rate: settings.log_rate.or(self.log_rate),
            write_p95: settings.write_p95.or(self.write_p95),
            write_p99: settings.write_p99.or(self.write_p99),
            ..self.clone()
        }
    }

    /// Whether this hour is one to copy in.
    pub(crate) fn allows(&self, hour: u8) -> bool {
        self.hours.is_none_or(|hours| hours.contain(hour))
    }

    pub(crate) fn asks_host(&self) -> Option<String> {
        self.hook.as_ref().and_then(|hook| hook())
    }

    pub(crate) fn wants_log_rate(&self) -> bool {
        self.log_rate.is_some()
    }

    pub(crate) fn wants_writes(&self) -> bool {
        self.write_p95.is_some() || self.write_p99.is_some()
    }

    /// A reason to make way in what the database says of itself, or in what its clients have to wait.
    pub(crate) fn judge(&self, load: &Load) -> Option<String> {
        self.judge_pressure(load.pressure)
            .or_else(|| self.judge_log(load.log_rate?))
            .or_else(|| self.judge_writes(load.writes?))
            .or_else(|| load.replicas.iter().find_map(|replica| self.judge_replica(replica)))
    }

    fn judge_log(&self, found: u64) -> Option<String> {
        let most = self.log_rate.filter(|most| found > *most)?;
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let (found, most) = (mebibytes(found), mebibytes(most));
        Some(format!("the log grows by {found:.1} MiB/s, more than {most:.1}"))
    }

    fn judge_writes(&self, found: WriteLatency) -> Option<String> {
        let limits = [(95, found.p95, self.write_p95), (99, found.p99, self.write_p99)];
        limits.into_iter().find_map(|(share, found, most)| {
            let most = most.filter(|most| found > *most)?;
            Some(format!("{share} % of the writes take up to {found:.1?}, more than {most:.1?}"))
        })
    }

    fn judge_replica(&self, found: &Behind) -> Option<String> {
        match found.lag {
            Some(lag) if lag <= self.lag => None,
            Some(lag) => Some(format!("the replica `{}` is {lag:.1?} behind", found.replica)),
            None => Some(format!("the replica `{}` gives no answer", found.replica)),
        }
    }

    fn judge_pressure(&self, pressure: Pressure) -> Option<String> {
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
            .field("log_rate", &self.log_rate)
            .field("write_p95", &self.write_p95)
            .field("write_p99", &self.write_p99)
            .field("hours", &self.hours)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::figures::{MethodFigures, SideFigures};
    use proptest::prelude::*;

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
        let judge = |pressure| throttle.judge(&Load { pressure, ..Load::default() });
        assert_eq!(judge(quiet), None);
        let reason = |pressure| judge(pressure).unwrap();
        assert!(reason(Pressure { lock_waits: Some(21), ..quiet }).contains("21 sessions wait"));
        assert!(
            reason(Pressure { active: Some(201), ..quiet }).contains("201 sessions are active")
        );
        let lag = Some(Duration::from_secs(11));
        assert!(reason(Pressure { lag, ..quiet }).contains("11.0s behind"));
        assert_eq!(judge(Pressure { lock_waits: Some(20), ..quiet }), None);
        let replica = |lag: Option<u64>| {
            let behind = Behind { replica: "near".into(), lag: lag.map(Duration::from_secs) };
            throttle.judge(&Load { replicas: vec![behind], ..Load::default() })
        };
        assert_eq!(replica(Some(10)), None);
        assert_eq!(replica(Some(11)).unwrap(), "the replica `near` is 11.0s behind");
        assert_eq!(replica(None).unwrap(), "the replica `near` gives no answer");
    }

    #[test]
    fn the_log_and_the_writes_count_only_where_somebody_set_a_limit() {
        let ms = Duration::from_millis;
        let writes = Some(WriteLatency { p95: ms(40), p99: ms(90) });
        let load = Load { log_rate: Some(3 << 20), writes, ..Load::default() };
        let reason = |throttle: Throttle| throttle.judge(&load);
        assert_eq!(reason(Throttle::default()), None);
        let most = |mebibytes: u64| Throttle::default().log_rate(mebibytes << 20);
        assert_eq!(reason(most(2)).unwrap(), "the log grows by 3.0 MiB/s, more than 2.0");
        assert_eq!(reason(most(3)), None);
        let p95 = Throttle::default().write_p95(ms(39));
        assert_eq!(reason(p95).unwrap(), "95 % of the writes take up to 40.0ms, more than 39.0ms");
        let p99 = Throttle::default().write_p95(ms(40)).write_p99(ms(89));
        assert_eq!(reason(p99).unwrap(), "99 % of the writes take up to 90.0ms, more than 89.0ms");
        assert_eq!(reason(Throttle::default().write_p95(ms(40)).write_p99(ms(90))), None);
        let unknown = most(0).write_p95(ms(0)).judge(&Load::default());
        assert_eq!(unknown, None, "who knows nothing does not make way");
    }

    fn method(writes: bool, old: &[(u64, u64)], new: &[(u64, u64)]) -> MethodFigures {
        let side = |counts: &[(u64, u64)]| SideFigures {
            latency: Counts::of(counts.iter().copied()),
            ..Default::default()
        };
        let name = format!("Notes::{}", old.len()).into();
        MethodFigures {
            name,
            writes,
            old: side(old),
            new: side(new),
            compared: Default::default(),
            fields: Default::default(),
        }
    }

    #[test]
    fn the_slower_side_of_the_writes_is_what_counts() {
        let ms = 1_000_000;
        let of = |methods| WriteLatency::of(&Figures { methods, ..Figures::default() });
        assert_eq!(of(vec![]), None);
        let few = method(true, &[(90 * ms, WRITES_MIN - 1)], &[]);
        let read = method(false, &[(900 * ms, 500)], &[]);
        assert_eq!(of(vec![few.clone(), read.clone()]), None, "too few, and reads are no writes");
        let many = method(true, &[(2 * ms, 100)], &[(20 * ms, 97), (80 * ms, 3)]);
        let found = of(vec![read, many]).unwrap();
        let near = |found: Duration, ms: u64| {
            let found = found.as_millis() as u64;
            assert!((ms..=ms * 113 / 100 + 1).contains(&found), "{found} for {ms}");
        };
        near(found.p95, 20);
        near(found.p99, 80);
    }

    proptest! {
        #[test]
        fn the_log_has_the_speed_that_it_was_written_with(
            start in 0_u64..u64::MAX / 4, rate in 0_u64..1 << 40, seconds in 1_u64..1_000,
        ) {
            let mut meter = LogMeter::default();
            prop_assert_eq!(meter.sample(start, 7), None);
            let then = 7 + seconds * 1_000_000_000;
            prop_assert_eq!(meter.sample(start + rate * seconds, then), Some(rate));
            // After a failover the number may be anything: silence, then the speed from there.
            prop_assert!(start == 0 || meter.sample(start - 1, then + 1).is_none());
        }
    }
}
