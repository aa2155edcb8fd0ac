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
mod tests;
