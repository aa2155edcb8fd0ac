//! Where a comparison is, and what it reports to.

use std::fmt::{Debug, Write as _};

use super::difference::{Difference, DifferenceKind, Found, Shown};
use super::text::{Bounded, PATH_CHARS_MAX, bounded};

/// One place in a comparison: it knows the path to here, whether values may be shown here, and takes
/// the differences. Handed to [`Compare::compare`](crate::Compare::compare).
///
/// ```
/// use dualwrite::{Compare, compare::Differences, Comparison};
///
/// struct Shelf { books: Vec<(String, u32)> }
///
/// impl Compare for Shelf {
///     fn compare(&self, new: &Self, at: &mut Comparison<'_>) {
///         let mut books = at.field("books").reveal();
///         for ((title, pages), (_, new_pages)) in self.books.iter().zip(&new.books) {
///             let mut book = books.key(title);
///             if pages != new_pages {
///                 book.field("pages").differ(pages, new_pages);
///             }
///         }
///     }
/// }
///
/// let [old, new] = [9, 10].map(|pages| Shelf { books: vec![("Emma".into(), pages)] });
/// assert_eq!(Differences::between(&old, &new).to_string(), r#"books["Emma"].pages: different"#);
/// ```
pub struct Comparison<'c> {
    found: &'c mut Found,
    path: Path<'c>,
    reveal: bool,
}

/// The way here, as a chain on the stack.
#[derive(Clone, Copy)]
struct Path<'c> {
    parent: Option<&'c Path<'c>>,
    segment: Segment<'c>,
}

#[derive(Clone, Copy)]
enum Segment<'c> {
    /// Nothing to write: the whole value, or the same place again.
    Here,
    /// `.name`
    Field(&'c str),
    /// `.0`
    Part(usize),
    /// `[3]`
    Index(usize),
    /// `["a"]`, `[id=3]`
    Key { label: Option<&'c str>, key: &'c dyn Debug },
    /// `[…]`
    Unnamed,
}

/// What is known of one side.
enum Value<'v> {
    Absent,
    Unseen,
    Seen(&'v dyn Debug),
}

impl<'c> Comparison<'c> {
    pub(super) fn new(found: &'c mut Found) -> Self {
        Self { found, path: Path { parent: None, segment: Segment::Here }, reveal: false }
    }

    fn step<'s>(&'s mut self, segment: Segment<'s>) -> Comparison<'s> {
        let path = Path { parent: Some(&self.path), segment };
        Comparison { found: self.found, path, reveal: self.reveal }
    }

    /// A field of the value here. Whatever holds here, a field is redacted until it is
    /// [revealed](Self::reveal).
    #[inline]
    #[must_use]
    pub fn field<'s>(&'s mut self, name: &'s str) -> Comparison<'s> {
        self.step(Segment::Field(name)).redact()
    }

    /// A part of the tuple here, which is shown as the tuple is.
    #[inline]
    pub(super) fn part(&mut self, index: usize) -> Comparison<'_> {
        self.step(Segment::Part(index))
    }

    /// An element of the list here, by its position. It is shown as the list is.
    #[inline]
    #[must_use]
    pub fn index(&mut self, index: usize) -> Comparison<'_> {
        self.step(Segment::Index(index))
    }

    /// A value of the map here, by its key. Key and value are shown as the map is.
    #[inline]
    #[must_use]
    pub fn key<'s>(&'s mut self, key: &'s dyn Debug) -> Comparison<'s> {
        self.step_to_key(None, key)
    }

    /// An element of the list here, by a key in it: `[id=3]` where the list is revealed.
    #[inline]
    pub(super) fn labelled_key<'s>(
        &'s mut self,
        label: &'s str,
        key: &'s dyn Debug,
    ) -> Comparison<'s> {
        self.step_to_key(Some(label), key)
    }

    fn step_to_key<'s>(&'s mut self, label: Option<&'s str>, key: &'s dyn Debug) -> Comparison<'s> {
        let segment = if self.reveal { Segment::Key { label, key } } else { Segment::Unnamed };
        self.step(segment)
    }

    /// An element that has neither a position nor a key.
    #[inline]
    pub(super) fn unnamed(&mut self) -> Comparison<'_> {
        self.step(Segment::Unnamed)
    }

    /// This place again, to [reveal](Self::reveal) or [redact](Self::redact) it for a while.
    ///
    /// ```
    /// use dualwrite::{Compare, compare::Differences, Comparison};
    ///
    /// struct Country(String);
    ///
    /// impl Compare for Country {
    ///     fn compare(&self, new: &Self, at: &mut Comparison<'_>) {
    ///         self.0.compare(&new.0, &mut at.here().reveal());
    ///     }
    /// }
    ///
    /// let [old, new] = ["FR", "DE"].map(|code| Country(code.into()));
    /// assert_eq!(Differences::between(&old, &new).to_string(), r#""FR" in old, "DE" in new"#);
    /// ```
    #[inline]
    #[must_use]
    pub fn here(&mut self) -> Comparison<'_> {
        self.step(Segment::Here)
    }

    /// The same place, where values are shown. The fields of a struct here decide for themselves.
    #[inline]
    #[must_use]
    pub fn reveal(self) -> Self {
        Self { reveal: true, ..self }
    }

    /// The same place, where values are not shown.
    #[inline]
    #[must_use]
    pub fn redact(self) -> Self {
        Self { reveal: false, ..self }
    }

    /// Whether values are shown here.
    #[inline]
    #[must_use]
    pub fn is_revealed(&self) -> bool {
        self.reveal
    }

    /// Whether nothing that is still to come changes the answer: long comparisons stop then.
    #[inline]
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.found.is_decided()
    }

    /// Reports that the values here differ; shown with `{:?}` where they are revealed.
    #[cold]
    pub fn differ(&mut self, old: &dyn Debug, new: &dyn Debug) {
        self.add(DifferenceKind::Different, Value::Seen(old), Value::Seen(new));
    }

    /// Reports that the values here differ, and never shows them.
    #[cold]
    pub fn differ_unseen(&mut self) {
        self.add(DifferenceKind::Different, Value::Unseen, Value::Unseen);
    }

    /// Reports that the variants here differ; their names are shown where they are revealed.
    #[cold]
    pub fn variants_differ(&mut self, old: &dyn Debug, new: &dyn Debug) {
        self.add(DifferenceKind::Variant, Value::Seen(old), Value::Seen(new));
    }

    /// Reports that lists in order are not of the same length.
    #[cold]
    pub fn lengths_differ(&mut self, old: usize, new: usize) {
        self.add(DifferenceKind::Length { old, new }, Value::Absent, Value::Absent);
    }

    /// Reports that only new has a value here.
    #[cold]
    pub fn missing_in_old(&mut self, new: &dyn Debug) {
        self.add(DifferenceKind::MissingInOld, Value::Absent, Value::Seen(new));
    }

    /// Reports that only old has a value here.
    #[cold]
    pub fn missing_in_new(&mut self, old: &dyn Debug) {
        self.add(DifferenceKind::MissingInNew, Value::Seen(old), Value::Absent);
    }

    #[cold]
    pub(super) fn missing_in_old_unseen(&mut self) {
        self.add(DifferenceKind::MissingInOld, Value::Absent, Value::Unseen);
    }

    #[cold]
    pub(super) fn missing_in_new_unseen(&mut self) {
        self.add(DifferenceKind::MissingInNew, Value::Unseen, Value::Absent);
    }

    fn add(&mut self, kind: DifferenceKind, old: Value<'_>, new: Value<'_>) {
        let (path, reveal) = (&self.path, self.reveal);
        let shown = |value| match value {
            Value::Absent => None,
            Value::Seen(value) if reveal => Some(Shown::Revealed(bounded(value))),
            Value::Seen(_) | Value::Unseen => Some(Shown::Redacted),
        };
        self.found.add(|| Difference {
            path: path.to_text(),
            kind,
            old: shown(old),
            new: shown(new),
        });
    }
}

impl Path<'_> {
    fn to_text(self) -> String {
        let mut segments = Vec::new();
        let mut next = Some(&self);
        while let Some(path) = next {
            segments.push(path.segment);
            next = path.parent;
        }
        let mut text = Bounded::new(PATH_CHARS_MAX);
        let mut is_first = true;
        for segment in segments.into_iter().rev() {
            let dot = if is_first { "" } else { "." };
            let written = match segment {
                Segment::Here => continue,
                Segment::Field(name) => write!(text, "{dot}{name}"),
                Segment::Part(index) => write!(text, "{dot}{index}"),
                Segment::Index(index) => write!(text, "[{index}]"),
                Segment::Key { label: None, key } => write!(text, "[{}]", bounded(key)),
                Segment::Key { label: Some(label), key } => {
                    write!(text, "[{label}={}]", bounded(key))
                }
                Segment::Unnamed => text.write_str("[…]"),
            };
            if written.is_err() {
                break;
            }
            is_first = false;
        }
        text.into_text()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Differences;
    use super::*;

    fn path(report: impl FnOnce(&mut Comparison<'_>)) -> String {
        Differences::collect(report).kept()[0].path.clone()
    }

    #[test]
    fn paths_say_how_to_get_there() {
        let differ = |at: &mut Comparison<'_>| at.differ_unseen();
        assert_eq!(path(differ), "");
        assert_eq!(path(|at| differ(&mut at.field("a").field("b").here().part(0))), "a.b.0");
        assert_eq!(path(|at| differ(&mut at.index(3).index(0).field("a"))), "[3][0].a");
        assert_eq!(path(|at| differ(&mut at.field("m").key(&"k"))), "m[…]");
        assert_eq!(path(|at| differ(&mut at.field("m").reveal().key(&"k"))), r#"m["k"]"#);
        assert_eq!(path(|at| differ(&mut at.here().reveal().labelled_key("id", &3))), "[id=3]");
        assert_eq!(path(|at| differ(&mut at.here().reveal().unnamed())), "[…]");
    }

    #[test]
    fn a_field_is_redacted_whatever_holds_its_struct() {
        let mut found = Found::default();
        let mut at = Comparison::new(&mut found).reveal();
        assert!(at.index(0).is_revealed() && at.key(&1).is_revealed() && at.part(0).is_revealed());
        assert!(!at.field("name").is_revealed());
        assert!(!at.here().redact().key(&1).is_revealed());
    }

    #[test]
    fn a_path_is_bounded() {
        fn deeper(at: &mut Comparison<'_>, levels: u32) {
            match levels {
                0 => at.differ_unseen(),
                _ => deeper(&mut at.field("next"), levels - 1),
            }
        }
        assert_eq!(path(|at| deeper(at, 1_000)).chars().count(), PATH_CHARS_MAX + 1);
    }
}
