//! What the fields of a form order. Pure.

use std::collections::HashMap;
use std::str::FromStr;

use crate::backfill::options::WORKERS_MAX;

/// The fields of a form, by name.
type Fields = HashMap<String, String>;

/// The orders that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Start,
    Pause,
    Resume,
    Cancel,
    Rate,
}

/// An order with all that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Start { by: String, because: String, workers: u32, rate: Option<u64> },
    Pause,
    Resume,
    Cancel,
    Rate(Option<u64>),
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "start" => Self::Start,
            "pause" => Self::Pause,
            "resume" => Self::Resume,
            "cancel" => Self::Cancel,
            "rate" => Self::Rate,
            _ => {
                return Err(
                    "there is no such order; give one of start, pause, resume, cancel, rate"
                        .to_owned(),
                );
            }
        })
    }
}

impl Kind {
    /// The order, from its fields.
    pub(super) fn with(self, fields: &Fields, actor: &str) -> Result<Order, String> {
        Ok(match self {
            Self::Start => {
                check_actor(fields, actor)?;
                Order::Start {
                    by: actor.to_owned(),
                    because: required(fields, "because")?,
                    workers: workers(fields)?,
                    rate: rate(fields)?,
                }
            }
            Self::Pause => Order::Pause,
            Self::Resume => Order::Resume,
            Self::Cancel => Order::Cancel,
            Self::Rate if !fields.contains_key("rate") => {
                return Err("the field `rate` is missing; send it empty for no limit".to_owned());
            }
            Self::Rate => Order::Rate(rate(fields)?),
        })
    }

    /// What to do where nothing took the order.
    pub(super) fn not_taken(self, name: &str) -> String {
        let (what, next) = match self {
            Self::Start => {
                ("was started already and has not ended", "change its rate, or cancel it first")
            }
            Self::Pause => ("does not run", "start it, or see whether it is complete"),
            Self::Resume => {
                ("is not paused, and nobody runs it", "start it, also where it was cancelled")
            }
            Self::Cancel => ("is not under way", "there is nothing to end"),
            Self::Rate => ("is not under way", "start it with the rate"),
        };
        format!("migration `{name}`: the backfill toward that side {what}; {next}")
    }
}

/// Whether the order is for the backfill toward old.
pub(super) fn is_reverse(fields: &Fields) -> Result<bool, String> {
    match fields.get("reverse").map(String::as_str) {
        None | Some("" | "false") => Ok(false),
        Some("on" | "true") => Ok(true),
        Some(_) => Err("the field `reverse` must be `true` or `false`".to_owned()),
    }
}

/// Who acts is who is logged in; a caller that says so, too, must say the same.
pub(super) fn check_actor(fields: &Fields, actor: &str) -> Result<(), String> {
    match fields.get("by").map_or("", |by| by.trim()) {
        by if by.is_empty() || by == actor => Ok(()),
        _ => Err("the field `by` names somebody else than is logged in; leave it out".to_owned()),
    }
}

fn required(fields: &Fields, name: &str) -> Result<String, String> {
    let text = fields.get(name).map_or("", |text| text.trim());
    if text.is_empty() {
        return Err(format!("the field `{name}` is missing; the audit needs it"));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("the field `{name}` has control characters; leave them out"));
    }
    Ok(text.to_owned())
}

fn given<'f>(fields: &'f Fields, name: &str) -> Option<&'f str> {
    fields.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
}

fn workers(fields: &Fields) -> Result<u32, String> {
    let Some(text) = given(fields, "workers") else { return Ok(1) };
    let number = text.parse().ok().filter(|number| (1..=WORKERS_MAX).contains(number));
    number.ok_or_else(|| format!("the field `workers` must be a number from 1 to {WORKERS_MAX}"))
}

fn rate(fields: &Fields) -> Result<Option<u64>, String> {
    let Some(text) = given(fields, "rate") else { return Ok(None) };
    let number = text.parse().ok().filter(|number| *number > 0);
    number.map(Some).ok_or_else(|| {
        "the field `rate` must be a number of keys a second, 1 or more, or empty for no limit; to \
         stop a backfill, pause it"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Given<'g> = &'g [(&'g str, &'g str)];

    fn fields(pairs: Given<'_>) -> Fields {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_start_has_who_and_why_and_the_rest_by_default() {
        let least = fields(&[("by", " ada "), ("because", "columns added"), ("rate", "")]);
        let start = Order::Start {
            by: "ada".to_owned(),
            because: "columns added".to_owned(),
            workers: 1,
            rate: None,
        };
        assert_eq!(Kind::Start.with(&least, "ada"), Ok(start));
        assert_eq!(is_reverse(&least), Ok(false));
        let more = [("because", "x"), ("workers", "16"), ("rate", "9")];
        let Ok(Order::Start { workers, rate, .. }) = Kind::Start.with(&fields(&more), "ada") else {
            panic!("it is refused");
        };
        assert_eq!((workers, rate), (16, Some(9)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong: [(Kind, Given<'_>, &str); 7] = [
            (Kind::Start, &[("by", "grace"), ("because", "x")], "`by`"),
            (Kind::Start, &[("by", "ada"), ("because", "  ")], "`because`"),
            (Kind::Start, &[("by", "ada"), ("because", "x"), ("workers", "17")], "`workers`"),
            (Kind::Start, &[("by", "ada"), ("because", "x"), ("workers", "-1")], "`workers`"),
            (Kind::Start, &[("by", "ada"), ("because", "x"), ("rate", "fast")], "`rate`"),
            (Kind::Rate, &[], "`rate`"),
            (Kind::Rate, &[("rate", "0")], "`rate`"),
        ];
        for (kind, given, field) in wrong {
            let told = kind.with(&fields(given), "ada").unwrap_err();
            assert!(told.contains(field), "{kind:?} {given:?}: {told}");
        }
        assert!(is_reverse(&fields(&[("reverse", "maybe")])).unwrap_err().contains("`reverse`"));
        assert!("stop".parse::<Kind>().unwrap_err().contains("cancel"));
    }

    #[test]
    fn an_empty_rate_takes_the_limit_away() {
        assert_eq!(Kind::Rate.with(&fields(&[("rate", "")]), "ada"), Ok(Order::Rate(None)));
        assert_eq!(Kind::Rate.with(&fields(&[("rate", "5")]), "ada"), Ok(Order::Rate(Some(5))));
    }
}
