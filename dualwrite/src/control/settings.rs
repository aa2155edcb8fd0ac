//! What an operator sets of a backfill while it runs, in whichever process. Pure.

use std::time::Duration;

use serde::Serialize;

use crate::moment::micros_of;

/// The most workers of one run of a backfill in one process.
pub const WORKERS_MAX: u32 = 16;

/// A setting of a backfill that operators change while it runs.
///
/// ```
/// use dualwrite::{backfill::BackfillSetting, operator::Command, Side};
/// let lag = vec![(BackfillSetting::Lag, Some(5_000_000))]; // microseconds
/// let _command = Command::BackfillThrottle(Side::New, lag);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackfillSetting {
    /// The time that a transaction shall take, in microseconds.
    BatchTime,
    /// How many workers each process has that runs it.
    Workers,
    /// The most sessions that may wait for a lock.
    LockWaits,
    /// The most sessions that may be active.
    Active,
    /// The most that a replica may be behind, in microseconds.
    Lag,
    /// The most bytes a second of the server's log.
    LogRate,
    /// The most that 95 % of the service's writes may take.
    WriteP95,
    /// The most that 99 % of them may take.
    WriteP99,
}

impl BackfillSetting {
    pub(crate) const ALL: [Self; 8] = [
        Self::BatchTime,
        Self::Workers,
        Self::LockWaits,
        Self::Active,
        Self::Lag,
        Self::LogRate,
        Self::WriteP95,
        Self::WriteP99,
    ];

    /// The name of its field in a command.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::BatchTime => "batch-time",
            Self::Workers => "workers",
            Self::LockWaits => "lock-waits",
            Self::Active => "active",
            Self::Lag => "lag",
            Self::LogRate => "log-rate",
            Self::WriteP95 => "write-p95",
            Self::WriteP99 => "write-p99",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|setting| setting.as_str() == name)
    }

    /// Whether it is a limit of the throttle.
    pub(crate) const fn is_limit(self) -> bool {
        !matches!(self, Self::BatchTime | Self::Workers)
    }

    const fn is_time(self) -> bool {
        !matches!(self, Self::Workers | Self::LockWaits | Self::Active | Self::LogRate)
    }

    /// The least and the most; times in microseconds.
    const fn bounds(self) -> (u64, u64) {
        match self {
            Self::BatchTime => (1_000, 60_000_000),
            Self::Workers => (1, WORKERS_MAX as u64),
            Self::LockWaits => (0, 1_000_000),
            Self::Active => (1, 1_000_000),
            Self::Lag => (100_000, 86_400_000_000),
            Self::LogRate => (1, 1 << 40),
            Self::WriteP95 | Self::WriteP99 => (1_000, 3_600_000_000),
        }
    }

    /// Whether the value, where there is one, is within its bounds.
    pub(crate) fn check(self, value: Option<u64>) -> Result<(), String> {
        let (least, most) = self.bounds();
        match value {
            Some(value) if !(least..=most).contains(&value) => Err(self.wrong()),
            _ => Ok(()),
        }
    }

    fn wrong(self) -> String {
        let (least, most) = self.bounds();
        let what = if self.is_time() { "a time" } else { "a number" };
        let (least, most) = (self.show(least), self.show(most));
        format!("must be {what} from {least} to {most}, or `default` for what the service says")
    }

    /// A value as somebody writes it; `None` for `default`, which is what the service says.
    pub(crate) fn parse(self, text: &str) -> Result<Option<u64>, String> {
        if text == "default" {
            return Ok(None);
        }
        let found = match self.is_time() {
            true => humantime::parse_duration(text)
                .ok()
                .and_then(|time| u64::try_from(time.as_micros()).ok()),
            false => text.parse().ok(),
        };
        let found = found.filter(|value| self.check(Some(*value)).is_ok());
        found.map(Some).ok_or_else(|| self.wrong())
    }

    /// A value as it is written.
    pub(crate) fn show(self, value: u64) -> String {
        match self.is_time() {
            true => humantime::format_duration(Duration::from_micros(value)).to_string(),
            false => value.to_string(),
        }
    }
}

/// What operators have set of a backfill while it runs: these go before what the service says, until it is complete.
///
/// ```
/// # async fn look(migration: &dualwrite::Migration) -> Result<(), dualwrite::Error> {
/// if let Some(backfill) = migration.status().await?.backfill {
///     println!("batches of {:?}", backfill.settings.batch_time);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BackfillSettings {
    /// The time that a transaction shall take; see [`Backfill::batch_time`](crate::migration::Backfill::batch_time).
    #[serde(rename = "batch_time_us", serialize_with = "crate::moment::some_as_micros::serialize")]
    pub batch_time: Option<Duration>,
    /// How many workers each process has that runs it; see [`Backfill::workers`](crate::migration::Backfill::workers).
    pub workers: Option<u64>,
    /// The most sessions that may wait for a lock; see [`Throttle::lock_waits`](crate::backfill::Throttle::lock_waits).
    pub lock_waits: Option<u64>,
    /// The most sessions that may be active; see [`Throttle::active`](crate::backfill::Throttle::active).
    pub active: Option<u64>,
    /// The most that a replica may be behind; see [`Throttle::lag`](crate::backfill::Throttle::lag).
    #[serde(rename = "lag_us", serialize_with = "crate::moment::some_as_micros::serialize")]
    pub lag: Option<Duration>,
    /// The most bytes a second of the server's log; see [`Throttle::log_rate`](crate::backfill::Throttle::log_rate).
    pub log_rate: Option<u64>,
    /// The most that 95 % of the service's writes may take; see
    /// [`Throttle::write_p95`](crate::backfill::Throttle::write_p95).
    #[serde(rename = "write_p95_us", serialize_with = "crate::moment::some_as_micros::serialize")]
    pub write_p95: Option<Duration>,
    /// The most that 99 % of them may take.
    #[serde(rename = "write_p99_us", serialize_with = "crate::moment::some_as_micros::serialize")]
    pub write_p99: Option<Duration>,
}

impl BackfillSettings {
    pub(crate) fn set(&mut self, setting: BackfillSetting, value: Option<u64>) {
        let time = value.map(Duration::from_micros);
        match setting {
            BackfillSetting::BatchTime => self.batch_time = time,
            BackfillSetting::Workers => self.workers = value,
            BackfillSetting::LockWaits => self.lock_waits = value,
            BackfillSetting::Active => self.active = value,
            BackfillSetting::Lag => self.lag = time,
            BackfillSetting::LogRate => self.log_rate = value,
            BackfillSetting::WriteP95 => self.write_p95 = time,
            BackfillSetting::WriteP99 => self.write_p99 = time,
        }
    }

    fn get(&self, setting: BackfillSetting) -> Option<u64> {
        match setting {
            BackfillSetting::BatchTime => self.batch_time.map(micros_of),
            BackfillSetting::Workers => self.workers,
            BackfillSetting::LockWaits => self.lock_waits,
            BackfillSetting::Active => self.active,
            BackfillSetting::Lag => self.lag.map(micros_of),
            BackfillSetting::LogRate => self.log_rate,
            BackfillSetting::WriteP95 => self.write_p95.map(micros_of),
            BackfillSetting::WriteP99 => self.write_p99.map(micros_of),
        }
    }

    /// What is set, in words, by the names of the fields of the commands; empty where nothing is.
    #[must_use]
    pub fn shown(&self) -> String {
        let set = BackfillSetting::ALL.into_iter().filter_map(|setting| {
            self.get(setting).map(|value| format!("{} {}", setting.as_str(), setting.show(value)))
        });
        set.collect::<Vec<_>>().join(", ")
    }
}

/// Some settings in words, for the audit.
pub(crate) fn described(settings: &[(BackfillSetting, Option<u64>)]) -> String {
    let one = |(setting, value): &(BackfillSetting, Option<u64>)| {
        let value = value.map_or_else(|| "default".to_owned(), |value| setting.show(value));
        format!("{} {value}", setting.as_str())
    };
    settings.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_in_its_bounds_and_shown_as_it_was_written() {
        for (setting, text, value) in [
            (BackfillSetting::BatchTime, "20ms", 20_000),
            (BackfillSetting::Lag, "5s", 5_000_000),
            (BackfillSetting::LockWaits, "0", 0),
            (BackfillSetting::LogRate, "1048576", 1 << 20),
        ] {
            assert_eq!(setting.parse(text), Ok(Some(value)));
            assert_eq!(setting.show(value), text);
            assert_eq!(setting.parse("default"), Ok(None));
        }
        for (setting, text) in [
            (BackfillSetting::BatchTime, "0s"),
            (BackfillSetting::BatchTime, "61s"),
            (BackfillSetting::BatchTime, "20"),
            (BackfillSetting::Active, "0"),
            (BackfillSetting::Workers, "0"),
            (BackfillSetting::Workers, "99"),
            (BackfillSetting::Lag, "2days"),
            (BackfillSetting::LogRate, "-1"),
            (BackfillSetting::WriteP99, "fast"),
        ] {
            let wrong = setting.parse(text).unwrap_err();
            assert!(wrong.contains("from") && wrong.contains("default"), "{wrong}");
        }
    }

    #[test]
    fn every_setting_is_found_by_its_name_and_kept() {
        let mut settings = BackfillSettings::default();
        assert_eq!(settings.shown(), "");
        for (setting, value) in BackfillSetting::ALL.into_iter().zip(2_000_000..) {
            assert_eq!(BackfillSetting::named(setting.as_str()), Some(setting));
            settings.set(setting, Some(value));
            assert_eq!(settings.get(setting), Some(value));
        }
        assert!(settings.shown().starts_with("batch-time 2s, workers 2000001, "));
        settings.set(BackfillSetting::Lag, None);
        assert_eq!(settings.lag, None);
        let set = [(BackfillSetting::Lag, Some(5_000_000)), (BackfillSetting::Active, None)];
        assert_eq!(described(&set), "lag 5s, active default");
    }
}
