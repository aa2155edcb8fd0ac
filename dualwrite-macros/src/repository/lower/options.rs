//! What stands after `=` in the options of a method: how each kind of value is read, and what is said
//! about one that is none.

use proc_macro2::Ident;
use syn::spanned::Spanned as _;
use syn::{Expr, ExprPath, Lit};

use super::super::model::{AnswerPolicy, Comparing, MirrorPolicy, WriteLimits};
use crate::diag::{Errors, suggestion};
use crate::settings::Settings;

/// The options of a read that say how it is compared.
pub(super) struct Shadow {
    /// The `shadow` of `shadow = never`.
    pub(super) never: Option<Ident>,
    /// How the read is compared unless it never is.
    pub(super) comparing: Comparing,
    /// The names of the options in `comparing`, to point at.
    pub(super) given: Vec<Ident>,
}

/// Takes the options of a read that say how it is compared.
pub(super) fn shadow(settings: &mut Settings, errors: &mut Errors) -> Shadow {
    let never = never(settings, errors);
    let mut given = Vec::new();
    let comparing = Comparing {
        by: option(settings, "compare", COMPARE, errors, &mut given, function),
        sample: option(settings, "sample", SAMPLE, errors, &mut given, basis_points),
        timeout_ms: option(settings, "timeout", TIMEOUT, errors, &mut given, millis),
    };
    if never.is_some() {
        for name in &given {
            errors.on(
                name,
                format!("`{name}` says how answers are compared, and `shadow = never` that they are not: keep one"),
            );
        }
    }
    Shadow { never, comparing, given }
}

/// Takes `on_mirror_error`.
pub(super) fn on_mirror_error(
    settings: &mut Settings,
    errors: &mut Errors,
) -> Option<MirrorPolicy> {
    const POLICIES: [&str; 2] = ["abort", "mark_dirty"];
    let what = "which is `abort` or `mark_dirty`";
    let (name, value) = settings.value("on_mirror_error", what, errors)?;
    match word(&value).as_deref() {
        Some("abort") => Some(MirrorPolicy::Abort),
        Some("mark_dirty") => Some(MirrorPolicy::MarkDirty),
        other => {
            let near = other.map(|other| suggestion(other, POLICIES)).unwrap_or_default();
            errors.on(&value, format!("`{name}` takes `abort` or `mark_dirty`{near}"));
            None
        }
    }
}

/// Takes `on_difference`.
pub(super) fn on_difference(settings: &mut Settings, errors: &mut Errors) -> Option<AnswerPolicy> {
    const POLICIES: [&str; 3] = ["mark_dirty", "error", "ignore"];
    let what = "which is `mark_dirty`, `error` or `ignore`";
    let (name, value) = settings.value("on_difference", what, errors)?;
    match word(&value).as_deref() {
        Some("mark_dirty") => Some(AnswerPolicy::MarkDirty),
        Some("error") => Some(AnswerPolicy::Error),
        Some("ignore") => Some(AnswerPolicy::Ignore),
        other => {
            let near = other.map(|other| suggestion(other, POLICIES)).unwrap_or_default();
            errors.on(&value, format!("`{name}` takes `mark_dirty`, `error` or `ignore`{near}"));
            None
        }
    }
}

/// Takes `timeout`, the limit on the mirror, and `primary_timeout`.
pub(super) fn write_limits(settings: &mut Settings, errors: &mut Errors) -> WriteLimits {
    let mut limit = |key| {
        let (name, value) = settings.value(key, TIMEOUT, errors)?;
        millis_of(&name, &value, errors)
    };
    WriteLimits { mirror_ms: limit("timeout"), primary_ms: limit("primary_timeout") }
}

pub(super) const ERROR: &str = "a function `fn(dualwrite::Error) -> E` by name";

/// A function that makes the user's error of ours.
pub(super) fn converter(name: &Ident, value: &Expr, errors: &mut Errors) -> Option<ExprPath> {
    match peel(value) {
        Expr::Path(path) => Some(path.clone()),
        _ => {
            errors.on(
                value,
                format!("`{name}` takes {ERROR}: write `{name} = to_report`, without quotes"),
            );
            None
        }
    }
}

/// One identifier.
pub(super) fn name(value: &Expr) -> Option<Ident> {
    match peel(value) {
        Expr::Path(path) => path.path.get_ident().cloned(),
        _ => None,
    }
}

const COMPARE: &str = "a function `fn(&T, &T) -> bool`";
const SAMPLE: &str = "a percentage such as `5` or `0.5`";
const TIMEOUT: &str = "a length of time such as `\"500ms\"` or `\"2s\"`";

fn option<T>(
    settings: &mut Settings,
    key: &str,
    what: &str,
    errors: &mut Errors,
    given: &mut Vec<Ident>,
    read: fn(&Expr, &mut Errors) -> Option<T>,
) -> Option<T> {
    let (name, value) = settings.value(key, what, errors)?;
    given.push(name);
    read(&value, errors)
}

fn never(settings: &mut Settings, errors: &mut Errors) -> Option<Ident> {
    let (name, value) = settings.value("shadow", "which is `never`", errors)?;
    if word(&value).as_deref() != Some("never") {
        errors.on(&value, format!("`{name}` takes `never`; without it the read is compared"));
    }
    Some(name)
}

fn function(value: &Expr, errors: &mut Errors) -> Option<ExprPath> {
    match peel(value) {
        Expr::Path(path) => Some(path.clone()),
        _ => {
            let rule = "`compare` takes a function `fn(&T, &T) -> bool` by name";
            errors.on(value, format!("{rule}: write `compare = is_same`, without quotes"));
            None
        }
    }
}

fn basis_points(value: &Expr, errors: &mut Errors) -> Option<u16> {
    match literal(value).and_then(percentage) {
        Some(0) => {
            errors.on(value, "nothing would be compared: write `shadow = never` instead");
            None
        }
        Some(share @ 1..=10_000) => Some(share),
        _ => {
            let rule = "`sample` takes a percentage of up to 100, with at most two decimals";
            errors.on(value, format!("{rule}: write `sample = 5` or `sample = 0.5`"));
            None
        }
    }
}

/// `0.5` in basis points.
fn percentage(literal: &Lit) -> Option<u16> {
    let (text, suffix) = match literal {
        Lit::Int(number) => (number.base10_digits(), number.suffix()),
        Lit::Float(number) => (number.base10_digits(), number.suffix()),
        _ => return None,
    };
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if !suffix.is_empty() || decimals.len() > 2 {
        return None;
    }
    format!("{whole}{decimals:0<2}").parse().ok()
}

fn millis(value: &Expr, errors: &mut Errors) -> Option<u64> {
    millis_of(&Ident::new("timeout", value.span()), value, errors)
}

fn millis_of(name: &Ident, value: &Expr, errors: &mut Errors) -> Option<u64> {
    let found = match literal(value) {
        Some(Lit::Str(text)) => length(&text.value()),
        _ => None,
    };
    if found.is_none() {
        let rule = format!("`{name}` takes a length of time above zero, in `ms`, `s` or `min`");
        errors.on(value, format!("{rule}: write `{name} = \"500ms\"` or `{name} = \"2s\"`"));
    }
    found
}

/// `2s` in milliseconds.
fn length(text: &str) -> Option<u64> {
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit);
    let factor = match unit.trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|millis| *millis > 0)
}

fn literal(value: &Expr) -> Option<&Lit> {
    match peel(value) {
        Expr::Lit(literal) => Some(&literal.lit),
        _ => None,
    }
}

fn word(value: &Expr) -> Option<String> {
    match peel(value) {
        Expr::Path(path) => path.path.get_ident().map(ToString::to_string),
        _ => None,
    }
}

/// What the user wrote, out of the invisible groups that `macro_rules!` makes.
fn peel(value: &Expr) -> &Expr {
    match value {
        Expr::Group(group) => peel(&group.expr),
        Expr::Paren(paren) => peel(&paren.expr),
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::length;

    #[test]
    fn lengths_are_read_in_their_unit() {
        let units = [("ms", 1), ("s", 1_000), ("min", 60_000)];
        for (unit, factor) in units {
            for number in [1, 2, 59, 60, 100, 1_000, 86_400] {
                for text in [format!("{number}{unit}"), format!("{number} {unit}")] {
                    assert_eq!(length(&text), Some(number * factor), "{text}");
                }
            }
            assert_eq!(length(&format!("0{unit}")), None);
            assert_eq!(length(&format!("{}{unit}", u128::MAX)), None);
        }
        assert_eq!(length(&format!("{}min", u64::MAX)), None);
        for wrong in
            ["", "1", "s", "1 m", "1 mins", "1 minute", "1 h", "1.5s", "-1s", "1s 2ms", "1 S"]
        {
            assert_eq!(length(wrong), None, "{wrong}");
        }
    }
}
