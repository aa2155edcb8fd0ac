//! What was found: plain data, bounded, for reports and tests.

use std::fmt;

use serde::{Serialize, Serializer};

use super::{Compare, Comparison};

/// How many differences of one comparison are kept. All of them are counted.
///
/// ```
/// use dualwrite::{compare::Differences, defaults::DIFFERENCES_MAX};
///
/// let found = Differences::between(&vec![1; 500], &vec![2; 500]);
/// assert_eq!((found.kept().len(), found.total()), (DIFFERENCES_MAX, 500));
/// ```
pub const DIFFERENCES_MAX: usize = 100;

/// The differences between two values.
///
/// ```
/// use dualwrite::compare::Differences;
///
/// let found = Differences::between(&("ada", 1), &("ada", 2));
/// assert_eq!(found.total(), 1);
/// assert_eq!(found.kept()[0].path, "1");
/// assert_eq!(found.to_string(), "1: different");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Differences {
    total: u64,
    kept: Vec<Difference>,
}

impl Differences {
    /// Compares what old and new answered.
    ///
    /// ```
    /// use dualwrite::compare::Differences;
    /// assert!(Differences::between(&f64::NAN, &f64::NAN).is_empty());
    /// assert_eq!(Differences::between(&[1, 2], &[1, 3]).to_string(), "[1]: different");
    /// ```
    #[must_use]
    pub fn between<Old: Compare<New> + ?Sized, New: ?Sized>(old: &Old, new: &New) -> Self {
        Self::collect(|at| old.compare(new, at))
    }

    /// Whether there is any difference; cheaper, because it stops at the first one.
    ///
    /// ```
    /// assert!(dualwrite::compare::Differences::exist_between("old", "new"));
    /// ```
    #[must_use]
    pub fn exist_between<Old: Compare<New> + ?Sized, New: ?Sized>(old: &Old, new: &New) -> bool {
        Self::exist(|at| old.compare(new, at))
    }

    /// Collects what is reported.
    pub(crate) fn collect(compare: impl FnOnce(&mut Comparison<'_>)) -> Self {
        let mut found = Found::default();
        compare(&mut Comparison::new(&mut found));
        found.differences
    }

    /// Whether anything is reported.
    pub(crate) fn exist(compare: impl FnOnce(&mut Comparison<'_>)) -> bool {
        let mut found = Found { first_decides: true, ..Found::default() };
        compare(&mut Comparison::new(&mut found));
        found.differences.total > 0
    }

    /// The first [`DIFFERENCES_MAX`] differences, in the order of the fields. Of maps and sets that are
    /// hashed the order is theirs.
    #[must_use]
    pub fn kept(&self) -> &[Difference] {
        &self.kept
    }

    /// Without those at other paths than these; what was not kept stays.
    pub(crate) fn retain(mut self, counts: impl Fn(&str) -> bool) -> Self {
        let before = self.kept.len();
        self.kept.retain(|difference| counts(&difference.path));
        self.total -= (before - self.kept.len()) as u64;
        self
    }

    /// How many differences there are, kept or not.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Whether the two values are the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }
}

/// One difference in each line, without a line break at the end.
impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, difference) in self.kept.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{difference}")?;
        }
        match self.total - self.kept.len() as u64 {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

/// One difference.
///
/// ```
/// use dualwrite::compare::{DifferenceKind, Differences, Shown};
///
/// let found = Differences::between(&(1, Some("a")), &(1, None::<&str>));
/// let difference = &found.kept()[0];
/// assert_eq!((difference.path.as_str(), difference.kind), ("1", DifferenceKind::MissingInNew));
/// assert_eq!((&difference.old, &difference.new), (&Some(Shown::Redacted), &None));
/// assert_eq!(difference.to_string(), "1: missing in new");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// Where it is: `address.city`, `lines[3].price`, `lines[id=3].price`, or `lines[…].price` where
    /// what stands in the brackets is not revealed. Empty for the whole value.
    pub path: String,
    /// What differs there.
    pub kind: DifferenceKind,
    /// Old's value, where it has one.
    #[serde(skip_serializing_if = "is_hidden")]
    pub old: Option<Shown>,
    /// New's value, where it has one.
    #[serde(skip_serializing_if = "is_hidden")]
    pub new: Option<Shown>,
}

impl Difference {
    /// What may be shown of old and of new; of lists of different length that length.
    pub(crate) fn shown(&self) -> (Option<Shown>, Option<Shown>) {
        let length = |length: usize| Some(Shown::Revealed(format!("length {length}")));
        match self.kind {
            DifferenceKind::Length { old, new } => (length(old), length(new)),
            _ => (self.old.clone(), self.new.clone()),
        }
    }
}

fn is_hidden(shown: &Option<Shown>) -> bool {
    shown.as_ref().and_then(Shown::text).is_none()
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        let text = |shown: &Option<Shown>| shown.as_ref().and_then(Shown::text).map(str::to_owned);
        match (self.kind, text(&self.old), text(&self.new)) {
            (DifferenceKind::Length { old, new }, ..) => {
                write!(f, "length {old} in old, {new} in new")
            }
            (DifferenceKind::Different | DifferenceKind::Variant, Some(old), Some(new)) => {
                write!(f, "{old} in old, {new} in new")
            }
            (DifferenceKind::Different, ..) => f.write_str("different"),
            (DifferenceKind::Variant, ..) => f.write_str("different variants"),
            (DifferenceKind::MissingInOld, _, Some(new)) => {
                write!(f, "missing in old, {new} in new")
            }
            (DifferenceKind::MissingInOld, ..) => f.write_str("missing in old"),
            (DifferenceKind::MissingInNew, Some(old), _) => {
                write!(f, "{old} in old, missing in new")
            }
            (DifferenceKind::MissingInNew, ..) => f.write_str("missing in new"),
        }
    }
}

/// What differs.
///
/// ```
/// use dualwrite::compare::{DifferenceKind, Differences};
///
/// let found = Differences::between(&vec![1, 2, 3], &vec![1, 2]);
/// assert_eq!(found.kept()[0].kind, DifferenceKind::Length { old: 3, new: 2 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DifferenceKind {
    /// Both have a value, and they are not the same.
    Different,
    /// The variants of an enum differ.
    Variant,
    /// Only new has it.
    MissingInOld,
    /// Only old has it.
    MissingInNew,
    /// Lists in order are of different length; what both have was compared as well.
    Length {
        /// Of old.
        old: usize,
        /// Of new.
        new: usize,
    },
}

/// A value in a report: redacted unless its field is revealed.
///
/// ```
/// use dualwrite::compare::Shown;
/// assert_eq!(Shown::Redacted.to_string(), "…");
/// assert_eq!(Shown::Revealed("42".into()).text(), Some("42"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Shown {
    /// There is a value, and it is not to be shown.
    Redacted,
    /// The value as `{:?}` writes it, up to [`SHOWN_CHARS_MAX`](crate::defaults::SHOWN_CHARS_MAX) characters.
    Revealed(String),
}

impl Shown {
    pub(super) const REDACTED: &'static str = "…";

    /// As it was stored.
    pub(crate) fn stored(text: &str) -> Self {
        match text {
            Self::REDACTED => Self::Redacted,
            text => Self::Revealed(text.to_owned()),
        }
    }

    /// The text, where it is revealed.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Redacted => None,
            Self::Revealed(text) => Some(text),
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().unwrap_or(Self::REDACTED))
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a comparison has found so far.
#[derive(Default)]
pub(super) struct Found {
    differences: Differences,
    /// Only whether anything differs is asked.
    first_decides: bool,
}

impl Found {
    /// Whether looking further could change the answer no more.
    pub(super) fn is_decided(&self) -> bool {
        self.first_decides && self.differences.total > 0
    }

    /// Counts a difference, and keeps it while there is room.
    pub(super) fn add(&mut self, difference: impl FnOnce() -> Difference) {
        self.differences.total += 1;
        if !self.first_decides && self.differences.kept.len() < DIFFERENCES_MAX {
            self.differences.kept.push(difference());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_data() {
        let found = Differences::collect(|at| {
            1.compare(&2, &mut at.field("id"));
            Some("a").compare(&None::<&str>, &mut at.field("name").reveal());
            [1][..].compare(&[1, 2][..], &mut at.field("lines"));
        });
        assert_eq!(
            serde_json::to_string(&found).unwrap(),
            r#"{"total":3,"kept":[{"path":"id","kind":"different"},"#.to_owned()
                + r#"{"path":"name","kind":"missing_in_new","old":"\"a\""},"#
                + r#"{"path":"lines","kind":{"length":{"old":1,"new":2}}}]}"#
        );
    }

    #[test]
    fn what_is_not_kept_is_counted_and_said() {
        let found = Differences::between(&[1; 102][..], &[2; 102][..]);
        assert_eq!(found.to_string().lines().last(), Some("and 2 more"));
    }
}
