//! Counts by a label that comes from data, with a bound on how many labels there are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How many fields differences are counted for by name, per method; the others are counted together, as
/// `other`.
pub const FIELDS_MAX: usize = 100;

/// The label of what has no room for a name of its own.
const OTHER: &str = "other";

/// Counts per label.
#[derive(Debug)]
pub(crate) struct Tally {
    labels_max: usize,
    counts: Mutex<BTreeMap<Arc<str>, u64>>,
}

impl Tally {
    /// At most as many labels as given, and one for all others. `expected` have their place for sure.
    pub(crate) fn new<'l>(labels_max: usize, expected: impl IntoIterator<Item = &'l str>) -> Self {
        let expected = expected.into_iter().map(|label| (Arc::from(label), 0)).collect();
        Self { labels_max, counts: Mutex::new(expected) }
    }

    /// Counts one. Returns whether it has a name of its own.
    pub(crate) fn count(&self, label: &str) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(label) {
            *count += 1;
            return true;
        }
        let known = counts.len() - usize::from(counts.contains_key(OTHER));
        let has_room = known < self.labels_max;
        *counts.entry(Arc::from(if has_room { label } else { OTHER })).or_default() += 1;
        has_room
    }

    pub(crate) fn sum(&self) -> BTreeMap<Arc<str>, u64> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The name of a field in labels: its path without what stands in brackets, which may come from data.
/// `*` for the whole value.
pub(crate) fn field_label(path: &str) -> String {
    if path.is_empty() {
        return "*".to_owned();
    }
    let mut depth = 0_u32;
    let mut label = String::with_capacity(path.len());
    for c in path.chars() {
        match c {
            '[' => {
                if depth == 0 {
                    label.push_str("[]");
                }
                depth += 1;
            }
            ']' => depth = depth.saturating_sub(1),
            _ if depth == 0 => label.push(c),
            _ => {}
        }
    }
    label
}

/// Whether a field is another one, or lies within it.
pub(crate) fn is_within(field: &str, whole: &str) -> bool {
    let rest = field.strip_prefix(whole);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_bounded_and_the_rest_is_counted() {
        let tally = Tally::new(2, ["total"]);
        assert!(tally.count("a"));
        assert!(!tally.count("b"));
        assert!(!tally.count("c"));
        assert!(tally.count("a"));
        assert!(tally.count("total"), "what is expected has its place");
        let sum: Vec<(String, u64)> =
            tally.sum().into_iter().map(|(label, count)| (label.to_string(), count)).collect();
        let expected = [("a", 2), ("other", 2), ("total", 1)];
        assert_eq!(sum, expected.map(|(label, count)| (label.to_owned(), count)));
    }

    #[test]
    fn a_field_holds_what_lies_within_it() {
        assert!(is_within("total", "total") && is_within("total.cents", "total"));
        assert!(is_within("lines[].price", "lines"));
        assert!(!is_within("totals", "total") && !is_within("order.total", "total"));
    }

    #[test]
    fn a_label_never_holds_what_is_in_brackets() {
        assert_eq!(field_label("lines[id=3].price"), "lines[].price");
        assert_eq!(field_label("a[b[c]].d[…]"), "a[].d[]");
        assert_eq!(field_label("[3]"), "[]");
        assert_eq!(field_label(""), "*");
        assert_eq!(field_label("secret[ada"), "secret[]");
    }
}
