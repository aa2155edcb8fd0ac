//! Times and spans: [`SystemTime`] and [`Duration`] in the API, whole microseconds in the control tables and in JSON.
//! Pure.

use std::time::{Duration, SystemTime};

/// The first second that is not shown: the year 10,000.
const SHOWN_END: Duration = Duration::from_secs(253_402_300_800);

/// The time so many microseconds after the beginning of 1970, or before it.
pub(crate) fn from_micros(micros: i64) -> SystemTime {
    let span = Duration::from_micros(micros.unsigned_abs());
    let at = match micros < 0 {
        true => SystemTime::UNIX_EPOCH.checked_sub(span),
        false => SystemTime::UNIX_EPOCH.checked_add(span),
    };
    at.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// By a clock that counts nanoseconds.
pub(crate) fn from_nanos(nanos: u64) -> SystemTime {
    from_micros(i64::try_from(nanos / 1_000).unwrap_or(i64::MAX))
}

pub(crate) fn to_micros(at: SystemTime) -> i64 {
    match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |us| -us),
    }
}

/// In whole microseconds.
pub(crate) fn micros_of(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// In UTC, to the second: `2026-11-30T03:00:00Z`. Empty before 1970 and after the year 9999.
pub(crate) fn text(at: SystemTime) -> String {
    match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) if since < SHOWN_END => humantime::format_rfc3339_seconds(at).to_string(),
        _ => String::new(),
    }
}

/// A time in JSON: microseconds since 1970.
pub(crate) mod as_micros {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(at: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(crate::moment::to_micros(*at))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        i64::deserialize(from).map(crate::moment::from_micros)
    }
}

/// A span in JSON: microseconds.
pub(crate) mod span_as_micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(crate::moment::micros_of(*span))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_micros)
    }
}

/// A span in JSON that may be missing: microseconds, or `null`.
pub(crate) mod some_as_micros {
    use std::time::Duration;

    use serde::{Serialize as _, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        span: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        span.map(crate::moment::micros_of).serialize(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_the_database_comes_back_to_the_microsecond() {
        for micros in [0, 1, -1, 1_800_000_000_000_001, -62_135_596_800_000_000] {
            assert_eq!(to_micros(from_micros(micros)), micros);
        }
        assert_eq!(from_nanos(2_999), from_micros(2));
    }

    #[test]
    fn only_years_that_have_a_text_are_shown() {
        assert_eq!(text(from_micros(1_800_000_000_000_000)), "2027-01-15T08:00:00Z");
        assert_eq!(text(from_micros(253_402_300_799_000_000)), "9999-12-31T23:59:59Z");
        for unshown in [-1, 253_402_300_800_000_000, i64::MAX] {
            assert_eq!(text(from_micros(unshown)), "");
        }
    }

    #[test]
    fn json_has_whole_microseconds_under_their_names() {
        #[derive(Debug, PartialEq, serde::Serialize)]
        struct Shown {
            #[serde(rename = "at_us", with = "as_micros")]
            at: SystemTime,
            #[serde(rename = "lag_us", with = "span_as_micros")]
            lag: Duration,
            #[serde(rename = "ago_us", serialize_with = "some_as_micros::serialize")]
            ago: Option<Duration>,
        }
        let mut shown = Shown { at: from_micros(7), lag: Duration::from_millis(2), ago: None };
        let json = serde_json::to_string(&shown).unwrap();
        assert_eq!(json, r#"{"at_us":7,"lag_us":2000,"ago_us":null}"#);
        shown.ago = Some(Duration::from_secs(1));
        let json = serde_json::to_string(&shown).unwrap();
        assert_eq!(json, r#"{"at_us":7,"lag_us":2000,"ago_us":1000000}"#);
    }
}
