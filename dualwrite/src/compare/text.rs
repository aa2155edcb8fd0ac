//! Text of bounded length, so that a value of any size costs no more than what is kept of it.

use std::fmt::{self, Debug, Write as _};

/// How many characters of a revealed value are kept; what was cut off is marked by `…`.
///
/// ```
/// use dualwrite::{Compare, compare::Differences, Comparison, defaults::SHOWN_CHARS_MAX};
///
/// struct Note(String);
///
/// impl Compare for Note {
///     fn compare(&self, new: &Self, at: &mut Comparison<'_>) {
///         self.0.compare(&new.0, &mut at.field("0").reveal());
///     }
/// }
///
/// let found = Differences::between(&Note("long ".repeat(1_000)), &Note(String::new()));
/// let old = found.kept()[0].old.as_ref().and_then(|shown| shown.text());
/// assert_eq!(old.map(|text| text.chars().count()), Some(SHOWN_CHARS_MAX + 1));
/// ```
pub const SHOWN_CHARS_MAX: usize = 200;

/// How many characters of a path are kept; what was cut off is marked by `…`.
///
/// ```
/// assert_eq!(dualwrite::defaults::PATH_CHARS_MAX, 400);
/// ```
pub const PATH_CHARS_MAX: usize = 400;

const CUT: char = '…';

/// Takes characters up to a number, then stops whoever is writing.
pub(super) struct Bounded {
    text: String,
    left: usize,
}

impl Bounded {
    pub(super) fn new(chars_max: usize) -> Self {
        Self { text: String::new(), left: chars_max }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let end = piece.char_indices().nth(self.left).map_or(piece.len(), |(index, _)| index);
        self.text.push_str(&piece[..end]);
        if end < piece.len() {
            self.left = 0;
            if !self.text.ends_with(CUT) {
                self.text.push(CUT);
            }
            return Err(fmt::Error);
        }
        self.left -= piece.chars().count();
        Ok(())
    }
}

/// The beginning of what `{:?}` writes.
pub(super) fn bounded(value: &dyn Debug) -> String {
    let mut text = Bounded::new(SHOWN_CHARS_MAX);
    // An error says that the text was cut off, or is the value's own: what was written until then stays.
    let _ = write!(text, "{value:?}");
    text.into_text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_characters() {
        let mut text = Bounded::new(3);
        assert!(text.write_str("äö").is_ok());
        assert!(text.write_str("üß").is_err());
        assert!(text.write_str("a").is_err());
        assert_eq!(text.into_text(), "äöü…");
        assert_eq!(bounded(&"a\nb"), r#""a\nb""#);
    }

    #[test]
    fn a_value_of_exactly_the_bound_is_whole() {
        let mut text = Bounded::new(3);
        assert!(text.write_str("abc").is_ok());
        assert!(text.write_str("").is_ok());
        assert_eq!(text.into_text(), "abc");
    }

    #[test]
    fn the_rest_of_an_endless_value_is_never_written() {
        struct Endless;
        impl Debug for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                loop {
                    f.write_str("more ")?;
                }
            }
        }
        assert_eq!(bounded(&Endless).chars().count(), SHOWN_CHARS_MAX + 1);
    }
}
