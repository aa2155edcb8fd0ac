//! One text for a value, whichever database keeps it: the canonical form. Texts are equal exactly where values are.
//!
//! PostgreSQL, MySQL and MariaDB make these texts by expressions of theirs (`database/canonical.rs`). This file makes them
//! of what SQLite has, and of JSON, which no two databases write in the same way.
//!
//! | kind | canonical form |
//! |---|---|
//! | integer, decimal | decimal digits, without zeros at the end of a fraction |
//! | float | its shortest digits without zeros at their end, `e`, the power of ten of the last digit; `0` |
//! | text | itself |
//! | boolean | `0`, `1` |
//! | bytes, UUID | hexadecimal digits, lower case |
//! | time | microseconds since 1970 in UTC |
//! | date | days since 1970 |
//! | JSON | keys sorted, no blanks, numbers as floats |

use serde_json::Value;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Canonical {
    Integer,
    Decimal,
    Float,
    Text,
    Boolean,
    Bytes,
    Uuid,
    Time,
    Date,
    Json,
}

/// The canonical form of a value of SQLite: the first letter says which type the value has, `i`, `r`, `t` or `b`, and the
/// rest is its text, or its hexadecimal digits. What is no such value stays as it is: it differs from everything else.
pub(crate) fn canonical(kind: Canonical, tagged: &str) -> String {
    let (tag, text) = tagged.split_at_checked(1).unwrap_or(("t", tagged));
    let found = match (kind, tag) {
        (Canonical::Integer | Canonical::Decimal, "i" | "t") => decimal(text),
        (Canonical::Integer | Canonical::Decimal, "r") => {
            text.parse::<f64>().ok().and_then(|number| decimal(&number.to_string()))
        }
        (Canonical::Float, "i" | "r" | "t") => text.parse().ok().map(float),
        (Canonical::Boolean, "i") => Some(if text == "0" { "0" } else { "1" }.to_owned()),
        (Canonical::Boolean, "t") => match text {
            "true" | "1" => Some("1".to_owned()),
            "false" | "0" => Some("0".to_owned()),
            _ => None,
        },
        (Canonical::Bytes | Canonical::Uuid, "b") => Some(text.to_ascii_lowercase()),
        (Canonical::Bytes, "t") => Some(hexadecimal(text.as_bytes())),
        (Canonical::Uuid, "t") => Some(text.replace('-', "").to_ascii_lowercase()),
        (Canonical::Time, "t") => time(text).map(|micros| micros.to_string()),
        (Canonical::Time, "i") => {
            text.parse().ok().map(|seconds: i128| (seconds * 1_000_000).to_string())
        }
        (Canonical::Date, "t") => date(text).map(|days| days.to_string()),
        (Canonical::Json, "t" | "i" | "r") => json(text),
        _ => None,
    };
    found.unwrap_or_else(|| text.to_owned())
}

/// The canonical form of JSON; `None` for what is no JSON.
pub(crate) fn json(text: &str) -> Option<String> {
    let value: Value = serde_json::from_str(text).ok()?;
    let mut out = String::with_capacity(text.len());
    push_json(&value, &mut out);
    Some(out)
}

fn push_json(value: &Value, out: &mut String) {
    match value {
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => out.push_str(&float_of_decimal(&integer.to_string())),
            (None, Some(number)) => out.push_str(&float(number)),
            (None, None) => out.push_str(&number.to_string()),
        },
        Value::Array(values) => {
            out.push('[');
            for (number, value) in values.iter().enumerate() {
                out.push_str(if number > 0 { "," } else { "" });
                push_json(value, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(key, _)| *key);
            out.push('{');
            for (number, (key, value)) in fields.into_iter().enumerate() {
                out.push_str(if number > 0 { "," } else { "" });
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                push_json(value, out);
            }
            out.push('}');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

/// Digits and the power of ten of the last one: `15e-1` for 1.5.
fn float(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    if !number.is_finite() {
        return match (number.is_nan(), number > 0.0) {
            (true, _) => "NaN",
            (false, true) => "Infinity",
            (false, false) => "-Infinity",
        }
        .to_owned();
    }
    // `-1.5e3`: one digit before the point, and the shortest digits that are read as the same number again.
    // Of two that are as near, the databases take the even one.
    let shortest = format!("{number:e}");
    let mantissa = shortest.split('e').next().unwrap_or_default();
    let count = mantissa.bytes().filter(u8::is_ascii_digit).count();
    let even = format!("{number:.*e}", count.saturating_sub(1));
    let text = if even.parse() == Ok(number) { even } else { shortest };
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    let fraction = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i64);
    let power = power.parse::<i64>().unwrap_or_default() - fraction;
    let digits = digits.replace('.', "");
    let kept = digits.trim_end_matches('0');
    format!("{kept}e{}", power + (digits.len() - kept.len()) as i64)
}

/// The same of an integer, whose digits a float may not keep.
fn float_of_decimal(digits: &str) -> String {
    let kept = digits.trim_end_matches('0');
    match kept {
        "" | "-" => "0".to_owned(),
        kept => format!("{kept}e{}", digits.len() - kept.len()),
    }
}

/// Decimal digits without what says nothing.
fn decimal(text: &str) -> Option<String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_plain(whole) || !is_plain(fraction) || whole.len() + fraction.len() == 0 {
        return None;
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(match (whole, fraction) {
        ("0", "") => "0".to_owned(),
        (whole, "") => format!("{sign}{whole}"),
        (whole, fraction) => format!("{sign}{whole}.{fraction}"),
    })
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// Days since 1970 of `2024-02-29`.
fn date(text: &str) -> Option<i64> {
    let (year, rest) = text.split_at_checked(4)?;
    let rest = rest.strip_prefix('-')?;
    let (month, day) = rest.split_once('-')?;
    let number = |part: &str, digits: usize| match part.len() == digits {
        true => part.parse::<u16>().ok().map(i64::from),
        false => None,
    };
    let (year, month, day) = (number(year, 4)?, number(month, 2)?, number(day, 2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years that begin in March, so that the day of a leap year is their last.
    let year = if month < 3 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// Microseconds since 1970 of `2024-02-29T12:00:00.5+01:00`, and its like: with a blank, without an offset, with `Z`.
fn time(text: &str) -> Option<i64> {
    let (day, rest) = text.split_at_checked(10)?;
    let days = date(day)?;
    let Some(rest) = rest.strip_prefix(['T', ' ']) else {
        return rest.is_empty().then_some(days * 86_400_000_000);
    };
    let (clock, offset) = match rest.find(['Z', '+', '-']) {
        Some(at) => (&rest[..at], &rest[at..]),
        None => (rest, "Z"),
    };
    let clock = clock.trim_end();
    let mut parts = clock.split(':');
    let hours: i64 = parts.next()?.parse().ok()?;
    let minutes: i64 = parts.next()?.parse().ok()?;
    let seconds = parts.next().unwrap_or("0");
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let seconds: i64 = seconds.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit())
        || fraction.bytes().skip(6).any(|b| b != b'0')
    {
        return None;
    }
    let micros: i64 = format!("{:0<6}", fraction.get(..6.min(fraction.len()))?).parse().ok()?;
    let of_day = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros;
    Some(days * 86_400_000_000 + of_day - offset_of(offset)? * 60_000_000)
}

/// Minutes.
fn offset_of(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+')?),
    };
    let digits = digits.replace(':', "");
    let (hours, minutes) = digits.split_at_checked(2)?;
    let minutes = if minutes.is_empty() { 0 } else { minutes.parse::<i64>().ok()? };
    Some(sign * (hours.parse::<i64>().ok()? * 60 + minutes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_of_sqlite_have_the_form_of_the_others() {
        let cases = [
            (Canonical::Integer, "i-7", "-7"),
            (Canonical::Decimal, "t0012.3400", "12.34"),
            (Canonical::Decimal, "r0.5", "0.5"),
            (Canonical::Decimal, "t-0.00", "0"),
            (Canonical::Float, "r1500000.0", "15e5"),
            (Canonical::Float, "r-0.00000015", "-15e-8"),
            (Canonical::Float, "i0", "0"),
            (Canonical::Boolean, "i1", "1"),
            (Canonical::Bytes, "b00FF", "00ff"),
            (
                Canonical::Uuid,
                "t67E55044-10B1-426F-9247-BB680E5FE0C8",
                "67e5504410b1426f9247bb680e5fe0c8",
            ),
            (Canonical::Time, "t1970-01-02 00:00:00.5", "86400500000"),
            (Canonical::Time, "t1970-01-01T01:00:00+01:00", "0"),
            (Canonical::Time, "t1969-12-31 23:59:59.999999", "-1"),
            (Canonical::Date, "t2000-02-29", "11016"),
            (Canonical::Json, r#"t{"b":1.0,"a":[null,"x",10]}"#, r#"{"a":[null,"x",1e1],"b":1e0}"#),
            (Canonical::Date, "tno date", "no date"),
            (Canonical::Float, "r-538.33233642578125", "-5383323364257812e-13"),
        ];
        for (kind, tagged, wanted) in cases {
            assert_eq!(canonical(kind, tagged), wanted, "{kind:?} {tagged}");
        }
    }

    proptest! {
        #[test]
        fn floats_are_equal_exactly_where_their_forms_are(one: f64, other: f64) {
            prop_assert_eq!(float(one) == float(other), one == other || one.is_nan() && other.is_nan());
            prop_assert_eq!(float(one), float(-(-one)));
        }

        #[test]
        fn json_does_not_depend_on_its_blanks(numbers in proptest::collection::vec(any::<i64>(), 0..5), text: String) {
            let value = serde_json::json!({"n": numbers, "t": text, "a": {"z": null, "b": true}});
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(json(&pretty), json(&value.to_string()));
        }
    }
}
