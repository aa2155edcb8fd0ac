//! The port to the calls of each side by the minute, and what is shown of them.

use std::time::SystemTime;

use futures_util::future::BoxFuture;
use serde::Serialize;

use crate::error::Error;
use crate::observe::traffic::SideTraffic;
use crate::stages::stage::Side;

/// How many minutes are shown.
pub const TRAFFIC_MINUTES: u32 = 60;

/// Calls of one side over some time, of all instances together. Durations are in microseconds, zero without calls, and
/// too long by at most a half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TrafficFigures {
    /// Calls that ended, those of mirrors too.
    pub calls: u64,
    /// Of these, those that ended with an error.
    pub errors: u64,
    /// What half of the calls kept within.
    pub p50_us: f64,
    /// What 95 % of them kept within.
    pub p95_us: f64,
    /// What 99 % of them kept within.
    pub p99_us: f64,
}

impl TrafficFigures {
    fn of(traffic: &SideTraffic) -> Self {
        let SideTraffic { calls, errors, .. } = *traffic;
        let [p50_us, p95_us, p99_us] = [0.50, 0.95, 0.99].map(|share| traffic.quantile_us(share));
        Self { calls, errors, p50_us, p95_us, p99_us }
    }

    /// The share of the calls that failed, in percent.
    ///
    /// ```
    /// assert_eq!(dualwrite::operator::TrafficFigures::default().errors_percent(), 0.0);
    /// ```
    #[must_use]
    pub fn errors_percent(&self) -> f64 {
        if self.calls == 0 { 0.0 } else { self.errors as f64 * 100.0 / self.calls as f64 }
    }
}

/// A minute of one side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TrafficMinute {
    /// When it began, by the database's clock. Calls count in the minute in which their
    /// instance tells of them, which is up to a minute later.
    #[serde(rename = "at_us", with = "crate::moment::as_micros")]
    pub at: SystemTime,
    /// Its calls.
    #[serde(flatten)]
    pub figures: TrafficFigures,
}

/// The last hour of one side.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TrafficSide {
    /// The whole hour.
    pub hour: TrafficFigures,
    /// Its minutes, oldest first, those without calls left out.
    pub minutes: Vec<TrafficMinute>,
}

/// The calls of both sides in the last hour, of all instances together. Each instance adds what it counted once a minute:
/// one statement for each migration that was called, and none for the others. A shutdown adds the rest; what an instance that
/// dies has counted since is lost.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TrafficReport {
    /// The old side.
    pub old: TrafficSide,
    /// The new side.
    pub new: TrafficSide,
}

impl TrafficReport {
    pub(crate) fn of(slots: &[TrafficSlot]) -> Self {
        let side = |side: Side| {
            let mut hour = SideTraffic::default();
            let mut minutes = Vec::new();
            for slot in slots.iter().filter(|slot| slot.side == side) {
                hour.add(&slot.traffic);
                let figures = TrafficFigures::of(&slot.traffic);
                minutes.push(TrafficMinute { at: slot.at, figures });
            }
            TrafficSide { hour: TrafficFigures::of(&hour), minutes }
        };
        Self { old: side(Side::Old), new: side(Side::New) }
    }
}

/// What is stored of a minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrafficSlot {
    pub(crate) side: Side,
    pub(crate) at: SystemTime,
    pub(crate) traffic: SideTraffic,
}

/// The calls of each side by the minute.
pub(crate) trait Traffic: Send + Sync {
    /// Adds these calls of the old and of the new side to the present minute; `forget` removes what is too old.
    fn add_traffic<'a>(
        &'a self,
        _name: &'a str,
        _sides: &'a [SideTraffic; 2],
        _forget: bool,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Those of the last [`TRAFFIC_MINUTES`], oldest first.
    fn traffic<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, Result<Vec<TrafficSlot>, Error>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}
